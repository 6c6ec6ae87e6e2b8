//! Supervised fine-tuning on deliberations without the spec, mixed with capability data (section 3.3):
//! L(theta) = - E [ log p_theta(thought, answer | original prompt) ].

use anyhow::Context;
use collimate_model::{Encoded, Model, Stored, prove};
use collimate_schema::{ArtifactId, Example, Seed};
use collimate_train::{AdamW, Batch, Schedule, sft_step};
use rand::seq::SliceRandom;

use super::{Lab, Trained};
use crate::recipes::learner::{BATCH_POSITIONS, Learner};

/// Constants of AdamW in fine-tuning and RL; no decay, since the weights should stay near the start.
pub(super) const ADAMW: AdamW = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.0 };

impl Lab<'_> {
    /// Fine-tunes the base model on `safety` and `capability`. The mask is proven before the first step.
    pub(super) fn fine_tune(
        &self,
        name: &str,
        safety: &[Example],
        capability: &[Example],
        parents: &[&ArtifactId],
    ) -> anyhow::Result<Trained> {
        let cfg = &self.cfg.sft;
        let parents: Vec<&ArtifactId> = [&self.base_id].into_iter().chain(parents.iter().copied()).collect();
        let stage = self.at(name);
        let codec = &self.base.codec;
        let dir = self.run.stage_dir(&stage, &parents, |dir| {
            let encode = |examples: &[Example]| examples.iter().map(|it| codec.encode_example(it)).collect::<Vec<_>>();
            let (safety_tokens, capability_tokens) = (encode(safety), encode(capability));
            let pairs = safety.iter().zip(&safety_tokens).chain(capability.iter().zip(&capability_tokens));
            let proof = prove(self.world.spec(), codec, pairs).context("the mask proof failed, nothing was trained")?;
            self.run.write(&self.at(&format!("{name}-mask-proof")), &proof, &parents)?;
            let schedule = Schedule { peak: cfg.lr, floor: cfg.lr / 10.0, n_warmup: cfg.warmup, n_steps: cfg.steps };
            let (start, mut learner) =
                Learner::resume_or(self.run, &stage, (ADAMW, None), &self.device, || self.base.weights.clone())?;
            let mut metrics = self.run.metrics(&stage, start)?;
            let bar = self.progress.stage(&stage, cfg.steps);
            bar.advance(start);
            // The same share where there is no safety data: arms differ in what they see of safety, in nothing else.
            let n_capability = (cfg.capability_share * cfg.examples as f64).round() as usize;
            let seed = self.seed.child(name);
            for step in start..cfg.steps {
                let at = step as usize;
                let mut batch = draw(&capability_tokens, at, n_capability, seed.child("capability"));
                batch.extend(draw(&safety_tokens, at, cfg.examples - n_capability, seed.child("safety")));
                let lr = schedule.at(step);
                let batches = Batch::split(&batch, BATCH_POSITIONS);
                let stats = sft_step(&mut learner.weights, &mut learner.adam, &batches, lr)?;
                let (loss, grad_norm) = (f64::from(stats.loss), f64::from(stats.grad_norm));
                metrics.log(step, [("loss", loss), ("grad_norm", grad_norm), ("lr", lr.into())])?;
                bar.advance(1);
                bar.note(&format!("loss {loss:.3}"));
                let done = step + 1;
                if done % cfg.checkpoint_every == 0 && done < cfg.steps {
                    learner.keep(self.run, &stage, done)?;
                }
            }
            let model = Model { weights: learner.weights, codec: codec.clone() };
            model.save(&dir.join("model"), Stored::F32)?;
            anyhow::Ok(())
        })?;
        Trained::load(&dir, &self.device)
    }
}

/// The examples of step `step` when each step takes `n`: pass after pass, each in its own order.
fn draw(examples: &[Encoded], step: usize, n: usize, seed: Seed) -> Vec<Encoded> {
    if examples.is_empty() {
        return Vec::new();
    }
    let mut order: (Option<usize>, Vec<usize>) = (None, Vec::new());
    (step * n..(step + 1) * n)
        .map(|at| {
            let pass = at / examples.len();
            if order.0 != Some(pass) {
                order = (Some(pass), (0..examples.len()).collect());
                order.1.shuffle(&mut seed.child(&pass.to_string()).rng());
            }
            examples[order.1[at % examples.len()]].clone()
        })
        .collect()
}
