//! Every arm on the headline suites, and one suite against another.

use collimate_schema::Hash;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::cell::{Cell, seeds};
use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::evaluation::Evaluation;
use crate::papers::Paper;
use crate::plot::{self, Dot, Trail, series};

/// The evaluation of a policy in the middle of its reinforcement learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waypoint {
    /// Optimizer steps taken.
    pub step: u64,
    /// What it scored, over all training seeds; its arm is the one being trained.
    pub evaluation: Evaluation,
}

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Policies on their way through reinforcement learning, in order of steps.
    pub waypoints: Vec<Waypoint>,
}

impl Part for Results {
    fn key(&self) -> &'static str {
        "results"
    }

    fn name(&self) -> &'static str {
        "Results"
    }

    fn evidence<'a>(&'a self, numbers: &'a Numbers) -> Vec<(String, &'a Hash)> {
        let of_waypoint = |Waypoint { step, evaluation }: &'a Waypoint| {
            let what = format!("evaluation of `{}` at step {step}", numbers.paper.label(&evaluation.arm));
            evaluation.evidence().map(move |hash| (what.clone(), hash))
        };
        self.waypoints.iter().flat_map(of_waypoint).collect()
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let Numbers { paper, evaluations } = page.numbers;
        let row = |(place, it): (usize, &Evaluation)| {
            context! {
                label => paper.label(&it.arm),
                seeds => seeds(it),
                series => series(paper, &it.arm, place),
                number => place + 1,
                cells => paper.headline.iter().map(|(suite, _)| Value::from_serialize(Cell::new(it, suite))).collect::<Vec<_>>(),
            }
        };
        let column = |(suite, short): &(_, &str)| context! { short, title => paper.suite_title(suite) };
        let on_the_way = |Waypoint { step, evaluation }: &Waypoint| {
            let measured = |suite| Value::from_serialize(Cell::new(evaluation, suite));
            context! {
                step,
                arm => paper.label(&evaluation.arm),
                seeds => seeds(evaluation),
                cells => [&paper.tradeoff.x.suite, &paper.tradeoff.y.suite].map(measured).to_vec(),
            }
        };
        let pareto = plot::pareto(paper.tradeoff, &dots(page.numbers), &trails(paper, &self.waypoints));
        render(
            include_str!("results.html"),
            context! {
                headline => paper.headline.iter().map(column).collect::<Vec<_>>(),
                arms => evaluations.iter().enumerate().map(row).collect::<Vec<_>>(),
                pareto => Value::from_safe_string(pareto),
                bars => Value::from_safe_string(plot::bars(paper, evaluations)),
                waypoints => self.waypoints.iter().map(on_the_way).collect::<Vec<_>>(),
                axes => [paper.tradeoff.x.name, paper.tradeoff.y.name],
                caption => paper.tradeoff.caption,
                figure => paper.figure,
            },
        )
    }
}

fn dots(Numbers { paper, evaluations }: &Numbers) -> Vec<Dot> {
    let dot = |(place, it): (usize, &Evaluation)| {
        Some(Dot {
            label: paper.label(&it.arm).to_owned(),
            series: series(paper, &it.arm, place),
            x: it.measure(&paper.tradeoff.x.suite).estimate()?,
            y: it.measure(&paper.tradeoff.y.suite).estimate()?,
        })
    };
    evaluations.iter().enumerate().filter_map(dot).collect()
}

fn trails(paper: &Paper, waypoints: &[Waypoint]) -> Vec<Trail> {
    let mut trails: Vec<(&str, Trail)> = Vec::new();
    for Waypoint { step, evaluation } in waypoints {
        let value = |suite| Some(evaluation.measure(suite).estimate()?.value());
        let (Some(x), Some(y)) = (value(&paper.tradeoff.x.suite), value(&paper.tradeoff.y.suite)) else { continue };
        let arm = evaluation.arm.as_str();
        let at = trails.iter().position(|(key, _)| *key == arm).unwrap_or_else(|| {
            let label = paper.label(arm).to_owned();
            trails.push((arm, Trail { label, series: series(paper, arm, trails.len()), steps: Vec::new() }));
            trails.len() - 1
        });
        trails[at].1.steps.push((*step, x, y));
    }
    trails.into_iter().map(|(_, it)| it).collect()
}
