//! `collimate deliberate`: deliberative alignment (arXiv 2412.16339), stage by stage, with its comparison arms.
//!
//! G_base, shown spec(category), deliberates; a judge that reads the spec keeps what is good; the spec is taken away and the
//! model fine-tuned on what is left (G_SFT); then a judge that reads spec and answer, never the thought, rewards it (G_spec).
//!
//! Every stage is an artefact of the run folder with its lineage. A killed run resumes at the stage, completion or checkpoint that
//! it was at, and makes the same artefacts.

mod arms;
mod card;
mod config;
mod lab;

use anyhow::Context;
use collimate_eval::card::SystemCard;
use collimate_model::Model;
use collimate_run::RunFolder;

use self::arms::{Asked, Shown};
use self::card::{Measured, OnTheWay, Trial};
use self::lab::Lab;
use crate::material::{Material, Roles};
use crate::progress::Progress;
use crate::recipes::steps::made::made;
use crate::recipes::steps::site::Site;

pub use config::{Data, Deliberate, ExamSize, base, quickstart, tiny};

/// Runs the recipe in `run` once for each of `materials`, on the device of `base`, and returns the card; every artefact is in
/// the folder.
pub fn deliberate(
    run: &RunFolder,
    cfg: &Deliberate,
    materials: &[Material],
    roles: &Roles<'_>,
    base: &Model,
    progress: &Progress,
) -> anyhow::Result<SystemCard> {
    cfg.check()?;
    let made = made(Site { run, part: "", progress })?;
    let mut trials = Vec::new();
    for material in materials {
        roles.check(material.grader.as_ref(), &base.by())?;
        let part = format!("seed-{}", material.seed);
        trials.push(trial(&Lab::open((run, &part, progress), cfg, material, roles, base)?)?);
    }
    card::build(run, cfg, materials, (base, roles), (&made, &trials))
}

/// One training seed: the method, then every comparison.
fn trial(lab: &Lab<'_>) -> anyhow::Result<Trial> {
    let data = lab.deliberations("data", &lab.given.sft)?;
    let sft = lab.fine_tune("sft", Some(&data.examples))?;
    let sft_rl = lab.reinforce("sft-rl", &sft)?;

    let no_safety = lab.fine_tune("no-safety", None)?;
    let rl = lab.wants(Asked::Rl).then(|| lab.reinforce("rl", &no_safety)).transpose()?;
    let answers_only = match lab.wants(Asked::AnswersOnly) {
        true => Some(lab.fine_tune("answers-only", Some(&lab.without_thoughts(&data.examples)?))?),
        false => None,
    };
    let full_data = match lab.wants(Asked::FullData) {
        true => {
            let data = lab.deliberations("full-data", &lab.given.full)?;
            Some(lab.reinforce("full-data-sft-rl", &lab.fine_tune("full-data-sft", Some(&data.examples))?)?)
        }
        false => None,
    };

    let mut measured = Vec::new();
    for arm in lab.cfg.arms_in_order() {
        let model = match arm.asked {
            Asked::NoSafety => Some(&no_safety),
            Asked::Sft => Some(&sft),
            Asked::SftRl => Some(&sft_rl.policy),
            Asked::Rl => rl.as_ref().map(|it| &it.policy),
            Asked::AnswersOnly => answers_only.as_ref(),
            Asked::FullData => full_data.as_ref().map(|it| &it.policy),
        };
        let model = model.with_context(|| format!("arm `{}` was not trained", arm.key))?;
        measured.push(Measured { arm, model: model.id.clone(), examined: lab.examine(arm.key, model, arm.shown)? });
    }
    let mut on_the_way = Vec::new();
    for it in &sft_rl.milestones {
        let examined = lab.examine(&format!("sft-rl-step-{}", it.step), &it.policy, Shown::Nothing)?;
        on_the_way.push(OnTheWay { step: it.step, model: it.policy.id.clone(), examined });
    }
    let judges = lab.audit(&data, &sft_rl.outcomes)?;
    let mut curves = vec![("sft_rl", lab.curve("sft-rl", &sft_rl.policy)?)];
    for (key, name, reinforced) in [("rl", "rl", &rl), ("full_data", "full-data-sft-rl", &full_data)] {
        if let Some(reinforced) = reinforced {
            curves.push((key, lab.curve(name, &reinforced.policy)?));
        }
    }
    Ok(Trial { seed: lab.material.seed, given: lab.given.clone(), data, measured, on_the_way, judges, curves })
}
