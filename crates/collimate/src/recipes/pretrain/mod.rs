//! `collimate pretrain harbor`: G_base from nothing. It learns to help with everything, and to apply whatever policy it is
//! *shown*; it internalises none, since every document that shows a policy shows another random one.
//!
//! The loss is on thoughts and answers only. Departs from common practice in its drills: documents that look every line of a
//! shown policy up. Without them, looking up a clause stays at chance for millions of tokens.

mod measure;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use burn::tensor::Device;
use collimate_model::{
    Codec, Compute, Encoded, Ends, Extras, Harbor, Heads, Model, Shape, Stored, Transformer, Weights,
};
use collimate_run::{Artifact, ArtifactId, RunFolder, write_whole};
use collimate_schema::Seed;
use collimate_train::{AdamW, Batch, Muon, Schedule, score, sft_step};
use collimate_world::{Mixture, document, held_out_documents};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::measure::{MEASURED, measure};
use super::steps::learner::{BATCH_POSITIONS, Learner, at_step};
use super::steps::site::Site;
use crate::precision::Precision;
use crate::progress::Progress;
use crate::ranges;

pub use measure::Accuracies;

/// Everything that decides what the base model becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pretrain {
    /// Seed of weights and documents.
    pub seed: u64,
    /// A checkpoint directory to go on from instead of fresh weights.
    #[serde(default)]
    pub start: Option<PathBuf>,
    /// Width of the residual stream.
    #[schemars(range(min = 2, max = 8192))]
    pub hidden: usize,
    /// Layers.
    #[schemars(range(min = 1, max = 256))]
    pub layers: usize,
    /// Query heads.
    #[schemars(range(min = 1, max = 1024))]
    pub heads: usize,
    /// Key-value heads.
    #[schemars(range(min = 1, max = 1024))]
    pub kv_heads: usize,
    /// Feed-forward width.
    #[schemars(range(min = 1, max = 65_536))]
    pub ffn: usize,
    /// Longest context, tokens.
    #[schemars(range(min = 512, max = 1_000_000), extend("unit" = "tokens"))]
    pub positions: usize,
    /// Base of the rotary angles. What is looked up lies hundreds of positions back: slow angles must be plenty.
    #[schemars(range(min = 1.0, max = 1e12))]
    pub rope_theta: f64,
    /// What products are taken in.
    pub precision: Precision,
    /// Optimizer steps.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub steps: u64,
    /// Documents per step.
    #[schemars(range(min = 1, max = 100_000))]
    pub documents: u64,
    /// Positions of a micro-batch, whose activations are in memory together: the gradient is the same but for the order of its sums.
    #[serde(default = "batch_positions")]
    #[schemars(range(min = 1, max = 1_000_000), extend("unit" = "positions"))]
    pub micro_batch: usize,
    /// Highest learning rate.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub lr: f32,
    /// Learning rate of the last step.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub lr_floor: f32,
    /// Steps of the linear rise.
    #[schemars(extend("unit" = "steps"))]
    pub warmup: u64,
    /// Decoupled weight decay.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f32,
    /// Mixture of the first steps.
    pub early: Mixture,
    /// Mixture of the rest.
    pub late: Mixture,
    /// Share of the steps that follow the early mixture.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub early_share: f64,
    /// Steps between checkpoints.
    #[schemars(range(min = 1), extend("unit" = "steps"))]
    pub checkpoint_every: u64,
    /// Held-out documents of each kind in the final measurement.
    #[schemars(range(min = 1, max = 100_000), extend("unit" = "documents"))]
    pub measured: usize,
}

fn batch_positions() -> usize {
    BATCH_POSITIONS
}

/// The shipped base model.
pub fn base() -> Pretrain {
    Pretrain {
        seed: 1,
        start: None,
        hidden: 192,
        layers: 4,
        heads: 3,
        kv_heads: 3,
        ffn: 512,
        positions: 512,
        rope_theta: 1e5,
        precision: Precision::F32,
        steps: 2700,
        documents: 80,
        micro_batch: BATCH_POSITIONS,
        lr: 4e-3,
        lr_floor: 2e-4,
        warmup: 100,
        weight_decay: 0.05,
        early: Mixture {
            repeat: 0.30,
            drill: 0.18,
            words: 0.52,
            policy: 0.0,
            helpful: 0.0,
            judge: 0.0,
            capability: 0.0,
        },
        late: Mixture {
            repeat: 0.01,
            drill: 0.05,
            words: 0.36,
            policy: 0.19,
            helpful: 0.065,
            judge: 0.25,
            capability: 0.10,
        },
        early_share: 0.15,
        checkpoint_every: 200,
        measured: 500,
    }
}

