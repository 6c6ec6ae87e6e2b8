//! Which deliberations are fit to be learnt from (section 3.2 of the paper): well-formed, not leaning on a policy that the
//! student will not see, and graded well by the least impressed of k readings.

mod fate;
mod lean;
mod report;

pub use fate::{Fate, decide, screen};
pub use lean::leaning_phrase;
pub use report::{FateCounts, FilterReport, Opinions};
