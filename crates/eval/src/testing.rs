//! Small synthetic evaluations for tests.

use collimate_schema::{By, Hash, PromptId, Seed};

use crate::{Evaluation, Observation, Run, SuiteId};

/// Observations of which `hits` of `n` prompts pass; a jailbreak prompt meets 30 techniques and passes or fails them all.
pub(crate) fn observations(suite: SuiteId, hits: u32, n: u32) -> Vec<Observation> {
    let techniques: Vec<Option<String>> =
        if suite == SuiteId::Jailbreak { (0..30).map(|it| Some(format!("t{it}"))).collect() } else { vec![None] };
    (0..n)
        .flat_map(|prompt| {
            techniques.iter().map(move |technique| Observation {
                prompt: PromptId(format!("p{prompt}")),
                suite,
                technique: technique.clone(),
                pass: Some(prompt < hits),
            })
        })
        .collect()
}

fn by(arm: &str) -> By {
    By::Checkpoint(Hash::of(arm.as_bytes()))
}

/// One training seed of `arm`, with (suite, hits, prompts).
pub(crate) fn arm(arm: &str, suites: &[(SuiteId, u32, u32)]) -> Evaluation {
    let observations: Vec<_> = suites.iter().flat_map(|(suite, hits, n)| observations(*suite, *hits, *n)).collect();
    let evidence = Hash::of_json(&(arm, &observations));
    Evaluation::of(arm, &[Run { seed: 0, by: by(arm), evidence, observations: &observations }], Seed(0))
}

/// Several training seeds of `arm` on one suite.
pub(crate) fn seeds<const N: usize>(arm: &str, suite: SuiteId, hits: [u32; N], n: u32) -> Evaluation {
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
    Evaluation::of(arm, &runs, Seed(0))
}
