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
mod data;
mod measure;
mod rl;
mod sft;

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::Device;
use collimate_eval::card::{RlPoint, SystemCard};
use collimate_eval::judge::Confusion;
use collimate_model::{Engine, Model};
use collimate_schema::{Artifact, ArtifactId, Brief, Example, Prompt, RunFolder, Score, Seed};
use collimate_world::Diet;

use self::arms::{Arm, Asked};
use self::data::{Deliberations, without_thoughts};
use self::measure::Output;
use self::rl::{Milestone, Reinforced};
use super::world::{Exam, World};
use crate::progress::Progress;

pub use config::{Data, Deliberate, ExamSize, Rl, Sft, base, quickstart, tiny};

/// Runs the recipe in `run`, on the device of `base`, and returns the card; every artefact is in the folder.
pub fn deliberate(
    run: &RunFolder,
    cfg: &Deliberate,
    world: &dyn World,
    base: &Model,
    progress: &Progress,
) -> anyhow::Result<SystemCard> {
    let arms = cfg.arms()?;
    let base_id = ArtifactId { name: "base".to_owned(), hash: base.hash() };
    let exam = world.exam(&cfg.exam.cases, cfg.exam.capability, Seed(cfg.exam.seed));
    let mut trials = Vec::new();
    for &number in &cfg.seeds {
        let lab = Lab {
            run,
            cfg,
            world,
            base,
            device: base.weights.device(),
            base_id: base_id.clone(),
            judge: base.engine(),
            seed: Seed(number),
            name: format!("seed-{number}"),
            progress,
        };
        trials.push(trial(&lab, number, &arms, &exam)?);
    }
    card::build(run, cfg, world, &base_id, &arms, &exam, trials)
}

/// One training seed: the method, then every comparison.
fn trial(lab: &Lab<'_>, number: u64, arms: &[Arm], exam: &Exam) -> anyhow::Result<Trial> {
    let wants = |asked: &[Asked]| arms.iter().any(|it| asked.contains(&it.asked));
    let capability = lab.capability()?;

    let data = lab.deliberations(Diet::Mild, "data")?;
    let sft = lab.fine_tune("sft", &data.examples.value, &capability.value, &[&data.examples.id, &capability.id])?;
    let sft_rl = lab.reinforce("sft-rl", &sft, &capability.value)?;

    let no_safety = lab.fine_tune("no-safety", &[], &capability.value, &[&capability.id])?;
    let rl = if wants(&[Asked::Rl]) { Some(lab.reinforce("rl", &no_safety, &capability.value)?) } else { None };
    let answers_only = if wants(&[Asked::AnswersOnly]) {
        let bare = without_thoughts(&data.examples.value);
        Some(lab.fine_tune("answers-only", &bare, &capability.value, &[&data.examples.id, &capability.id])?)
    } else {
        None
    };
    let full_data = if wants(&[Asked::FullData]) {
        let data = lab.deliberations(Diet::Encoded, "full-data")?;
        let sft = lab.fine_tune(
            "full-data-sft",
            &data.examples.value,
            &capability.value,
            &[&data.examples.id, &capability.id],
        )?;
        Some(lab.reinforce("full-data-sft-rl", &sft, &capability.value)?)
    } else {
        None
    };

    let mut measured = Vec::new();
    for arm in arms {
        let model = match arm.asked {
            Asked::NoSafety => Some(&no_safety),
            Asked::Sft => Some(&sft),
            Asked::SftRl => Some(&sft_rl.policy),
            Asked::Rl => rl.as_ref().map(|it: &Reinforced| &it.policy),
            Asked::AnswersOnly => answers_only.as_ref(),
            Asked::FullData => full_data.as_ref().map(|it| &it.policy),
        };
        let model = model.with_context(|| format!("arm `{}` was not trained", arm.key))?;
        let outputs = lab.examine(arm.key, model, arm.shown, exam)?;
        measured.push(Measured { arm: *arm, model: model.id.clone(), outputs });
    }
    let mut on_the_way = Vec::new();
    for Milestone { step, policy } in &sft_rl.milestones {
        let outputs = lab.examine(&format!("sft-rl-step-{step}"), policy, arms::Shown::Nothing, exam)?;
        on_the_way.push((*step, policy.id.clone(), outputs));
    }
    let judges = lab.audit(&data)?;
    let mut curves = vec![("sft_rl", lab.curve("sft-rl", &sft_rl.policy)?)];
    for (key, name, reinforced) in [("rl", "rl", &rl), ("full_data", "full-data-sft-rl", &full_data)] {
        if let Some(reinforced) = reinforced {
            curves.push((key, lab.curve(name, &reinforced.policy)?));
        }
    }
    Ok(Trial {
        number,
        data,
        n_capability: capability.value.len(),
        capability: capability.id,
        measured,
        on_the_way,
        judges,
        curves,
    })
}

