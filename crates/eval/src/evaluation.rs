//! One arm, measured on every suite, over one training seed or several.

use collimate_schema::{By, Hash};
use serde::{Deserialize, Serialize};

use crate::papers::Paper;
use crate::stats::{Answers, Estimate, Measure};
use crate::suites::{Observation, SuiteId};

/// The observations of one trained model.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The training seed.
    pub seed: u64,
    /// Who was sampled.
    pub by: By,
    /// Hash of the artefact that the observations were read from.
    pub evidence: Hash,
    /// What was observed.
    pub observations: &'a [Observation],
}

/// Where an evaluation's observations are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The training seed.
    pub seed: u64,
    /// Who was sampled.
    pub by: By,
    /// Hash of the artefact that holds the observations.
    pub evidence: Hash,
    /// How many observations it holds.
    pub n_observations: u32,
}

/// What one suite found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which suite.
    pub suite: SuiteId,
    /// Over all seeds.
    pub measure: Measure,
    /// For each seed, in the order of the sources; empty if there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_seed: Vec<Measure>,
    /// What every group of questions scored with every seed: what the numbers are of, and what arms are compared by.
    pub answers: Answers,
}

impl Finding {
    /// The least and the greatest value over seeds, in [0, 1]; `None` with fewer than two seeds that have data.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let values: Vec<f64> = self.by_seed.iter().filter_map(Measure::estimate).map(Estimate::value).collect();
        let least = values.iter().copied().reduce(f64::min)?;
        let greatest = values.iter().copied().reduce(f64::max)?;
        (values.len() > 1).then_some((least, greatest))
    }
}

/// One arm, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The arm's key, such as `sft_rl`.
    pub arm: String,
    /// Where the observations are, by seed.
    pub sources: Vec<Source>,
    /// What every suite found, in the order of the paper.
    pub findings: Vec<Finding>,
}

impl Evaluation {
    /// Measures `arm` on every suite of `paper`, over the models of all `runs`.
    pub fn of(paper: &Paper, arm: impl Into<String>, runs: &[Run<'_>]) -> Evaluation {
        let observations: Vec<&[Observation]> = runs.iter().map(|it| it.observations).collect();
        let findings = paper
            .suites
            .iter()
            .map(|suite| {
                let each = || runs.iter().map(|it| suite.measure(&[it.observations])).collect();
                Finding {
                    suite: suite.id(),
                    measure: suite.measure(&observations),
                    by_seed: if runs.len() > 1 { each() } else { Vec::new() },
                    answers: suite.answers(&observations),
                }
            })
            .collect();
        let sources = runs
            .iter()
            .map(|it| Source {
                seed: it.seed,
                by: it.by.clone(),
                evidence: it.evidence.clone(),
                n_observations: it.observations.len() as u32,
            })
            .collect();
        Evaluation { arm: arm.into(), sources, findings }
    }

    /// What `suite` found. An evaluation written before the suite existed has no data on it.
    pub fn measure(&self, suite: &SuiteId) -> Measure {
        self.finding(suite).map_or(Measure::NoData { unscored: 0 }, |it| it.measure)
    }

    /// What `suite` found, seed by seed.
    pub fn finding(&self, suite: &SuiteId) -> Option<&Finding> {
        self.findings.iter().find(|it| it.suite == *suite)
    }

    /// On `suite`, by how much this arm is better than `other`, and how many prompts that is over if it is told prompt by prompt: where
    /// both answered the same prompts with the same training seeds. Else the two are taken for independent.
    pub fn better_than(&self, other: &Evaluation, suite: &SuiteId) -> Option<(Estimate, Option<u32>)> {
        let (ours, theirs) = (self.finding(suite)?, other.finding(suite)?);
        let (a, b) = (ours.measure.estimate()?, theirs.measure.estimate()?);
        let seeds = |it: &Evaluation| it.sources.iter().map(|it| it.seed).collect::<Vec<_>>();
        let paired = || ours.answers.minus(&theirs.answers, a.value() - b.value());
        match (seeds(self) == seeds(other)).then(paired).flatten() {
            Some((difference, n_prompts)) => Some((difference, Some(n_prompts))),
            None => Some((a.minus(b), None)),
        }
    }

    /// Hashes of the artefacts behind every number.
    pub fn evidence(&self) -> impl Iterator<Item = &Hash> {
        self.sources.iter().map(|it| &it.evidence)
    }
}
