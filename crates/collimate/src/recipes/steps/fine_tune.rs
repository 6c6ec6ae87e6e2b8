//! Supervised fine-tuning on deliberations without the spec, mixed with capability data (section 3.3):
//! L(theta) = - E [ log p_theta(thought, answer | original prompt) ].

use anyhow::Context;
use collimate_model::{Encoded, Model, Stored, prove};
use collimate_run::ArtifactId;
use collimate_schema::{Example, Seed, Spec};
use collimate_train::{AdamW, Batch, Schedule, draw, sft_step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::learner::{BATCH_POSITIONS, Learner, at_step};
use super::site::Site;
use super::trained::{MODEL, Trained};

/// Supervised fine-tuning (section 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// Optimizer steps.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub steps: u64,
    /// Examples per step.
    #[schemars(range(min = 2, max = 100_000))]
    pub examples: usize,
    /// Share of them that is capability data.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub capability_share: f64,
    /// Highest learning rate; it falls to a tenth.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub lr: f32,
    /// Steps of the linear rise.
    #[schemars(range(max = 10_000_000), extend("unit" = "steps"))]
    pub warmup: u64,
    /// Steps between checkpoints.
    #[schemars(range(min = 1), extend("unit" = "steps"))]
    pub checkpoint_every: u64,
}

impl Sft {
    /// How many of a step's examples are capability data. The same where there is no safety data: arms differ in what they see of
    /// safety, in nothing else.
    fn n_tasks(&self) -> usize {
        (self.capability_share * self.examples as f64).round() as usize
    }

    /// Refuses what no field alone is to blame for.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (n_tasks, share) = (self.n_tasks(), self.capability_share);
        anyhow::ensure!(
            (1..self.examples).contains(&n_tasks),
            "sft.capability_share of {share} makes {n_tasks} of sft.examples = {}: a step needs one of each kind, so raise sft.examples \
             or move the share",
            self.examples
        );
        anyhow::ensure!(
            self.warmup <= self.steps,
            "sft.warmup is {}, more than sft.steps = {}: the learning rate would never be reached",
            self.warmup,
            self.steps
        );
        Ok(())
    }
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
    let setting = ArtifactId::of_setting("sft", cfg);
    let parents = &[parents, &[&setting]].concat();
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
        let n_tasks = cfg.n_tasks();
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
            let at = (&*stage, step, "sft.lr");
            let stats = at_step(sft_step(&mut learner.full, &mut learner.adam, &batches, lr), at)?;
            let (loss, grad_norm) = (f64::from(stats.loss), f64::from(stats.grad_norm));
            metrics.log(step, [("loss", loss), ("grad_norm", grad_norm), ("lr", lr.into())])?;
            bar.advance(1);
            bar.note(&format!("loss {loss:.3}"));
            let done = step + 1;
            let is_last = done == cfg.steps;
            if is_last || done.is_multiple_of(cfg.checkpoint_every) {
                at_step(learner.check(&batches[0]), at)?;
            }
            if !is_last && done.is_multiple_of(cfg.checkpoint_every) {
                learner.keep((site, name), done, parents)?;
            }
        }
        let model = learner.full.model(codec);
        model.save(&dir.join(MODEL), Stored::F32)?;
        anyhow::Ok(model.hash())
    })?;
    Ok(Trained::at(dir))
}
