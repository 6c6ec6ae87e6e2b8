//! From outputs to the system card.

use std::collections::BTreeSet;

use collimate_eval::card::{
    Claims, DataCount, Evidence, Evidenced, Filter, Judges, Limits, Method, Named, Numbers, Reply, Results, RlCurve,
    RlPoint, RunFacts, Sample, Samples, Section, Suites, SystemCard, Training, Waypoint,
};
use collimate_eval::papers::deliberative_alignment::SFT_RL;
use collimate_eval::papers::{DELIBERATIVE_ALIGNMENT, Paper};
use collimate_eval::suites::{
    DISALLOWED, ENCODINGS, JAILBREAK, OVERREFUSAL_ALLOWED, OVERREFUSAL_LOOKALIKE, Observation, SuiteId,
};
use collimate_eval::{Claim, Evaluation, Run, claims, table};
use collimate_schema::{Artifact, ArtifactId, By, Hash, RunFolder, Seed};
use serde::Serialize;

use super::arms::Arm;
use super::measure::{Output, observations};
use super::{Deliberate, Lab, Trained, Trial};
use crate::commands::{RESULTS, TABLE};
use crate::recipes::world::{Exam, World};

/// Whose suites, arms and claims these are.
const PAPER: &Paper = &DELIBERATIVE_ALIGNMENT;

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
struct ForPrograms<'a> {
    config: &'a Deliberate,
    evaluations: &'a [Evaluation],
    waypoints: &'a [Waypoint],
    claims: &'a [Claim],
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
    let waypoint = |step: u64| {
        let at_step = |trial: &'_ Trial| trial.on_the_way.iter().position(|it| it.0 == step);
        let each = trials
            .iter()
            .filter_map(|it| at_step(it).map(|at| (it.number, &it.on_the_way[at].1, &it.on_the_way[at].2)));
        Waypoint { step, evaluation: evaluation(SFT_RL, each.collect(), resampling) }
    };
    let waypoints: Vec<Waypoint> = steps.into_iter().map(waypoint).collect();
    let mut checkpoints = vec![Named { name: "base".to_owned(), hash: base.hash.clone() }];
    for it in trials.iter().flat_map(|it| &it.measured) {
        let named = Named { name: it.model.name.clone(), hash: it.model.hash.clone() };
        if !checkpoints.contains(&named) {
            checkpoints.push(named);
        }
    }
    let filters = trials.iter().map(|it| evidenced(&it.data.examples.id, it.data.report.clone()));
    let confusions = trials
        .iter()
        .flat_map(|it| it.judges.value.iter().map(|confusion| evidenced(&it.judges.id, confusion.clone())));
    let curves = trials.iter().flat_map(|trial| {
        trial.curves.iter().map(|(arm, curve)| RlCurve {
            arm: (*arm).to_owned(),
            seed: trial.number,
            evidence: curve.id.hash.clone(),
            points: curve.value.clone(),
        })
    });
    let claims = claims(PAPER, &evaluations);
    let card = SystemCard {
        title: format!("System card: deliberative alignment to {}", world.spec().title),
        run: RunFacts {
            recipe: "deliberate".to_owned(),
            config: run.hash().clone(),
            seeds: cfg.seeds.clone(),
            spec: Named { name: world.spec().title.clone(), hash: Hash::of_json(world.spec()) },
        },
        sections: vec![
            Section::Results(Results { waypoints: waypoints.clone() }),
            Section::Claims(Claims { claims: claims.clone() }),
            Section::Method(Method { data: trials.iter().flat_map(data_counts).collect() }),
            Section::Suites(Suites {}),
            Section::Filter(Filter { filters: filters.collect() }),
            Section::Judges(Judges { confusions: confusions.collect() }),
            Section::Training(Training { curves: curves.collect() }),
            Section::Samples(Samples { samples: trials.first().map(|it| samples(it, exam)).unwrap_or_default() }),
            Section::Evidence(Evidence { checkpoints }),
            Section::Limits(Limits { limits: LIMITS.map(str::to_owned).to_vec() }),
        ],
        numbers: Numbers { paper: PAPER, evaluations },
    };
    card.verify(&run.lineage().into_iter().map(|it| it.id.hash).collect())?;
    let evaluations = &card.numbers.evaluations;
    run.write_text("card.json", &card.to_json(), &[])?;
    run.write_text("card.html", &card.to_html(), &[])?;
    let results = ForPrograms { config: cfg, evaluations, waypoints: &waypoints, claims: &claims, card: card.hash() };
    run.write(RESULTS.trim_end_matches(".json"), &results, &[])?;
    run.write_text(TABLE, &table(PAPER, evaluations), &[])?;
    Ok(card)
}

fn evidenced<T>(by: &ArtifactId, value: T) -> Evidenced<T> {
    Evidenced { evidence: by.hash.clone(), value }
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
    Evaluation::of(PAPER, arm, &runs, seed)
}

fn data_counts(trial: &Trial) -> Vec<Evidenced<DataCount>> {
    let count = |stage: &str, what: &str, n: usize, id: &ArtifactId| {
        let stage = format!("{stage}, seed {}", trial.number);
        evidenced(id, DataCount { stage, what: what.to_owned(), n: n as u64 })
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
    static KINDS: [(SuiteId, &str); 5] = [
        (DISALLOWED, "disallowed request"),
        (JAILBREAK, "jailbreak"),
        (ENCODINGS, "request in a cipher"),
        (OVERREFUSAL_LOOKALIKE, "harmless request that sounds harmful"),
        (OVERREFUSAL_ALLOWED, "request that the policy allows"),
    ];
    let Some(first) = trial.measured.first() else { return Vec::new() };
    let found = KINDS.iter().filter_map(|(suite, kind)| {
        let of_suite = |it: &Output| it.observations.first().is_some_and(|it| it.suite == *suite);
        let at = first.outputs.value.iter().position(of_suite)?;
        let replies = trial.measured.iter().filter_map(|it| {
            let output = &it.outputs.value[at];
            let value = output.observations.first()?.value.clone();
            Some(Reply { arm: it.arm.key.to_owned(), parsed: output.parsed.clone(), value })
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