/// The same method, small: for tests.
pub fn tiny() -> Pretrain {
    Pretrain {
        hidden: 32,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        ffn: 64,
        steps: 6,
        documents: 8,
        warmup: 2,
        checkpoint_every: 2,
        measured: 4,
        ..base()
    }
}

/// With gradients and moments, 16 bytes each.
const MOST_PARAMETERS: usize = 1_000_000_000;

/// The codec that every Harbor model shares.
pub fn harbor_codec() -> Arc<dyn Codec> {
    Arc::new(Harbor::new(&collimate_world::words()))
}

impl Pretrain {
    /// Refuses what could only fail later, before the first step.
    pub fn check(&self) -> anyhow::Result<()> {
        ranges::check(self)?;
        let Pretrain { hidden, heads, kv_heads, .. } = *self;
        anyhow::ensure!(
            hidden % heads == 0 && (hidden / heads).is_multiple_of(2),
            "hidden = {hidden} must be heads = {heads} times an even number: rotary angles turn pairs"
        );
        anyhow::ensure!(heads % kv_heads == 0, "heads = {heads} must be a multiple of kv_heads = {kv_heads}");
        anyhow::ensure!(self.lr_floor <= self.lr, "lr_floor = {} is more than lr = {}", self.lr_floor, self.lr);
        let Pretrain { warmup, steps, .. } = *self;
        anyhow::ensure!(
            warmup <= steps,
            "warmup is {warmup}, more than steps = {steps}: the learning rate would never be reached"
        );
        for (name, it) in [("early", &self.early), ("late", &self.late)] {
            anyhow::ensure!(it.total() > 0.0, "every share of {name} is 0: nothing would be drawn");
        }
        let n_parameters = self.layers * hidden * (2 * hidden + 2 * hidden * kv_heads / heads + 3 * self.ffn);
        anyhow::ensure!(
            n_parameters <= MOST_PARAMETERS,
            "this model has {n_parameters} parameters, and at most {MOST_PARAMETERS} are trained from nothing: lower hidden, layers or ffn"
        );
        if let Some(dir) = &self.start {
            anyhow::ensure!(dir.is_dir(), "start = {}: there is no such checkpoint directory", dir.display());
        }
        Ok(())
    }

