//! Weights under training with their optimizer, kept together in checkpoints so that a killed stage resumes.

use std::path::Path;

use burn::tensor::Device;
use collimate_model::{Stored, Weights};
use collimate_schema::RunFolder;
use collimate_train::{Adam, AdamW};

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
    /// The learner of `stage` and the steps it has behind it: resumed from its newest checkpoint, or fresh from `start`.
    pub(super) fn resume_or(
        run: &RunFolder,
        stage: &str,
        adamw: AdamW,
        start: impl FnOnce() -> Weights,
    ) -> anyhow::Result<(u64, Learner)> {
        let device = Device::flex();
        match run.resume_from(stage)? {
            Some((step, dir)) => {
                let weights = Weights::load(&dir.join("model"), &device)?;
                let adam = Adam::load(&dir.join("adam.safetensors"), weights.config(), adamw, MAX_NORM, &device)?;
                Ok((step, Learner { weights, adam }))
            }
            None => {
                let weights = start();
                let adam = Adam::new(&weights, adamw, MAX_NORM);
                Ok((0, Learner { weights, adam }))
            }
        }
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
