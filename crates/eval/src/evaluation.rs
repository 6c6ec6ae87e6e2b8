//! One arm, measured on every suite, over one training seed or several.

use collimate_schema::{By, Hash, Seed};
use serde::{Deserialize, Serialize};

use crate::papers::Paper;
use crate::stats::Measure;
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
}

impl Finding {
    /// The least and the greatest value over seeds, in [0, 1]; `None` with fewer than two seeds that have data.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let values: Vec<f64> = self.by_seed.iter().filter_map(Measure::estimate).map(|it| it.value).collect();
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
    /// Measures `arm` on every suite of `paper`, over the models of all `runs`. `seed` is for the resampling only.
    pub fn of(paper: &Paper, arm: impl Into<String>, runs: &[Run<'_>], seed: Seed) -> Evaluation {
        let arm = arm.into();
        let observations: Vec<&[Observation]> = runs.iter().map(|it| it.observations).collect();
        let findings = paper
            .suites
            .iter()
            .map(|suite| {
                let seed = seed.child(&arm).child(suite.id().name());
                let each = || runs.iter().map(|it| suite.measure(&[it.observations], seed)).collect();
                Finding {
                    suite: suite.id(),
                    measure: suite.measure(&observations, seed),
                    by_seed: if runs.len() > 1 { each() } else { Vec::new() },
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
        Evaluation { arm, sources, findings }
    }

    /// What `suite` found. An evaluation written before the suite existed has no data on it.
    pub fn measure(&self, suite: &SuiteId) -> Measure {
        self.finding(suite).map_or(Measure::NoData { unscored: 0 }, |it| it.measure)
    }

    /// What `suite` found, seed by seed.
    pub fn finding(&self, suite: &SuiteId) -> Option<&Finding> {
        self.findings.iter().find(|it| it.suite == *suite)
    }

    /// Hashes of the artefacts behind every number.
    pub fn evidence(&self) -> impl Iterator<Item = &Hash> {
        self.sources.iter().map(|it| &it.evidence)
    }
}

#[cfg(test)]
mod tests {
    use collimate_schema::PromptId;

    use super::*;
    use crate::papers::DELIBERATIVE_ALIGNMENT;
    use crate::stats::{Value, bootstrap};
    use crate::suites::JAILBREAK;

    #[test]
    fn draws_are_seeded_by_the_names_that_results_spell() {
        let observation = |place: u32| Observation {
            question: PromptId(format!("p{place}")),
            group: PromptId(format!("p{place}")),
            suite: JAILBREAK,
            technique: None,
            value: Value::Pass(place < 4),
        };
        let observations: Vec<Observation> = (0..10).map(observation).collect();
        let run = Run { seed: 0, by: By::Named("m".to_owned()), evidence: Hash::of(b""), observations: &observations };
        let found = Evaluation::of(&DELIBERATIVE_ALIGNMENT, "sft", &[run], Seed(3)).measure(&JAILBREAK).estimate();
        let safe: Vec<f64> = (0..10).map(|it| f64::from(it < 4)).collect();
        assert_eq!(found, bootstrap(&safe, Seed(3).child("sft").child("jailbreak")));
    }
}
