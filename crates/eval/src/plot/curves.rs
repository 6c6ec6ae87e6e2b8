//! Quantities over the steps of training: small multiples, one per quantity.

use super::legend::legend;
use super::scale::Scale;
use super::svg::Svg;
use crate::stats::Finite;

/// One run.
pub(crate) struct Curve {
    /// Curves of one label are named once.
    pub(crate) label: String,
    pub(crate) series: String,
    /// In order of steps.
    pub(crate) points: Vec<Point>,
}

/// A step, with a value for each quantity where it was measured.
pub(crate) struct Point {
    pub(crate) step: u64,
    pub(crate) values: Vec<Option<Finite>>,
}

const COLUMNS: usize = 2;
const CELL: (f64, f64) = (400.0, 180.0);
const N_TICKS: usize = 5;
const LEFT: f64 = 44.0;

/// Room for a line of the legend, with a pattern to be told by.
const LINE: f64 = 42.0;

/// No curve is drawn beyond this: a number near the end of what is finite has no plot.
const FAR: f64 = 1e100;

/// Draws every curve in a panel for each of `quantities`; `title` and `description` are for screen readers.
pub(crate) fn curves(title: &str, description: &str, quantities: &[&str], curves: &[Curve]) -> String {
    let mut named: Vec<&Curve> = Vec::new();
    for curve in curves {
        if named.iter().all(|it| it.label != curve.label) {
            named.push(curve);
        }
    }
    let width = CELL.0 * COLUMNS as f64;
    let labels: Vec<&str> = named.iter().map(|it| it.label.as_str()).collect();
    let (spots, legend_height) = legend(&labels, (LEFT, width), LINE);
    let height = legend_height + CELL.1 * quantities.len().div_ceil(COLUMNS) as f64;
    let mut svg = Svg::new(width, height, title, description);
    for (spot, Curve { label, series, .. }) in spots.into_iter().zip(named) {
        svg.line(&format!("curve {series}"), (spot.x, spot.y - 4.0), (spot.x + LINE - 6.0, spot.y - 4.0));
        svg.text("name", (spot.x + LINE, spot.y), "start", label);
    }
    for (place, quantity) in quantities.iter().enumerate() {
        let corner = (CELL.0 * (place % COLUMNS) as f64, legend_height + CELL.1 * (place / COLUMNS) as f64);
        panel(&mut svg, corner, (place, quantity), curves);
    }
    svg.finish()
}

fn panel(svg: &mut Svg, corner: (f64, f64), (quantity, title): (usize, &str), curves: &[Curve]) {
    let read = |it: &Point| it.values[quantity].map(|it| it.get().clamp(-FAR, FAR));
    let (left, right) = (corner.0 + LEFT, corner.0 + CELL.0 - 12.0);
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
    for Curve { label, series, points } in curves {
        // A step without a value breaks the line.
        for run in points.split(|it| read(it).is_none()).filter(|it| !it.is_empty()) {
            let line: Vec<(f64, f64)> =
                run.iter().filter_map(|it| Some((x.at(it.step as f64), y.at(read(it)?)))).collect();
            if let [only] = line[..] {
                svg.dot(&format!("step {series}"), only, 2.5, label);
            }
            svg.polyline(&format!("curve {series}"), &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(values: &[Option<f64>]) -> String {
        let points =
            (0..).zip(values).map(|(step, it)| Point { step, values: vec![it.and_then(Finite::new)] }).collect();
        let curve = Curve { label: "a".to_owned(), series: "s0".to_owned(), points };
        curves("t", "d", &["q"], &[curve])
    }

    /// Whatever was measured, and at however few steps, the picture holds finite numbers only.
    #[test]
    fn fault_34_no_curve_draws_what_is_no_number() {
        let largest = Some(f64::MAX);
        let cases: [&[Option<f64>]; 7] = [
            &[],
            &[None],
            &[Some(f64::NAN), Some(f64::INFINITY)],
            &[Some(0.0)],
            &[largest, Some(-f64::MAX), largest],
            &[Some(f64::MIN_POSITIVE), Some(-0.0)],
            &[Some(5e-324), None, Some(1e-300)],
        ];
        for values in cases {
            let svg = svg(values);
            assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.len() < 20_000, "{values:?}: {svg}");
        }
        assert!(svg(&[Some(f64::NAN)]).contains("no data"));
    }
}
