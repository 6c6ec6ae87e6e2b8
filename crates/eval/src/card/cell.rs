//! A number in a table of a card.

use collimate_schema::Hash;
use serde::Serialize;

use crate::evaluation::Evaluation;
use crate::stats::percent;
use crate::suites::SuiteId;

/// A number in a table.
#[derive(Serialize)]
pub(super) struct Cell {
    /// `92.5`, or `no data`.
    value: String,
    /// `88.0\u{2013}95.4`; empty without data.
    interval: String,
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
        let spread = match evaluation.finding(suite).and_then(|it| it.spread()) {
            Some((least, most)) => format!("; seeds {:.1} to {:.1}%", percent(least), percent(most)),
            None => String::new(),
        };
        Cell { value, interval, full: format!("{measure}{spread}"), evidence: joined(evaluation.evidence()) }
    }
}

/// Hashes side by side.
pub(super) fn joined<'a>(hashes: impl IntoIterator<Item = &'a Hash>) -> String {
    hashes.into_iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(" ")
}
