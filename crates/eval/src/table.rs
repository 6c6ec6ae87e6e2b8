//! The table that the command line prints.

use crate::{Evaluation, SuiteId};

/// The suites of the headline table with their short names.
pub const HEADLINE: [(SuiteId, &str); 6] = [
    (SuiteId::Disallowed, "not_unsafe"),
    (SuiteId::Jailbreak, "goodness@0.1"),
    (SuiteId::Encodings, "encodings"),
    (SuiteId::Language, "language"),
    (SuiteId::Overrefusal, "not_overrefuse"),
    (SuiteId::Capability, "capability"),
];

/// Arms by headline suites: percent, with 95% intervals. Lines end in `\n`.
pub fn table(evaluations: &[Evaluation]) -> String {
    let header = std::iter::once("arm".to_owned()).chain(HEADLINE.map(|(_, name)| name.to_owned()));
    let rows = evaluations.iter().map(|it| {
        let cells = HEADLINE.map(|(suite, _)| match it.measure(suite).estimate() {
            None => "no data".to_owned(),
            Some(it) => format!("{:.1} [{:.0}, {:.0}]", 100.0 * it.value, 100.0 * it.low, 100.0 * it.high),
        });
        std::iter::once(it.arm.clone()).chain(cells).collect::<Vec<_>>()
    });
    let rows: Vec<Vec<String>> = std::iter::once(header.collect()).chain(rows).collect();
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text.push_str("percent, with 95% intervals; higher is better everywhere\n");
    text
}
