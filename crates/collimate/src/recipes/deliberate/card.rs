//! From outputs to the system card.

use std::collections::BTreeSet;

use collimate_eval::{
    Contents, DataCount, Evaluation, Evidenced, Named, Observation, RlCurve, RlPoint, Run, RunFacts, Sample, SuiteId,
    SystemCard, Waypoint, table,
};
use collimate_schema::{Artifact, ArtifactId, By, Hash, RunFolder, Seed};
use serde::Serialize;

use super::arms::Arm;
use super::measure::{Output, observations};
use super::{Deliberate, Lab, Trained, Trial};
use crate::commands::{RESULTS, TABLE};
use crate::recipes::world::{Exam, World};

/// What this world and these sizes do not show.
const LIMITS: [&str; 4] = [
    "The models have two million parameters and the world is invented: a claim that held here is evidence about the method, not \
     about any deployed model.",
    "Ground truth is exact for this world's requests only; jailbreaks outside its generator were not tried.",
    "The same base model deliberates, filters and rewards; grading for this card is by the world's oracle, not by a judge.",
    "RL is tens of steps. The arm without safety training and the fine-tuned arm get no capability-only RL.",
];

/// The file for programs.
#[derive(Serialize)]
struct Results<'a> {
    config: &'a Deliberate,
    evaluations: &'a [Evaluation],
    waypoints: &'a [Waypoint],
    claims: &'a [collimate_eval::Claim],
    card: Hash,
}

/// Builds the card and writes it, the results and the table.
pub(super) fn build(
    run: &RunFolder,
    cfg: &Deliberate,
    world: &dyn World,
    base: &ArtifactId,
    arms: &[Arm],
    exam: &Exam,
    trials: Vec<Trial>,
) -> anyhow::Result<SystemCard> {
    let resampling = Seed(cfg.exam.seed).child("bootstrap");
    let evaluations: Vec<Evaluation> = arms
        .iter()
        .enumerate()
        .map(|(at, arm)| {
            let each = trials.iter().map(|it| (it.number, &it.measured[at].model, &it.measured[at].outputs)).collect();
            evaluation(arm.key, each, resampling)
        })
        .collect();
    let steps: BTreeSet<u64> = trials.iter().flat_map(|it| it.on_the_way.iter().map(|it| it.0)).collect();
    let waypoints = steps.into_iter().map(|step| {
        let at_step = |trial: &'_ Trial| trial.on_the_way.iter().position(|it| it.0 == step);
        let each = trials
            .iter()
            .filter_map(|it| at_step(it).map(|at| (it.number, &it.on_the_way[at].1, &it.on_the_way[at].2)));
        Waypoint { step, evaluation: evaluation(collimate_eval::arms::SFT_RL, each.collect(), resampling) }
    });
    let mut checkpoints = vec![Named { name: "base".to_owned(), hash: base.hash.clone() }];
    for it in trials.iter().flat_map(|it| &it.measured) {
        let named = Named { name: it.model.name.clone(), hash: it.model.hash.clone() };
        if !checkpoints.contains(&named) {
            checkpoints.push(named);
        }
    }
    let contents = Contents {
        title: format!("System card: deliberative alignment to {}", world.spec().title),
        run: RunFacts {
            recipe: "deliberate".to_owned(),
            config: run.hash().clone(),
            seeds: cfg.seeds.clone(),
            spec: Named { name: world.spec().title.clone(), hash: Hash::of_json(world.spec()) },
            checkpoints,
        },
        evaluations,
        waypoints: waypoints.collect(),
        data: trials.iter().flat_map(data_counts).collect(),
        filters: trials
            .iter()
            .map(|it| Evidenced { evidence: it.data.examples.id.hash.clone(), value: it.data.report.clone() })
            .collect(),
        confusions: trials
            .iter()
            .flat_map(|it| {
                it.judges
                    .value
                    .iter()
                    .map(|value| Evidenced { evidence: it.judges.id.hash.clone(), value: value.clone() })
            })
            .collect(),
        curves: trials
            .iter()
            .flat_map(|it| {
                it.curves.iter().map(|(arm, curve)| RlCurve {
                    arm: (*arm).to_owned(),
                    seed: it.number,
                    evidence: curve.id.hash.clone(),
                    points: curve.value.clone(),
                })
            })
            .collect(),
        samples: trials.first().map(|it| samples(it, exam)).unwrap_or_default(),
        limits: LIMITS.map(str::to_owned).to_vec(),
        times: Vec::new(),
    };
    let present: BTreeSet<Hash> = run.lineage().into_iter().map(|it| it.id.hash).collect();
    let card = SystemCard::new(contents, &present)?;
    let Contents { evaluations, waypoints, .. } = card.contents();
    run.write_text("card.json", &card.to_json(), &[])?;
    run.write_text("card.html", &card.to_html(), &[])?;
    let results = Results { config: cfg, evaluations, waypoints, claims: card.claims(), card: card.hash() };
    run.write(RESULTS.trim_end_matches(".json"), &results, &[])?;
    run.write_text(TABLE, &table(evaluations), &[])?;
    Ok(card)
}

