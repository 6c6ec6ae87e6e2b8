//! Grouped bars with intervals: a group per suite, a bar per arm (figure 14 of the paper).

use super::scale::Scale;
use super::series::series;
use super::svg::{FONT, Svg, width_of};
use crate::evaluation::Evaluation;
use crate::papers::Paper;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 48.0;
const PLOT_HEIGHT: f64 = 240.0;

/// Draws the paper's headline suites for every evaluation. Where an arm has no data there is a cross on the ground.
pub(crate) fn bars(paper: &Paper, evaluations: &[Evaluation]) -> String {
    let groups = paper.headline;
    let n_lines = legend(paper, evaluations).last().map_or(0, |(_, _, line)| line + 1);
    let top = 14.0 + 20.0 * n_lines as f64;
    let bottom = top + PLOT_HEIGHT;
    let mut svg = Svg::new(
        WIDTH,
        bottom + 48.0,
        "Arms by suite",
        "A group of bars for each suite, a bar for each arm, with 95% intervals. The numbers are in the tables.",
    );
    for (place, x, line) in legend(paper, evaluations) {
        let (arm, y) = (evaluations[place].arm.as_str(), 6.0 + 20.0 * line as f64);
        svg.rect(&format!("bar {}", series(paper, arm, place)), (x, y), (11.0, 11.0), paper.label(arm));
        svg.text("name", (x + 16.0, y + 10.0), "start", paper.label(arm));
    }
    let y = Scale::new((0.0, 1.0), (bottom, top));
    for tick in y.ticks(5) {
        svg.line("grid", (LEFT, y.at(tick)), (WIDTH, y.at(tick)));
        svg.text("tick", (LEFT - 8.0, y.at(tick) + 4.0), "end", &format!("{:.0}%", 100.0 * tick));
    }
    let group_width = (WIDTH - LEFT) / groups.len().max(1) as f64;
    let bar_width = (group_width * 0.82 / evaluations.len().max(1) as f64).min(26.0);
    for (group, (suite, title)) in groups.iter().enumerate() {
        let middle = LEFT + group_width * (group as f64 + 0.5);
        let start = middle - bar_width * evaluations.len() as f64 / 2.0;
        for (place, evaluation) in evaluations.iter().enumerate() {
            let x = start + bar_width * place as f64;
            let centre = x + bar_width / 2.0;
            let measure = evaluation.measure(suite);
            let told = format!("{}, {title}: {measure}", paper.label(&evaluation.arm));
            match measure.estimate() {
                None => svg.text("faint", (centre, bottom - 3.0), "middle", "\u{d7}"),
                Some(it) => {
                    let class = format!("bar {}", series(paper, &evaluation.arm, place));
                    // A bar of 0 still shows that there is one.
                    let height = (bottom - y.at(it.value())).max(1.5);
                    svg.rect(&class, (x + 0.5, bottom - height), (bar_width - 1.0, height), &told);
                    svg.line("range", (centre, y.at(it.low())), (centre, y.at(it.high())));
                }
            }
        }
        svg.text("name", (middle, bottom + 20.0), "middle", title);
    }
    svg.line("axis", (LEFT, bottom), (WIDTH, bottom));
    svg.text("faint", (LEFT, bottom + 42.0), "start", "\u{d7}: no data. Lines are 95% intervals.");
    svg.finish()
}

/// Where the names go: place of the evaluation, x, and line.
fn legend(paper: &Paper, evaluations: &[Evaluation]) -> Vec<(usize, f64, usize)> {
    let (mut x, mut line) = (LEFT, 0);
    let mut spots = Vec::new();
    for (place, evaluation) in evaluations.iter().enumerate() {
        let width = 16.0 + width_of(paper.label(&evaluation.arm)) + FONT;
        if x + width > WIDTH && x > LEFT {
            (x, line) = (LEFT, line + 1);
        }
        spots.push((place, x, line));
        x += width;
    }
    spots
}