    fn shape(&self, codec: &dyn Codec) -> Shape {
        Shape {
            width: self.hidden,
            n_layers: self.layers,
            heads: Heads { n_query: self.heads, n_kv: self.kv_heads, width: self.hidden / self.heads },
            ffn_width: self.ffn,
            n_vocab: codec.tokenizer().vocab_size(),
            n_positions: self.positions,
            norm_eps: 1e-5,
            rope_theta: self.rope_theta,
            extras: Extras::default(),
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule { peak: self.lr, floor: self.lr_floor, n_warmup: self.warmup, n_steps: self.steps }
    }

    fn mixture(&self, step: u64) -> &Mixture {
        if (step as f64) < self.early_share * self.steps as f64 { &self.early } else { &self.late }
    }
}

/// Trains the base model on `device`, stores it in bf16 as a Hugging Face directory `model/` of the run, and measures the stored file.
pub fn pretrain(
    run: &RunFolder,
    cfg: &Pretrain,
    device: &Device,
    progress: &Progress,
) -> anyhow::Result<Artifact<Accuracies>> {
    cfg.check()?;
    let site = Site { run, part: "", progress };
    let seed = Seed(cfg.seed);
    let setting = ArtifactId::of_setting("pretrain", &Pretrain { measured: 0, ..cfg.clone() });
    let stored = run.stage_dir("model", &[&setting], |dir| {
        let (model, n_tokens) = train(site, cfg, device, &[&setting])?;
        model.save(&dir.join("harbor-base"), Stored::Bf16)?;
        anyhow::Ok(write_whole(&dir.join("tokens"), n_tokens.to_string().as_bytes())?)
    })?;
    let measured = ArtifactId::of_setting("measured", &cfg.measured);
    let accuracies = run.stage("accuracies", &[&stored.id, &measured], || {
        let model = Model::load(&stored.value.join("harbor-base"), device)?;
        measure(site, &model, cfg.measured, seed)
    })?;
    let tokens = std::fs::read_to_string(stored.value.join("tokens"))?;
    run.write_text("README.md", &model_card(cfg, tokens.trim(), &accuracies.value), &[&stored.id, &accuracies.id])?;
    Ok(accuracies)
}

/// The text that goes beside the weights.
fn model_card(cfg: &Pretrain, tokens: &str, accuracies: &Accuracies) -> String {
    let config = serde_json::to_string_pretty(cfg).expect("a config is plain data");
    format!(
        "# Harbor base model\n\n\
         G_base of the embedded world, made by `collimate pretrain harbor`: it helps with everything it is asked, applies whatever \
         policy it is shown, and has internalised none. {tokens} tokens, seed {}, bf16. The numbers below are of this file, on \
         requests that training never saw, sampled greedily; intervals are 95 % (Wilson).\n\n{}\n## Configuration\n\n```json\n{config}\n```\n",
        cfg.seed,
        accuracies.to_markdown()
    )
}

/// Trains the base model, or resumes; returns it and the number of tokens seen.
fn train(site: Site<'_>, cfg: &Pretrain, device: &Device, parents: &[&ArtifactId]) -> anyhow::Result<(Model, u64)> {
    let (seed, codec, name) = (Seed(cfg.seed), harbor_codec(), "pretrain");
    let muon = Muon { momentum: 0.95, weight_decay: cfg.weight_decay };
    let adamw = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: cfg.weight_decay };
    let weights = match &cfg.start {
        Some(dir) => Weights::load(dir, device)?,
        None => {
            let ends = Ends::new(codec.bos().context("Harbor has one")?, codec.stops()[0]);
            Weights::init(&cfg.shape(&*codec), &ends, seed.child("weights"), device)?
        }
    };
    let compute = Compute { precision: cfg.precision.into(), recompute: false };
    let first = Model { compute, ..Model::new(weights, codec)? };
    let (start, mut learner) = Learner::resume_or((site, name), parents, (adamw, Some(muon)), &first)?;
    let mut metrics = site.run.metrics(name, start)?;
    let mut n_tokens = metrics.rows()?.iter().rev().find_map(|it| it.get("tokens")).unwrap_or(0.0) as u64;
    let bar = site.progress.stage(name, cfg.steps);
    bar.advance(start);
    for step in start..cfg.steps {
        let sequences = batch(cfg, &*first.codec, seed, step);
        n_tokens += sequences.iter().map(|it| it.len() as u64).sum::<u64>();
        let lr = cfg.schedule().at(step);
        let batches = Batch::split(&sequences, cfg.micro_batch);
        let at = (name, step, "lr");
        let stats = at_step(sft_step(&mut learner.full, &mut learner.adam, &batches, lr), at)?;
        let (loss, grad_norm) = (f64::from(stats.loss), f64::from(stats.grad_norm));
        metrics
            .log(step, [("loss", loss), ("grad_norm", grad_norm), ("lr", lr.into()), ("tokens", n_tokens as f64)])?;
        bar.advance(1);
        bar.note(&format!("loss {loss:.3}, {:.1}M tokens", n_tokens as f64 / 1e6));
        let done = step + 1;
        if done == cfg.steps || done.is_multiple_of(cfg.checkpoint_every) {
            at_step(learner.check(&batches[0]), at)?;
        }
        if done % cfg.checkpoint_every == 0 && done < cfg.steps {
            for (name, share) in glance(&learner.full.transformer(), &*first.codec, seed) {
                metrics.log(step, [(name.as_str(), share)])?;
            }
            learner.keep((site, name), done, parents)?;
        }
    }
    Ok((learner.full.model(&first.codec), n_tokens))
}

fn batch(cfg: &Pretrain, codec: &dyn Codec, seed: Seed, step: u64) -> Vec<Encoded> {
    (step * cfg.documents..(step + 1) * cfg.documents)
        .map(|index| {
            let document = document(seed.child("documents"), index, cfg.mixture(step));
            codec.encode_target(&document.context, &document.target).expect("Harbor lays out any turn")
        })
        .collect()
}

/// A cheap lower bound of the greedy accuracy, while training: the share of held-out documents of which every trained token
/// has a probability above one half.
fn glance(model: &Transformer, codec: &dyn Codec, seed: Seed) -> Vec<(String, f64)> {
    const N: usize = 60; // per kind: seconds, not minutes
    let mut shares = Vec::new();
    for (name, kind, encoded) in MEASURED {
        let mut n_sure = 0;
        for document in held_out_documents(kind, encoded, N, seed.child("glance")) {
            let sequence = codec.encode_target(&document.context, &document.target).expect("Harbor lays out any turn");
            let logprobs = score(model, &Batch::new([&sequence]));
            n_sure += usize::from(logprobs.iter().all(|it| *it > 0.5_f32.ln()));
        }
        shares.push((format!("sure/{name}"), n_sure as f64 / N as f64));
    }
    shares
}
