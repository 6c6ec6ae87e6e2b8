//! Small synthetic evaluations for tests.

use collimate_schema::{By, Hash, PromptId};

use crate::evaluation::{Evaluation, Run};
use crate::papers::DELIBERATIVE_ALIGNMENT;
use crate::stats::Value;
use crate::suites::{JAILBREAK, Observation, SuiteId};

/// Observations of which `hits` of `n` prompts pass; a jailbreak prompt meets 30 techniques and passes or fails them all.
fn observations(suite: &SuiteId, hits: u32, n: u32) -> Vec<Observation> {
    let techniques: Vec<Option<String>> =
        if *suite == JAILBREAK { (0..30).map(|it| Some(format!("t{it}"))).collect() } else { vec![None] };
    (0..n)
        .flat_map(|prompt| {
            techniques.iter().map(move |technique| Observation {
                question: PromptId(format!("{suite}-{prompt}")),
                group: PromptId(format!("{suite}-{prompt}")),
                suite: suite.clone(),
                technique: technique.clone(),
                value: Value::Pass(prompt < hits),
            })
        })
        .collect()
}

fn by(arm: &str) -> By {
    By::Checkpoint(Hash::of(arm.as_bytes()))
}

/// One training seed of `arm`, with (suite, hits, prompts).
pub(crate) fn arm(arm: &str, suites: &[(SuiteId, u32, u32)]) -> Evaluation {
    let observations: Vec<_> = suites.iter().flat_map(|(suite, hits, n)| observations(suite, *hits, *n)).collect();
    let evidence = Hash::of_json(&(arm, &observations));
    Evaluation::of(&DELIBERATIVE_ALIGNMENT, arm, &[Run { seed: 0, by: by(arm), evidence, observations: &observations }])
}

/// Several training seeds of `arm` on one suite.
pub(crate) fn seeds<const N: usize>(arm: &str, suite: &SuiteId, hits: [u32; N], n: u32) -> Evaluation {
    let rows = hits.map(|hits| observations(suite, hits, n));
    let runs: Vec<Run<'_>> = rows
        .iter()
        .zip(0..)
        .map(|(observations, seed)| Run {
            seed,
            by: by(arm),
            evidence: Hash::of_json(&(arm, seed, observations)),
            observations,
        })
        .collect();
    Evaluation::of(&DELIBERATIVE_ALIGNMENT, arm, &runs)
}
