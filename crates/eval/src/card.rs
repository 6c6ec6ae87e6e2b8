//! The system card: a pure function of evaluations and the artefacts around them, in sections. A section is one file: its data,
//! the evidence that each number rests on, and its part of the page. Another recipe adds a file and a line in [`Section`].

mod cell;
mod claims;
mod evidence;
mod facts;
mod filter;
mod judges;
mod limits;
mod method;
mod numbers;
mod part;
mod results;
mod samples;
mod section;
mod suites;
mod system_card;
mod training;

pub use claims::Claims;
pub use evidence::Evidence;
pub use facts::{Evidenced, Made, Named, RunFacts};
pub use filter::Filter;
pub use judges::Judges;
pub use limits::Limits;
pub use method::{DataCount, Method};
pub use numbers::Numbers;
pub use results::{Results, Waypoint};
pub use samples::{Reply, Sample, Samples};
pub use section::Section;
pub use suites::Suites;
pub use system_card::{StaleCard, SystemCard};
pub use training::{RlCurve, RlPoint, Training};

#[cfg(test)]
mod tests;
