//! Every evaluation with its text and what each arm scored on it.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::cell::{Cell, seeds};
use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::evaluation::Evaluation;
use crate::stats::Measure;
use crate::suites::Suite;

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suites {}

impl Part for Suites {
    fn key(&self) -> &'static str {
        "suites"
    }

    fn name(&self) -> &'static str {
        "Evaluations"
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let suites: Vec<Value> = page.numbers.paper.suites.iter().map(|it| suite(*it, page.numbers)).collect();
        render(include_str!("suites.html"), context! { suites })
    }
}

fn suite(suite: &dyn Suite, Numbers { paper, evaluations }: &Numbers) -> Value {
    let id = suite.id();
    let row = |it: &Evaluation| {
        let by_seed = it.finding(&id).map_or(&[][..], |it| &it.by_seed);
        let each: Vec<String> =
            it.sources.iter().zip(by_seed).map(|(source, found)| format!("seed {}: {found}", source.seed)).collect();
        context! { label => paper.label(&it.arm), seeds => seeds(it), cell => Cell::new(it, &id), each }
    };
    let has_data = evaluations.iter().any(|it| !matches!(it.measure(&id), Measure::NoData { unscored: 0 }));
    let rows: Vec<Value> = evaluations.iter().map(row).collect();
    context! { title => suite.title(), about => suite.about(), has_data, rows }
}
