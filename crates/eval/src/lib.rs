//! Judging and measuring, without tensors. In the order a recipe meets them:
//!
//! 1. [`judge`]: requests to a judge over any [`collimate_schema::Sampler`], and what its completions say;
//! 2. [`screen`], [`FilterReport`]: which deliberations are fit to be learnt from;
//! 3. [`Observation`]s, which a recipe makes by asking its world's oracle (the ground truth itself never enters this crate),
//!    [`SUITES`] that turn them into [`Measure`]s, and an [`Evaluation`] per arm;
//! 4. [`claims()`]: what the numbers say of the paper's claims;
//! 5. [`table()`] and [`SystemCard`].

mod bootstrap;
mod card;
mod claims;
mod estimate;
mod evaluation;
mod filter;
mod goodness;
pub mod judge;
mod measure;
mod plot;
mod rate;
mod suites;
mod table;
#[cfg(test)]
mod testing;

pub use bootstrap::{RESAMPLES, bootstrap};
pub use card::{
    Contents, DataCount, Evidenced, Named, Reply, RlCurve, RlPoint, RunFacts, Sample, StageTime, StaleCard, SystemCard,
    Waypoint,
};
pub use claims::{Claim, Comparison, Question, Ruling, claims};
pub use estimate::Estimate;
pub use evaluation::{Evaluation, Finding, Run, Source, arms};
pub use filter::{Fate, FateCounts, FilterReport, Opinions, decide, leaning_phrase, screen};
pub use goodness::{ENOUGH_TECHNIQUES, PromptGoodness, any_fails, goodness, worst_tenth};
pub use measure::{Mean, Measure};
pub use rate::Rate;
pub use suites::{About, Observation, SUITES, Statistic, Suite, SuiteId, retrieved_category};
pub use table::{HEADLINE, table};
