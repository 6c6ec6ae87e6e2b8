//! Names side by side above a plot, in as many lines as they need.

use super::svg::{FONT, width_of};

/// Where a name goes: the left end of its mark, and the baseline of its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) x: f64,
    pub(super) y: f64,
}

const LINE_HEIGHT: f64 = 20.0;

/// A spot for each of `labels`, each after a mark of width `mark`, between `left` and `right`; and the height of them all.
pub(super) fn legend(labels: &[&str], (left, right): (f64, f64), mark: f64) -> (Vec<Spot>, f64) {
    let (mut x, mut y) = (left, LINE_HEIGHT - 5.0);
    let mut spots = Vec::new();
    for label in labels {
        let width = mark + width_of(label);
        if x + width > right && x > left {
            (x, y) = (left, y + LINE_HEIGHT);
        }
        spots.push(Spot { x, y });
        x += width + FONT;
    }
    (spots, y + 9.0)
}
