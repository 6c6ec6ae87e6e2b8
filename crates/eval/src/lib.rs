//! Judging and measuring, without tensors: judges over any [`collimate_schema::Sampler`], the filter of section 3.2 of the
//! paper, rates and means that carry their uncertainty.
//!
//! The ground truth never enters this crate: a recipe asks a world's oracle and hands over [`Option<bool>`].

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
