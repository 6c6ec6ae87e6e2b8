//! Weights under training with their optimizer, kept together in checkpoints so that a killed stage resumes.

use std::path::Path;

use burn::tensor::Device;
use collimate_model::{Stored, Weights};
use collimate_schema::RunFolder;
use collimate_train::{Adam, AdamW, Muon};

/// Positions per micro-batch: what stays in the second-level cache of a core. Micro-batches run side by side.
pub(crate) const BATCH_POSITIONS: usize = 1024;

/// Gradients are clipped to this global norm, in every recipe.
const MAX_NORM: f32 = 1.0;

/// Weights and optimizer state after some steps.
pub(super) struct Learner {
    /// The weights now.
    pub weights: Weights,
    /// The optimizer now.
    pub adam: Adam,
}

impl Learner {
    /// The learner of `stage` and the steps it has behind it: resumed from its newest checkpoint, or fresh from `start`,
    /// which is on `device` too.
    pub(super) fn resume_or(
        run: &RunFolder,
        stage: &str,
        (adamw, muon): (AdamW, Option<Muon>),
        device: &Device,
        start: impl FnOnce() -> Weights,
    ) -> anyhow::Result<(u64, Learner)> {
        let (n_done, mut learner) = match run.resume_from(stage)? {
            Some((step, dir)) => {
                let weights = Weights::load(&dir.join("model"), device)?;
                let adam = Adam::load(&dir.join("adam.safetensors"), weights.config(), adamw, MAX_NORM, device)?;
                (step, Learner { weights, adam })
            }
            None => {
                let weights = start();
                let adam = Adam::new(&weights, adamw, MAX_NORM);
                (0, Learner { weights, adam })
            }
        };
        learner.adam.muon = muon;
        Ok((n_done, learner))
    }

    /// Keeps the state after `step` steps, in place of the one before.
    pub(super) fn keep(&self, run: &RunFolder, stage: &str, step: u64) -> anyhow::Result<()> {
        run.checkpoint(stage, step, |dir| self.save(dir))?;
        Ok(())
    }

    fn save(&self, dir: &Path) -> anyhow::Result<()> {
        self.weights.save(&dir.join("model"), Stored::F32, &[])?;
        self.adam.save(self.weights.config(), &dir.join("adam.safetensors"))?;
        Ok(())
    }
}
