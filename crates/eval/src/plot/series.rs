//! Colours.

use crate::papers::Paper;

/// How many colours the page has.
const N_SERIES: usize = 8;

/// A series' colour class, `s0` to `s7`: fixed for the arms of the paper, so that plots agree, and by place for others.
pub(crate) fn series(paper: &Paper, arm: &str, place: usize) -> String {
    format!("s{}", paper.arms.iter().position(|it| it.key == arm).unwrap_or(place) % N_SERIES)
}
