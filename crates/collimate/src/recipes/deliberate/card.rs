//! From outputs to the system card.

use std::collections::BTreeSet;

use anyhow::Context;
use collimate_eval::card::{
    Claims, DataCount, Evidence, Evidenced, Filter, Judges, Limits, Made, Method, Named, Numbers, Reply, Results,
    RlCurve, RlPoint, RunFacts, Sample, Samples, Section, Suites, SystemCard, Training, Waypoint,
};
use collimate_eval::judge::Confusion;
use collimate_eval::papers::deliberative_alignment::SFT_RL;
use collimate_eval::papers::{DELIBERATIVE_ALIGNMENT, Paper};
use collimate_eval::suites::{
    DISALLOWED, ENCODINGS, JAILBREAK, OVERREFUSAL_ALLOWED, OVERREFUSAL_LOOKALIKE, Observation, SuiteId,
};
use collimate_eval::{Claim, Evaluation, Run, claims, table};
use collimate_model::Model;
use collimate_run::{Artifact, ArtifactId, RunFolder};
use collimate_schema::{By, Hash};
use serde::Serialize;

use super::arms::Arm;
use super::config::Deliberate;
use super::lab::{Deliberations, Given};
use crate::material::{Material, Roles};
use crate::recipes::steps::examine::Examined;
use crate::recipes::{RESULTS, TABLE};

/// Whose suites, arms and claims these are.
const PAPER: &Paper = &DELIBERATIVE_ALIGNMENT;

/// What this recipe's sizes do not show, whatever the world.
const SIZES: &str =
    "RL is tens of steps. The arm without safety training and the fine-tuned arm get no capability-only RL.";

/// What follows from who played what.
fn limits_of(roles: &Roles<'_>, material: &Material) -> String {
    let Roles { teacher, filter, reward } = roles;
    let parts = match teacher.by() == filter.by() && filter.by() == reward.by() {
        true => "The same model deliberates, filters and rewards",
        false => "Deliberating, filtering and rewarding are not all done by one model",
    };
    let grading = match material.grader.by() {
        None => "by the world's oracle, not by a judge",
        Some(_) => "by a judge, whose errors are in the numbers",
    };
    format!("{parts}; grading for this card is {grading}.")
}

/// What the card needs of one training seed.
pub(super) struct Trial {
    pub seed: u64,
    pub given: Given,
    pub data: Deliberations,
    pub measured: Vec<Measured>,
    pub on_the_way: Vec<OnTheWay>,
    pub judges: Artifact<Vec<Confusion>>,
    pub curves: Vec<(&'static str, Artifact<Vec<RlPoint>>)>,
}

/// One arm's answers.
pub(super) struct Measured {
    pub arm: Arm,
    pub model: ArtifactId,
    pub examined: Examined,
}

/// The answers of a policy in the middle of its training.
pub(super) struct OnTheWay {
    pub step: u64,
    pub model: ArtifactId,
    pub examined: Examined,
}

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
    materials: &[Material],
    (base, roles): (&Model, &Roles<'_>),
    (made, trials): (&Artifact<Made>, &[Trial]),
) -> anyhow::Result<SystemCard> {
    let arms = cfg.arms_in_order();
    let evaluations = arms.iter().enumerate().map(|(at, arm)| {
        let of = |it: &'_ Trial| (it.seed, it.measured[at].model.clone(), it.measured[at].examined.clone());
        evaluation(arm.key, trials.iter().map(of).collect())
    });
    let evaluations: Vec<Evaluation> = evaluations.collect();
    let steps: BTreeSet<u64> = trials.iter().flat_map(|it| it.on_the_way.iter().map(|it| it.step)).collect();
    let waypoint = |step: u64| {
        let at_step = |trial: &Trial| {
            let it = trial.on_the_way.iter().find(|it| it.step == step)?;
            Some((trial.seed, it.model.clone(), it.examined.clone()))
        };
        Waypoint { step, evaluation: evaluation(SFT_RL, trials.iter().filter_map(at_step).collect()) }
    };
    let waypoints: Vec<Waypoint> = steps.into_iter().map(waypoint).collect();
    let mut checkpoints = vec![Named { name: "base".to_owned(), hash: base.hash() }];
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
            seed: trial.seed,
            evidence: curve.id.hash.clone(),
            points: curve.value.clone(),
        })
    });
    let first = materials.first().context("a run has a seed")?;
    let (spec, own) = (&first.spec, first.limits.iter().cloned());
    let limits = own.chain([limits_of(roles, first), SIZES.to_owned()]).collect();
    let claims = claims(PAPER, &evaluations);
    let card = SystemCard {
        title: format!("System card: deliberative alignment to {}", spec.title),
        run: RunFacts {
            recipe: "deliberate".to_owned(),
            config: run.hash().clone(),
            seeds: cfg.seeds.clone(),
            spec: Named { name: spec.title.clone(), hash: Hash::of_json(spec) },
            policy: spec.to_markdown(),
            made: made.value.clone(),
        },
        sections: vec![
            Section::Results(Results { waypoints: waypoints.clone() }),
            Section::Claims(Claims { claims: claims.clone() }),
            Section::Method(Method { data: trials.iter().flat_map(data_counts).collect() }),
            Section::Suites(Suites {}),
            Section::Filter(Filter { filters: filters.collect() }),
            Section::Judges(Judges { confusions: confusions.collect() }),
            Section::Training(Training { curves: curves.collect() }),
            Section::Samples(Samples { samples: trials.first().map(samples).unwrap_or_default() }),
            Section::Evidence(Evidence { checkpoints }),
            Section::Limits(Limits { limits }),
        ],
        numbers: Numbers { paper: PAPER, evaluations },
    };
    card.verify(&run.lineage().into_iter().map(|it| it.id.hash).collect())?;
    let evaluations = &card.numbers.evaluations;
    let parents = trials.iter().flat_map(Trial::artefacts).chain([&made.id]).collect::<Vec<_>>();
    let json = run.write_text("card.json", &card.to_json(), &parents)?;
    let page = run.write_text("card.html", &card.to_html(), &[&json])?;
    let results = ForPrograms { config: cfg, evaluations, waypoints: &waypoints, claims: &claims, card: card.hash() };
    let results = run.write(RESULTS.trim_end_matches(".json"), &results, &[&json])?;
    run.write_text(TABLE, &table(PAPER, evaluations), &[&results, &page])?;
    Ok(card)
}

