//! Judging and measuring, without tensors. In the order a recipe meets them:
//!
//! 1. [`judge`]: requests to a judge over any [`collimate_schema::Sampler`], and what its completions say;
//! 2. [`filter`]: which deliberations are fit to be learnt from;
//! 3. [`suites`]: evaluations. Whoever grades an answer, a world's oracle or a judge, fills [`suites::Found`], and each suite
//!    reads from it what it measures (the ground truth itself never enters this crate);
//! 4. [`stats`]: numbers that carry their counts and uncertainty;
//! 5. [`papers`]: which suites, arms and claims a paper has, as a value that all of the following take;
//! 6. [`Evaluation`]: an arm on every suite, [`claims()`]: what the numbers say of the paper's claims;
//! 7. [`table()`], and [`card`]: the system card in sections.

pub mod card;
mod claims;
mod evaluation;
pub mod filter;
pub mod judge;
pub mod papers;
mod plot;
pub mod stats;
pub mod suites;
mod table;
#[cfg(test)]
mod testing;

pub use claims::{Claim, Comparison, Ruling, claims};
pub use evaluation::{Evaluation, Finding, Run, Source};
pub use table::table;
