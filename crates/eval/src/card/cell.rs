//! A number in a table of a card.

use collimate_schema::Hash;
use serde::Serialize;

use crate::evaluation::Evaluation;
use crate::stats::{Measure, percent};
use crate::suites::SuiteId;

/// A number in a table.
#[derive(Serialize)]
pub(super) struct Cell {
    /// `92.5`, or `no data`.
    value: String,
    /// `88.0\u{2013}95.4`; empty without data.
    interval: String,
    /// `37/40`, or `12 prompts`; empty without data.
    counts: String,
    /// All there is to say.
    full: String,
    /// Hashes of its evidence.
    evidence: String,
}

impl Cell {
    /// What an arm scored on a suite.
    pub(super) fn new(evaluation: &Evaluation, suite: &SuiteId) -> Cell {
        let measure = evaluation.measure(suite);
        let (value, interval) = match measure.estimate() {
            None => ("no data".to_owned(), String::new()),
            Some(it) => {
                let [value, low, high] = [it.value(), it.low(), it.high()].map(percent);
                (format!("{value:.1}"), format!("{low:.1}\u{2013}{high:.1}"))
            }
        };
        let counts = match measure {
            Measure::Rate(rate) => format!("{}/{}", rate.hits(), rate.scored()),
            Measure::Mean(mean) if mean.n_prompts == 1 => "1 prompt".to_owned(),
            Measure::Mean(mean) => format!("{} prompts", mean.n_prompts),
            Measure::NoData { .. } => String::new(),
        };
        let spread = match evaluation.finding(suite).and_then(|it| it.spread()) {
            Some((least, most)) => format!("; seeds {:.1} to {:.1}%", percent(least), percent(most)),
            None => String::new(),
        };
        Cell { value, interval, counts, full: format!("{measure}{spread}"), evidence: joined(evaluation.evidence()) }
    }
}

/// `seed 1`, or `seeds 1, 2`.
pub(super) fn seeds(of: &Evaluation) -> String {
    let seeds: Vec<String> = of.sources.iter().map(|it| it.seed.to_string()).collect();
    format!("seed{} {}", if seeds.len() == 1 { "" } else { "s" }, seeds.join(", "))
}

/// Hashes side by side.
pub(super) fn joined<'a>(hashes: impl IntoIterator<Item = &'a Hash>) -> String {
    hashes.into_iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(" ")
}
