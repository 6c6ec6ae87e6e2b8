//! Reinforcement learning over its steps.

use collimate_schema::Hash;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::papers::Paper;
use crate::plot::{self, Curve, Point, series};
use crate::stats::Finite;

/// One step of reinforcement learning; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RlPoint {
    /// Optimizer steps taken.
    pub step: u64,
    /// Mean reward of the scored rollouts, in [0, 1].
    pub reward: Option<Finite>,
    /// KL divergence from the policy's start, nats per token.
    pub kl: Option<Finite>,
    /// Entropy, nats per token.
    pub entropy: Option<Finite>,
    /// Mean length of a rollout, tokens.
    pub length: Option<Finite>,
    /// Share of rollouts that were truncated.
    pub truncated: Option<Finite>,
    /// Share of groups without two different scores.
    pub degenerate: Option<Finite>,
}

/// Reinforcement learning over its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RlCurve {
    /// The arm that was trained.
    pub arm: String,
    /// The training seed.
    pub seed: u64,
    /// Hash of the metrics file.
    pub evidence: Hash,
    /// In order of steps.
    pub points: Vec<RlPoint>,
}

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// One for each policy and training seed.
    pub curves: Vec<RlCurve>,
}

/// A quantity: its title and how to read it.
type Quantity = (&'static str, fn(&RlPoint) -> Option<Finite>);

const QUANTITIES: [Quantity; 6] = [
    ("reward, mean", |it| it.reward),
    ("KL to the start, nats per token", |it| it.kl),
    ("entropy, nats per token", |it| it.entropy),
    ("length, tokens", |it| it.length),
    ("truncated, share", |it| it.truncated),
    ("groups without spread, share", |it| it.degenerate),
];

impl Part for Training {
    fn key(&self) -> &'static str {
        "training"
    }

    fn name(&self) -> &'static str {
        "Training"
    }

    fn heading(&self) -> &'static str {
        "Reinforcement learning"
    }

    fn evidence<'a>(&'a self, numbers: &'a Numbers) -> Vec<(String, &'a Hash)> {
        let label = |it: &RlCurve| format!("curve of `{}`, seed {}", numbers.paper.label(&it.arm), it.seed);
        self.curves.iter().map(|it| (label(it), &it.evidence)).collect()
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let curves = (!self.curves.is_empty()).then(|| Value::from_safe_string(plot(page.numbers.paper, &self.curves)));
        render(include_str!("training.html"), context! { curves })
    }
}

fn plot(paper: &Paper, curves: &[RlCurve]) -> String {
    let point = |it: &RlPoint| Point { step: it.step, values: QUANTITIES.map(|(_, read)| read(it)).into() };
    let curve = |(place, it): (usize, &RlCurve)| Curve {
        label: paper.label(&it.arm).to_owned(),
        series: series(paper, &it.arm, place),
        points: it.points.iter().map(point).collect(),
    };
    plot::curves(
        "Reinforcement learning over its steps",
        "Reward, KL, entropy, length, truncated share and degenerate share at each step, a line for each run.",
        &QUANTITIES.map(|(title, _)| title),
        &curves.iter().enumerate().map(curve).collect::<Vec<_>>(),
    )
}
