//! Supervised fine-tuning on deliberations without the spec, mixed with capability data (section 3.3):
//! L(theta) = - E [ log p_theta(thought, answer | original prompt) ].

use anyhow::Context;
use collimate_model::{Encoded, Model, Stored, prove};
use collimate_run::ArtifactId;
use collimate_schema::{Example, Seed, Spec};
use collimate_train::{AdamW, Batch, Schedule, draw, sft_step};
use serde::{Deserialize, Serialize};

use super::learner::{BATCH_POSITIONS, Learner};
use super::site::Site;
use super::trained::{MODEL, Trained};

/// Supervised fine-tuning (section 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// Optimizer steps.
    pub steps: u64,
    /// Examples per step.
    pub examples: usize,
    /// Share of them that is capability data.
    pub capability_share: f64,
    /// Highest learning rate; it falls to a tenth.
    pub lr: f32,
    /// Steps of the linear rise.
    pub warmup: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// Constants of AdamW in fine-tuning and RL; no decay, since the weights should stay near the start.
pub(super) const ADAMW: AdamW = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.0 };

/// What a model is fine-tuned on.
pub(crate) struct Lesson<'a> {
    /// The policy, no text of which may stand in a context.
    pub spec: &'a Spec,
    /// Deliberations; may be none.
    pub safety: &'a [Example],
    /// Capability data.
    pub tasks: &'a [Example],
    /// What all of it was made from.
    pub parents: &'a [&'a ArtifactId],
}

/// Fine-tunes `base`. The mask is proven before the first step.
pub(crate) fn fine_tune(
    (site, name): (Site<'_>, &str),
    cfg: &Sft,
    base: &Model,
    lesson: &Lesson<'_>,
    seed: Seed,
) -> anyhow::Result<Trained> {
    let &Lesson { spec, safety, tasks, parents } = lesson;
    let (stage, codec) = (site.at(name), &base.codec);
    let encode =
        |examples: &[Example]| examples.iter().map(|it| codec.encode_example(it)).collect::<Result<Vec<_>, _>>();
    let dir = site.run.stage_model(&stage, parents, |dir| {
        let (safety_tokens, task_tokens) = (encode(safety)?, encode(tasks)?);
        site.run.stage(&site.at(&format!("{name}-mask-proof")), parents, || {
            let pairs = safety.iter().zip(&safety_tokens).chain(tasks.iter().zip(&task_tokens));
            prove(spec, &**codec, pairs).context("the mask proof failed, nothing was trained")
        })?;
        let schedule = Schedule { peak: cfg.lr, floor: cfg.lr / 10.0, n_warmup: cfg.warmup, n_steps: cfg.steps };
        let (start, mut learner) = Learner::resume_or((site, name), parents, (ADAMW, None), base)?;
        let mut metrics = site.run.metrics(&stage, start)?;
        let bar = site.progress.stage(&stage, cfg.steps);
        bar.advance(start);
        // The same share where there is no safety data: arms differ in what they see of safety, in nothing else.
        let n_tasks = (cfg.capability_share * cfg.examples as f64).round() as usize;
        let n_safety = cfg.examples - n_tasks;
        for step in start..cfg.steps {
            let at = step as usize;
            let of_tasks = draw(tasks.len(), at, n_tasks, seed.child("capability"));
            let of_safety = draw(safety.len(), at, n_safety, seed.child("safety"));
            let batch: Vec<&Encoded> = (of_tasks.iter().map(|it| &task_tokens[*it]))
                .chain(of_safety.iter().map(|it| &safety_tokens[*it]))
                .collect();
            let lr = schedule.at(step);
            let batches = Batch::split(&batch, BATCH_POSITIONS);
            let stats = sft_step(&mut learner.full, &mut learner.adam, &batches, lr)?;
            let (loss, grad_norm) = (f64::from(stats.loss), f64::from(stats.grad_norm));
            metrics.log(step, [("loss", loss), ("grad_norm", grad_norm), ("lr", lr.into())])?;
            bar.advance(1);
            bar.note(&format!("loss {loss:.3}"));
            let done = step + 1;
            if done % cfg.checkpoint_every == 0 && done < cfg.steps {
                learner.keep((site, name), done, parents)?;
            }
        }
        let model = learner.full.model(codec);
        model.save(&dir.join(MODEL), Stored::F32)?;
        anyhow::Ok(model.hash())
    })?;
    Ok(Trained::at(dir))
}
