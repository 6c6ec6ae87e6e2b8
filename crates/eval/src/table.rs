//! The table that the command line prints.

use crate::evaluation::Evaluation;
use crate::papers::Paper;

/// Arms by the paper's columns: percent, with 95% intervals, and how much each column is over. Lines end in `\n`.
pub fn table(paper: &Paper, evaluations: &[Evaluation]) -> String {
    let header = std::iter::once("arm".to_owned()).chain(paper.columns.iter().map(|(_, name)| (*name).to_owned()));
    let rows = evaluations.iter().map(|it| {
        let cells = paper.columns.iter().map(|(suite, _)| match it.measure(suite).estimate() {
            None => "no data".to_owned(),
            Some(it) => format!("{:.1} [{:.0}, {:.0}]", 100.0 * it.value(), 100.0 * it.low(), 100.0 * it.high()),
        });
        std::iter::once(it.arm.clone()).chain(cells).collect::<Vec<_>>()
    });
    let counts = paper.columns.iter().map(|(suite, _)| counted(evaluations.iter().map(|it| it.measure(suite).n())));
    let counts = std::iter::once("n".to_owned()).chain(counts).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header.collect()).chain(rows).chain([counts]).collect();
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text.push_str("percent, with 95% intervals over questions and seeds; higher is better everywhere; n: answers, or prompts of a mean\n");
    text
}

/// `200`, or `180-200` where arms differ.
fn counted(n: impl Iterator<Item = u32> + Clone) -> String {
    match (n.clone().min(), n.max()) {
        (Some(least), Some(most)) if least < most => format!("{least}-{most}"),
        (_, most) => most.unwrap_or(0).to_string(),
    }
}
