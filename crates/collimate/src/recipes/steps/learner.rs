//! Weights under training with their optimizer, kept together in states so that a killed stage resumes.

use std::path::Path;

use collimate_model::{Model, Stored, Weights};
use collimate_run::ArtifactId;
use collimate_train::{Adam, AdamW, Batch, Full, Muon, score};

use super::site::Site;
use super::trained::MODEL;

/// Positions per micro-batch: what stays in the second-level cache of a core. Micro-batches run side by side.
pub(crate) const BATCH_POSITIONS: usize = 1024;

/// Gradients are clipped to this global norm, in every recipe.
const MAX_NORM: f32 = 1.0;

/// Weights and optimizer state after some steps.
pub(crate) struct Learner {
    /// The weights now, and how they are computed with.
    pub full: Full,
    /// The optimizer now.
    pub adam: Adam,
}

impl Learner {
    /// The learner of a stage and the steps it has behind it: resumed from its newest state, or fresh from `start`.
    pub(crate) fn resume_or(
        (site, name): (Site<'_>, &str),
        parents: &[&ArtifactId],
        (adamw, muon): (AdamW, Option<Muon>),
        start: &Model,
    ) -> anyhow::Result<(u64, Learner)> {
        let (n_done, mut learner) = match site.run.resume_from(&site.at(name), parents)? {
            Some((step, dir)) => {
                let weights = Weights::load(&dir.join(MODEL), &start.weights.device())?;
                let full = Full { weights, compute: start.compute };
                let adam = Adam::load(&dir.join(ADAM), &full, adamw, MAX_NORM)?;
                (step, Learner { full, adam })
            }
            None => {
                let full = Full { weights: start.weights.clone(), compute: start.compute };
                let adam = Adam::new(&full, adamw, MAX_NORM);
                (0, Learner { full, adam })
            }
        };
        learner.adam.muon = muon;
        Ok((n_done, learner))
    }

    /// Refuses weights that say nothing finite of `batch` any more: a step that was too large shows only after it was taken.
    pub(crate) fn check(&self, batch: &Batch) -> anyhow::Result<()> {
        let logprobs = score(&self.full.transformer(), batch);
        let broken = logprobs.iter().find(|it| !it.is_finite());
        match broken {
            Some(logprob) => anyhow::bail!("training diverged: a log-probability is {logprob} after the step"),
            None => Ok(()),
        }
    }

    /// Keeps the state after `step` steps, in place of the one before.
    pub(crate) fn keep(
        &self,
        (site, name): (Site<'_>, &str),
        step: u64,
        parents: &[&ArtifactId],
    ) -> anyhow::Result<()> {
        site.run.keep_state(&site.at(name), step, parents, |dir| self.save(dir))?;
        Ok(())
    }

    fn save(&self, dir: &Path) -> anyhow::Result<()> {
        self.full.weights.save(&dir.join(MODEL), Stored::F32, &[])?;
        self.adam.save(&dir.join(ADAM))?;
        Ok(())
    }
}

/// The optimizer's file beside the model.
const ADAM: &str = "adam.safetensors";

/// Says at which step of which stage training diverged, and what to change.
pub(crate) fn at_step<T, E: Into<anyhow::Error>>(
    result: Result<T, E>,
    (stage, step, lr): (&str, u64, &str),
) -> anyhow::Result<T> {
    result.map_err(|it| {
        it.into().context(format!(
            "{stage} failed at step {step}: lower {lr} in the config and give the command again with --reconfigure, which keeps the \
             stages before this one"
        ))
    })
}