fn evaluation(arm: &str, each: Vec<(u64, &ArtifactId, &Artifact<Vec<Output>>)>, seed: Seed) -> Evaluation {
    let seen: Vec<Vec<Observation>> = each.iter().map(|it| observations(&it.2.value)).collect();
    let runs: Vec<Run<'_>> = each
        .iter()
        .zip(&seen)
        .map(|((number, model, outputs), observations)| Run {
            seed: *number,
            by: By::Checkpoint(model.hash.clone()),
            evidence: outputs.id.hash.clone(),
            observations,
        })
        .collect();
    Evaluation::of(arm, &runs, seed)
}

fn data_counts(trial: &Trial) -> Vec<Evidenced<DataCount>> {
    let count = |stage: &str, what: &str, n: usize, id: &ArtifactId| Evidenced {
        evidence: id.hash.clone(),
        value: DataCount { stage: format!("{stage}, seed {}", trial.number), what: what.to_owned(), n: n as u64 },
    };
    vec![
        count("SFT", "prompts", trial.data.prompts.len(), &trial.data.examples.id),
        count("SFT", "deliberations sampled", trial.data.graded.len(), &trial.data.examples.id),
        count("SFT", "deliberations kept", trial.data.examples.value.len(), &trial.data.examples.id),
        count("SFT", "capability examples", trial.n_capability, &trial.capability),
    ]
}

/// The first question of some suites with what every arm said.
fn samples(trial: &Trial, exam: &Exam) -> Vec<Sample> {
    const KINDS: [(SuiteId, &str); 5] = [
        (SuiteId::Disallowed, "disallowed request"),
        (SuiteId::Jailbreak, "jailbreak"),
        (SuiteId::Encodings, "request in a cipher"),
        (SuiteId::OverrefusalLookalike, "harmless request that sounds harmful"),
        (SuiteId::OverrefusalAllowed, "request that the policy allows"),
    ];
    let Some(first) = trial.measured.first() else { return Vec::new() };
    let found = KINDS.iter().filter_map(|(suite, kind)| {
        let of_suite = |it: &Output| it.observations.first().is_some_and(|it| it.suite == *suite);
        let at = first.outputs.value.iter().position(of_suite)?;
        let replies = trial.measured.iter().map(|it| {
            let output = &it.outputs.value[at];
            let pass = output.observations.first().and_then(|it| it.pass);
            collimate_eval::Reply { arm: it.arm.key.to_owned(), parsed: output.parsed.clone(), pass }
        });
        Some(Sample {
            prompt: exam.questions[at].id.clone(),
            kind: (*kind).to_owned(),
            conversation: exam.questions[at].conversation.clone(),
            replies: replies.collect(),
            evidence: first.outputs.id.hash.clone(),
        })
    });
    found.collect()
}

impl Lab<'_> {
    /// The numbers of `name`'s RL steps, as an artefact.
    pub(super) fn curve(&self, name: &str, policy: &Trained) -> anyhow::Result<Artifact<Vec<RlPoint>>> {
        let stage = self.at(name);
        self.run.stage(&format!("{stage}-curve"), &[&policy.id], || {
            let rows = self.run.metrics(&stage, self.cfg.rl.steps)?.rows()?;
            let point = |row: &collimate_schema::Row| RlPoint {
                step: row.step,
                reward: row.get("reward"),
                kl: row.get("kl"),
                entropy: row.get("entropy"),
                length: row.get("length"),
                truncated: row.get("truncated"),
                degenerate: row.get("degenerate"),
            };
            Ok(rows.iter().map(point).collect())
        })
    }
}
