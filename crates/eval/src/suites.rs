//! The evaluations. One evaluation is one type in one file: what it asks, how an answer is read, how numbers come out, and its
//! text in the card.

mod capability;
mod disallowed;
mod encodings;
mod id;
mod jailbreak;
mod language;
mod observation;
mod overrefusal;
mod retrieval;
mod style;
mod suite;

pub use capability::{
    Arithmetic, CAPABILITY, CAPABILITY_ARITHMETIC, CAPABILITY_DECODING, CAPABILITY_FACTS, Capability, Decoding, Facts,
};
pub use disallowed::{DISALLOWED, Disallowed};
pub use encodings::{ENCODINGS, Encodings};
pub use id::SuiteId;
pub use jailbreak::{JAILBREAK, Jailbreak};
pub use language::{LANGUAGE, Language};
pub use observation::{Asked, Found, Observation};
pub use overrefusal::{
    Allowed, Lookalike, OVERREFUSAL, OVERREFUSAL_ALLOWED, OVERREFUSAL_LOOKALIKE, OVERREFUSAL_TWIN, Overrefusal, Twin,
};
pub use retrieval::{RETRIEVAL_COMPLY, RETRIEVAL_REFUSE, RETRIEVAL_SAFE, Retrieval, retrieves};
pub use style::{STYLE_REFUSAL, STYLE_SAFE, Style};
pub use suite::{About, Suite, observe};