/// What the card needs of one training seed.
struct Trial {
    number: u64,
    data: Deliberations,
    n_capability: usize,
    capability: ArtifactId,
    measured: Vec<Measured>,
    /// Step, model, outputs of policies on the way.
    on_the_way: Vec<(u64, ArtifactId, Artifact<Vec<Output>>)>,
    judges: Artifact<Vec<Confusion>>,
    curves: Vec<(&'static str, Artifact<Vec<RlPoint>>)>,
}

/// One arm's outputs.
struct Measured {
    arm: Arm,
    model: ArtifactId,
    outputs: Artifact<Vec<Output>>,
}

/// What every stage of one training seed shares.
struct Lab<'a> {
    run: &'a RunFolder,
    cfg: &'a Deliberate,
    world: &'a dyn World,
    base: &'a Model,
    /// Where everything is computed.
    device: Device,
    base_id: ArtifactId,
    /// G_base as teacher and judge: spec-agnostic, it sees a spec only in its context.
    judge: Engine,
    seed: Seed,
    name: String,
    progress: &'a Progress,
}

/// A trained model and the artefact it is.
struct Trained {
    id: ArtifactId,
    model: Model,
}

impl Trained {
    fn load(dir: &Artifact<PathBuf>, device: &Device) -> anyhow::Result<Trained> {
        let model = Model::load(&dir.value.join("model"), device)?;
        Ok(Trained { id: dir.id.clone(), model })
    }
}

impl Lab<'_> {
    /// The name of a stage within this seed's part of the run.
    fn at(&self, stage: &str) -> String {
        format!("{}/{stage}", self.name)
    }

    /// spec(category) of a prompt; summaries for a prompt without one.
    fn brief(&self, prompt: &Prompt) -> anyhow::Result<Brief> {
        let spec = self.world.spec();
        match &prompt.category {
            None => Ok(spec.summaries()),
            Some(category) => spec.brief(category).with_context(|| {
                format!("prompt `{}` is of category `{category}`, which {} does not define", prompt.id, spec.title)
            }),
        }
    }

    fn capability(&self) -> anyhow::Result<Artifact<Vec<Example>>> {
        self.run.stage_lines(&self.at("capability"), &[], || {
            Ok(self.world.capability(self.cfg.data.capability, self.seed.child("capability")))
        })
    }

    /// Both judges against ground truth, for the card.
    fn audit(&self, data: &Deliberations) -> anyhow::Result<Artifact<Vec<Confusion>>> {
        self.run.stage(&self.at("judges"), &[&data.examples.id], || {
            let good = self.world.audit(Diet::Mild, data.prompts.len(), self.seed.child("data"));
            let mut filter = Confusion::new("filter judge", Score::HIGHEST);
            for it in &data.graded {
                let at = data.prompts.iter().position(|prompt| prompt.id == it.rollout.prompt);
                if let (Some(at), Some(turn)) = (at, it.rollout.parsed.turn()) {
                    it.verdicts.iter().for_each(|verdict| filter.add(verdict.score(), good(at, turn)));
                }
            }
            Ok(vec![filter, self.audit_rewards("sft-rl")?])
        })
    }
}

impl Deliberate {
    fn arms(&self) -> anyhow::Result<Vec<Arm>> {
        for key in &self.arms {
            let known = arms::ALL.map(|it| it.key);
            anyhow::ensure!(known.contains(&key.as_str()), "unknown arm `{key}`: use some of {}", known.join(", "));
        }
        anyhow::ensure!(!self.seeds.is_empty(), "seeds is empty: give at least one");
        anyhow::ensure!(
            self.rl.sampling.is_on_policy(),
            "rl.sampling must draw from the policy itself: temperature = 1, no top_k, top_p, min_p or thought_budget"
        );
        Ok(arms::ALL.into_iter().filter(|it| self.arms.iter().any(|key| key == it.key)).collect())
    }
}
