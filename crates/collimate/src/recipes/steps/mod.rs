//! Steps that recipes are made of. Each takes nouns and returns the next, stored as artefacts of the run; none knows which
//! recipe calls it.

pub(crate) mod ask;
pub(crate) mod examine;
pub(crate) mod filter;
pub mod fine_tune;
pub(crate) mod learner;
pub(crate) mod made;
pub mod reinforce;
pub(crate) mod site;
pub(crate) mod trained;
