//! Numbers that carry their counts and their uncertainty. All arithmetic of statistics is here.

mod answers;
mod bounded;
#[cfg(test)]
mod coverage;
mod effective;
mod estimate;
mod finite;
mod goodness;
mod measure;
mod rate;
mod statistic;
mod value;

pub use answers::Answers;
pub use bounded::bounded_mean;
pub use estimate::Estimate;
pub(crate) use estimate::percent;
pub use finite::Finite;
pub use goodness::{ENOUGH_TECHNIQUES, worst, worst_tenth};
pub use measure::{Mean, Measure};
pub use rate::Rate;
pub use statistic::{Cell, Statistic};
pub use value::{Share, Value};
