//! Grouped bars with intervals: a group per suite, a bar per arm (figure 14 of the paper). Bars are numbered, so that no colour is
//! needed to tell whose they are.

use super::legend::legend;
use super::scale::Scale;
use super::series::series;
use super::svg::{Svg, cut, width_of};
use crate::evaluation::Evaluation;
use crate::papers::Paper;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 48.0;
const PLOT_HEIGHT: f64 = 240.0;
const LINE_HEIGHT: f64 = 15.0;

/// Room for a square of the legend.
const MARK: f64 = 16.0;

/// Draws the paper's headline suites for every evaluation. Where an arm has no data there is a cross on the ground.
pub(crate) fn bars(paper: &Paper, evaluations: &[Evaluation]) -> String {
    let groups = paper.headline;
    let names: Vec<String> = (1..).zip(evaluations).map(|(n, it)| format!("{n} {}", paper.label(&it.arm))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (spots, top) = legend(&names, (LEFT, WIDTH), MARK);
    let bottom = top + 8.0 + PLOT_HEIGHT;
    let group_width = (WIDTH - LEFT) / groups.len().max(1) as f64;
    let titles: Vec<Vec<String>> = groups.iter().map(|(_, title)| lines(title, group_width - 6.0)).collect();
    let n_lines = titles.iter().map(Vec::len).max().unwrap_or(0);
    let ground = bottom + 20.0 + LINE_HEIGHT * n_lines as f64 + 24.0;
    let mut svg = Svg::new(
        WIDTH,
        ground + 8.0,
        "Arms by suite",
        "A group of bars for each suite, a bar for each arm, with 95% intervals. The numbers are in the tables.",
    );
    for ((place, name), spot) in names.iter().enumerate().zip(spots) {
        let arm = &evaluations[place].arm;
        svg.rect(&format!("bar {}", series(paper, arm, place)), (spot.x, spot.y - 10.0), (11.0, 11.0), name);
        svg.text("name", (spot.x + MARK, spot.y), "start", name);
    }
    let y = Scale::new((0.0, 1.0), (bottom, top + 8.0));
    for tick in y.ticks(5) {
        svg.line("grid", (LEFT, y.at(tick)), (WIDTH, y.at(tick)));
        svg.text("tick", (LEFT - 8.0, y.at(tick) + 4.0), "end", &format!("{:.0}%", 100.0 * tick));
    }
    let bar_width = (group_width * 0.82 / evaluations.len().max(1) as f64).min(26.0);
    let has_room = width_of(&evaluations.len().to_string()) <= bar_width;
    for ((group, (suite, title)), titles) in groups.iter().enumerate().zip(&titles) {
        let middle = LEFT + group_width * (group as f64 + 0.5);
        let start = middle - bar_width * evaluations.len() as f64 / 2.0;
        for (place, evaluation) in evaluations.iter().enumerate() {
            let x = start + bar_width * place as f64;
            let centre = x + bar_width / 2.0;
            let measure = evaluation.measure(suite);
            let told = format!("{}, {title}: {measure}", paper.label(&evaluation.arm));
            if has_room {
                svg.text("tick", (centre, bottom + 15.0), "middle", &(place + 1).to_string());
            }
            match measure.estimate() {
                None => {
                    let (left, right, up, down) = (centre - 3.0, centre + 3.0, bottom - 9.0, bottom - 3.0);
                    svg.line("axis", (left, up), (right, down));
                    svg.line("axis", (left, down), (right, up));
                }
                Some(it) => {
                    let class = format!("bar {}", series(paper, &evaluation.arm, place));
                    // A bar of 0 still shows that there is one.
                    let height = (bottom - y.at(it.value())).max(1.5);
                    svg.rect(&class, (x + 0.5, bottom - height), (bar_width - 1.0, height), &told);
                    svg.line("range", (centre, y.at(it.low())), (centre, y.at(it.high())));
                }
            }
        }
        for (line, title) in (0..).zip(titles) {
            svg.text("name", (middle, bottom + 34.0 + LINE_HEIGHT * f64::from(line)), "middle", title);
        }
    }
    svg.line("axis", (LEFT, bottom), (WIDTH, bottom));
    svg.text("faint", (LEFT, ground), "start", "\u{d7}: no data. Lines are 95% intervals.");
    svg.finish()
}

/// `text` in lines of at most `width` pixels.
fn lines(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width_of(line) + width_of(" ") + width_of(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, width)),
        }
    }
    lines
}
