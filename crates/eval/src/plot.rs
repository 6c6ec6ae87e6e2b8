//! Plots as SVG that lives inside a page: colours come from the page's style sheet by class, so that they follow its light or
//! dark scheme. Every mark carries its numbers as a title.

mod bars;
mod curves;
mod labels;
mod pareto;
mod scale;
mod svg;

pub(crate) use bars::bars;
pub(crate) use curves::curves;
pub(crate) use pareto::{Dot, Trail, pareto};

/// A series' colour class, `s0` to `s7`: fixed for the arms we know, so that plots agree, and by place for others.
pub(crate) fn series(arm: &str, place: usize) -> String {
    use crate::arms::*;
    let known = [NO_SAFETY, SFT, RL, SFT_RL, SPEC_SUMMARIES, SPEC_TAILORED, ANSWERS_ONLY, FULL_DATA];
    format!("s{}", known.iter().position(|it| *it == arm).unwrap_or(place) % known.len())
}