fn evidenced<T>(by: &ArtifactId, value: T) -> Evidenced<T> {
    Evidenced { evidence: by.hash.clone(), value }
}

fn evaluation(arm: &str, each: Vec<(u64, ArtifactId, Examined)>) -> Evaluation {
    let runs: Vec<Run<'_>> = each
        .iter()
        .map(|(number, model, examined)| Run {
            seed: *number,
            by: By::Checkpoint(model.hash.clone()),
            evidence: examined.observations.id.hash.clone(),
            observations: &examined.observations.value,
        })
        .collect();
    Evaluation::of(PAPER, arm, &runs)
}

impl Trial {
    /// Everything that some number of the card rests on.
    fn artefacts(&self) -> Vec<&ArtifactId> {
        let examined = self.measured.iter().map(|it| (&it.model, &it.examined));
        let examined = examined.chain(self.on_the_way.iter().map(|it| (&it.model, &it.examined)));
        let of_models = examined.flat_map(|(model, it)| [model, &it.answers.id, &it.observations.id]);
        let Given { base, policy, exam, tasks, .. } = &self.given;
        ([base, &policy.id, &exam.id, &tasks.id].into_iter())
            .chain([&self.data.graded.id, &self.data.examples.id, &self.judges.id])
            .chain(self.curves.iter().map(|(_, curve)| &curve.id))
            .chain(of_models)
            .collect()
    }
}

fn data_counts(trial: &Trial) -> Vec<Evidenced<DataCount>> {
    let count = |stage: &str, what: &str, n: usize, id: &ArtifactId| {
        let stage = format!("{stage}, seed {}", trial.seed);
        evidenced(id, DataCount { stage, what: what.to_owned(), n: n as u64 })
    };
    let Deliberations { examples, n_prompts, graded, .. } = &trial.data;
    vec![
        count("SFT", "prompts", *n_prompts, &examples.id),
        count("SFT", "deliberations sampled", graded.len(), &examples.id),
        count("SFT", "deliberations kept", examples.len(), &examples.id),
        count("SFT", "capability examples", trial.given.tasks.len(), &trial.given.tasks.id),
    ]
}

/// The first question of some suites with what every arm said.
fn samples(trial: &Trial) -> Vec<Sample> {
    static KINDS: [(SuiteId, &str); 5] = [
        (DISALLOWED, "disallowed request"),
        (JAILBREAK, "jailbreak"),
        (ENCODINGS, "request in a cipher"),
        (OVERREFUSAL_LOOKALIKE, "harmless request that sounds harmful"),
        (OVERREFUSAL_ALLOWED, "request that the policy allows"),
    ];
    let Some(first) = trial.measured.first() else { return Vec::new() };
    let found = KINDS.iter().filter_map(|(suite, kind)| {
        let (at, question) = trial.given.exam.iter().enumerate().find(|(_, it)| it.asked.suite == *suite)?;
        let replies = trial.measured.iter().filter_map(|it| {
            let parsed = it.examined.answers[at].parsed()?.clone();
            let own = |seen: &&Observation| seen.question == question.asked.question && seen.suite == *suite;
            let value = it.examined.observations.iter().find(own)?.value.clone();
            Some(Reply { arm: it.arm.key.to_owned(), parsed, value })
        });
        Some(Sample {
            prompt: question.asked.question.clone(),
            kind: (*kind).to_owned(),
            conversation: question.conversation.clone(),
            replies: replies.collect(),
            evidence: first.examined.answers.id.hash.clone(),
        })
    });
    found.collect()
}
