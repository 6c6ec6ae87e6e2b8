//! Reinforcement learning over its steps: small multiples, one per quantity.

use super::scale::Scale;
use super::series;
use super::svg::{FONT, Svg, width_of};
use crate::{RlCurve, RlPoint, arms};

/// A quantity: its title and how to read it.
type Quantity = (&'static str, fn(&RlPoint) -> Option<f64>);

const QUANTITIES: [Quantity; 6] = [
    ("reward, mean", |it| it.reward),
    ("KL to the start, nats per token", |it| it.kl),
    ("entropy, nats per token", |it| it.entropy),
    ("length, tokens", |it| it.length),
    ("truncated, share", |it| it.truncated),
    ("groups without spread, share", |it| it.degenerate),
];

const COLUMNS: usize = 2;
const CELL: (f64, f64) = (400.0, 180.0);
const N_TICKS: usize = 5;

/// Draws every curve; curves of one arm share its colour.
pub(crate) fn curves(curves: &[RlCurve]) -> String {
    let legend_height = 24.0;
    let height = legend_height + CELL.1 * QUANTITIES.len().div_ceil(COLUMNS) as f64;
    let mut svg = Svg::new(
        CELL.0 * COLUMNS as f64,
        height,
        "Reinforcement learning over its steps",
        "Reward, KL, entropy, length, truncated share and degenerate share at each step, a line for each run.",
    );
    let mut x = 44.0;
    let mut named: Vec<&str> = Vec::new();
    for (place, curve) in curves.iter().enumerate() {
        if !named.contains(&curve.arm.as_str()) {
            let label = arms::label(&curve.arm);
            svg.line(&format!("curve {}", series(&curve.arm, place)), (x, 10.0), (x + 18.0, 10.0));
            svg.text("name", (x + 24.0, 14.0), "start", label);
            x += 24.0 + width_of(label) + 1.5 * FONT;
            named.push(&curve.arm);
        }
    }
    for (place, quantity) in QUANTITIES.iter().enumerate() {
        let corner = (CELL.0 * (place % COLUMNS) as f64, legend_height + CELL.1 * (place / COLUMNS) as f64);
        panel(&mut svg, corner, *quantity, curves);
    }
    svg.finish()
}

fn panel(svg: &mut Svg, corner: (f64, f64), (title, read): Quantity, curves: &[RlCurve]) {
    let (left, right) = (corner.0 + 44.0, corner.0 + CELL.0 - 12.0);
    let (top, bottom) = (corner.1 + 26.0, corner.1 + CELL.1 - 28.0);
    svg.text("title", (left, corner.1 + 16.0), "start", title);
    let points = || curves.iter().flat_map(|it| &it.points);
    let values = || points().filter_map(read);
    let last = points().map(|it| it.step).max().unwrap_or(1);
    let x = Scale::new((0.0, last as f64), (left, right));
    let (least, most) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    // What never left 0 is drawn on the ground of a plain axis, not magnified.
    let most = if most > least { most } else { least + 1.0 };
    let y = Scale::new((least, least + 1.05 * (most - least)), (bottom, top));
    for tick in y.ticks(N_TICKS) {
        svg.line("grid", (left, y.at(tick)), (right, y.at(tick)));
        svg.text("tick", (left - 6.0, y.at(tick) + 4.0), "end", &y.tick_text(tick, N_TICKS));
    }
    for tick in x.ticks(N_TICKS) {
        svg.text("tick", (x.at(tick), bottom + 16.0), "middle", &x.tick_text(tick, N_TICKS));
    }
    svg.line("axis", (left, bottom), (right, bottom));
    if values().next().is_none() {
        svg.text("faint", ((left + right) / 2.0, (top + bottom) / 2.0), "middle", "no data");
    }
    for (place, curve) in curves.iter().enumerate() {
        let class = series(&curve.arm, place);
        // A step without a value breaks the line.
        for run in curve.points.split(|it| read(it).is_none()).filter(|it| !it.is_empty()) {
            let line: Vec<(f64, f64)> =
                run.iter().filter_map(|it| Some((x.at(it.step as f64), y.at(read(it)?)))).collect();
            if let [only] = line[..] {
                svg.dot(&format!("step {class}"), only, 2.5, arms::label(&curve.arm));
            }
            svg.polyline(&format!("curve {class}"), &line);
        }
    }
}
