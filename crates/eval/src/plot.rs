//! Plots as SVG that lives inside a page: colours come from the page's style sheet by class, so that they follow its light or
//! dark scheme. Every mark carries its numbers as a title.

mod bars;
mod curves;
mod labels;
mod legend;
mod pareto;
mod scale;
mod series;
mod svg;

pub(crate) use bars::bars;
pub(crate) use curves::{Curve, Point, curves};
pub(crate) use pareto::{Dot, Trail, pareto};
pub(crate) use series::series;
