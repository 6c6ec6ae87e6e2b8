//! What this machine can do: tokens per second of training, sampling and a whole RL step, on random tokens and on random
//! weights or those of a checkpoint.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use burn::Tensor;
use collimate_kernels::Linear;
use collimate_model::{Config, Control, Encoded, Engine, Model, Weights};
use collimate_schema::{By, Completion, Conversation, Request, RequestId, Sampler, Sampling, Seed, Trace};
use collimate_train::{Adam, AdamW, Advantages, Baseline, Batch, Rl, RlBatch, RlToken, advantages, rl_step, sft_step};
use rand::Rng;
use serde::Serialize;

use crate::device::DeviceName;
use crate::precision::Precision;
use crate::recipes::learner::BATCH_POSITIONS;
use crate::recipes::pretrain::harbor_codec;

/// A model's sizes with the batch they are measured at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Width, D.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads, H.
    pub heads: usize,
    /// Key-value heads, K.
    pub kv_heads: usize,
    /// Feed-forward width, F.
    pub ffn: usize,
    /// Vocabulary, V.
    pub vocabulary: usize,
    /// Sequences of a training step.
    pub batch: usize,
    /// Tokens of each.
    pub tokens: usize,
}

impl std::str::FromStr for Shape {
    type Err = String;

    fn from_str(name: &str) -> Result<Shape, String> {
        let sizes: Vec<usize> = match name {
            "tiny" => vec![256, 4, 4, 4, 688, 4096, 16, 128],
            "small" => vec![512, 8, 8, 8, 1376, 8192, 8, 256],
            "smol135" => vec![576, 30, 9, 3, 1536, 49152, 2, 256],
            _ => name
                .split(',')
                .map(|it| it.parse().ok().filter(|it| *it > 0))
                .collect::<Option<_>>()
                .unwrap_or_default(),
        };
        let [hidden, layers, heads, kv_heads, ffn, vocabulary, ref rest @ ..] = sizes[..] else {
            return Err(format!(
                "`{name}` is no shape: use tiny, small, smol135 or D,LAYERS,H,K,F,V such as 256,4,4,4,688,4096"
            ));
        };
        if hidden % heads != 0 || heads % kv_heads != 0 || (hidden / heads) % 2 != 0 {
            return Err(format!("`{name}`: D must be a multiple of H, H of K, and D / H even"));
        }
        let (batch, tokens) = (rest.first().copied().unwrap_or(8), rest.get(1).copied().unwrap_or(256));
        Ok(Shape { hidden, layers, heads, kv_heads, ffn, vocabulary, batch, tokens })
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `train`, `generate` or `rl`.
    pub work: &'static str,
    /// The checkpoint directory; `None` means random weights.
    pub model: Option<String>,
    /// On what.
    pub shape: Shape,
    /// Where it was computed.
    pub device: DeviceName,
    /// What products were taken in.
    pub precision: Precision,
    /// Parameters of the model.
    pub parameters: usize,
    /// Median over the measured rounds.
    pub tokens_per_second: f64,
    /// Of that median; training counts 6 per parameter and token plus attention, `None` elsewhere.
    pub gflops: Option<f64>,
    /// The device's own product rate, 2048 cubed, in the same run and precision.
    pub matmul_gflops: f64,
    /// The most memory the process held, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Rounds before the first that counts.
const WARM_UP: usize = 1;

/// Training steps of a model.
pub fn train(mut learner: Learner, rounds: usize) -> anyhow::Result<Report> {
    let shape = learner.shape;
    let mut rng = Seed(1).rng();
    let trained = (0..=shape.tokens).map(|at| at > 0).collect::<Vec<_>>();
    let sequences: Vec<Encoded> = (0..shape.batch)
        .map(|_| Encoded {
            tokens: (0..=shape.tokens).map(|_| rng.random_range(0..shape.vocabulary as u32)).collect(),
            trained: trained.clone(),
        })
        .collect();
    let batches = Batch::split(&sequences, BATCH_POSITIONS);
    let per_second = median(rounds, || {
        let stats = sft_step(&mut learner.model.weights, &mut learner.adam, &batches, 1e-4)?;
        anyhow::Ok(stats.n_tokens)
    })?;
    let parameters = learner.model.weights.config().n_parameters() as f64;
    let attention = 6.0 * (shape.layers * shape.hidden * shape.tokens) as f64;
    let gflops = (6.0 * parameters + attention) * per_second / 1e9;
    Ok(learner.report("train", per_second, Some(gflops)))
}

/// Sampling: a prompt of about 128 tokens for each sequence of the shape, and its tokens.
pub fn generate(learner: Learner, rounds: usize) -> anyhow::Result<Report> {
    let engine = learner.engine();
    let (words, mut rng) = (collimate_world::words(), Seed(2).rng());
    let mut words = || (0..128).map(|_| words[rng.random_range(0..words.len())].as_str()).collect::<Vec<_>>().join(" ");
    let per_second = median(rounds, || {
        // Other prompts each round: the engine remembers those it has read.
        let prompts: Vec<String> = (0..learner.shape.batch).map(|_| words()).collect();
        let done = sample(&engine, &prompts, 1, learner.shape.tokens as u32)?;
        anyhow::Ok(done.iter().map(n_sampled).sum())
    })?;
    Ok(learner.report("generate", per_second, None))
}

/// RL steps, those of bench/peers/trl_grpo.py: 2 prompts of 8 rollouts, up to 64 tokens each; sampled, given a reward, learnt
/// from.
pub fn rl(mut learner: Learner, rounds: usize) -> anyhow::Result<Report> {
    let prompts = ["tell me about the old harbor wall"; 2].map(str::to_owned);
    let per_second = median(rounds, || {
        let done = sample(&learner.engine(), &prompts, 8, 64)?;
        let mut batches = Vec::new();
        for group in done.chunks(8) {
            // Weights from nothing may say the same every time: every other rollout gets one more, so that all are learnt from.
            let reward = |(at, it): (usize, &Completion)| (n_sampled(it) % 7 + last(it) as usize % 7 + at % 2) as f32;
            let rewards: Vec<f32> = group.iter().enumerate().map(reward).collect();
            let Advantages::Of(advantages) = advantages(&rewards, Baseline::LeaveOneOut) else { continue };
            batches.push(rl_batch(group, &advantages));
        }
        rl_step(&mut learner.model.weights, &mut learner.adam, &batches, &Rl { clip: 0.2, kl: 0.0 }, 1e-5)?;
        anyhow::Ok(done.iter().map(n_sampled).sum())
    })?;
    Ok(learner.report("rl", per_second, None))
}

/// A model under measurement, with an optimizer.
pub struct Learner {
    /// Of the model, with the batch it is measured at.
    shape: Shape,
    /// The checkpoint directory, where there is one.
    name: Option<String>,
    device: DeviceName,
    precision: Precision,
    model: Model,
    adam: Adam,
}

impl Learner {
    /// Random weights of `shape` on `device`.
    pub fn random(shape: Shape, device: DeviceName) -> Learner {
        let codec = harbor_codec();
        let config = Config {
            hidden_size: shape.hidden,
            num_hidden_layers: shape.layers,
            num_attention_heads: shape.heads,
            num_key_value_heads: shape.kv_heads,
            head_dim: shape.hidden / shape.heads,
            intermediate_size: shape.ffn,
            vocab_size: shape.vocabulary.max(codec.tokenizer.vocab_size()),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            bos_token_id: codec.tokenizer.control(Control::Bos),
            eos_token_id: codec.tokenizer.control(Control::End),
        };
        let weights = Weights::init(&config, Seed(0), &device.device());
        Learner::new(shape, None, device, Model { weights, codec })
    }

    /// The weights of a checkpoint directory on `device`; `batch` sequences of `tokens`.
    pub fn load(dir: &Path, batch: usize, tokens: usize, device: DeviceName) -> anyhow::Result<Learner> {
        let model =
            Model::load(dir, &device.device()).with_context(|| format!("cannot use {} as a model", dir.display()))?;
        let config = model.weights.config();
        let shape = Shape {
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            ffn: config.intermediate_size,
            vocabulary: config.vocab_size,
            batch,
            tokens,
        };
        Ok(Learner::new(shape, Some(dir.display().to_string()), device, model))
    }

    fn new(shape: Shape, name: Option<String>, device: DeviceName, model: Model) -> Learner {
        let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let adam = Adam::new(&model.weights, cfg, 1.0);
        Learner { shape, name, device, precision: Precision::F32, model, adam }
    }

    /// The same with products taken in `precision`.
    pub fn in_precision(self, precision: Precision) -> Learner {
        let model = Model { weights: self.model.weights.in_precision(precision.into()), ..self.model };
        Learner { precision, model, ..self }
    }

    /// The same whose training computes activations again, if `recomputes`.
    pub fn recomputing(self, recomputes: bool) -> Learner {
        let model = Model { weights: self.model.weights.recomputing(recomputes), ..self.model };
        Learner { model, ..self }
    }

    /// The longest sequence the model takes.
    pub fn context(&self) -> usize {
        self.model.weights.config().max_position_embeddings
    }

    fn engine(&self) -> Engine {
        self.model.engine_by(By::Named("bench".to_owned()))
    }

    fn report(&self, work: &'static str, tokens_per_second: f64, gflops: Option<f64>) -> Report {
        let &Learner { ref name, shape, device, precision, .. } = self;
        let (model, parameters) = (name.clone(), self.model.weights.config().n_parameters());
        let (peak_memory_bytes, matmul_gflops) = (peak_memory(), matmul_gflops(device, precision));
        Report {
            work,
            model,
            shape,
            device,
            precision,
            parameters,
            tokens_per_second,
            gflops,
            matmul_gflops,
            peak_memory_bytes,
        }
    }
}

/// `n` samples of up to `new` tokens for each prompt.
fn sample(engine: &Engine, prompts: &[String], n: usize, new: u32) -> anyhow::Result<Vec<Completion>> {
    let mut requests = Vec::new();
    for (at, prompt) in prompts.iter().enumerate() {
        for ordinal in 0..n {
            let id = RequestId(format!("{at:03}/{ordinal}"));
            let (seed, sampling) = (Seed(3).child(&id.0), Sampling::at(1.0, new));
            requests.push(Request {
                id,
                conversation: Conversation::user(prompt.clone()),
                sampling,
                seed,
                stop: Vec::new(),
            });
        }
    }
    let mut done = engine.sample(requests)?.collect::<Result<Vec<_>, _>>()?;
    done.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(done)
}

fn sampled(it: &Completion) -> (&[u32], &[collimate_schema::Sampled]) {
    match &it.trace {
        Trace::Tokens { prompt, sampled } => (prompt, sampled),
        Trace::Text(_) => (&[], &[]),
    }
}

fn n_sampled(it: &Completion) -> usize {
    sampled(it).1.len()
}

fn last(it: &Completion) -> u32 {
    sampled(it).1.last().map_or(0, |it| it.token)
}

fn rl_batch(group: &[Completion], advantages: &[f32]) -> RlBatch {
    let (mut sequences, mut tokens) = (Vec::new(), Vec::new());
    for (it, advantage) in group.iter().zip(advantages) {
        let (prompt, sampled) = sampled(it);
        tokens.extend(sampled.iter().map(|it| RlToken { advantage: *advantage, old: it.logprob, reference: None }));
        sequences.push(Encoded {
            tokens: prompt.iter().copied().chain(sampled.iter().map(|it| it.token)).collect(),
            trained: (0..prompt.len() + sampled.len()).map(|at| at >= prompt.len()).collect(),
        });
    }
    RlBatch { batch: Batch::new(&sequences), tokens }
}

/// Tokens per second of the median round; a round returns its tokens.
fn median(rounds: usize, mut round: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let mut rates = Vec::new();
    for index in 0..rounds.max(1) + WARM_UP {
        let start = Instant::now();
        let n_tokens = round()?;
        if index >= WARM_UP {
            rates.push(n_tokens as f64 / start.elapsed().as_secs_f64());
        }
    }
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().context("at least one round is measured")
}

/// GFLOP/s of a product of two matrices of 2048 squared, the best of five.
fn matmul_gflops(device: DeviceName, precision: Precision) -> f64 {
    const N: usize = 2048;
    let device = device.device();
    let square = || Tensor::<2>::ones([N, N], &device);
    let (x, linear) = (square(), Linear::with_precision(square(), precision.into()));
    let seconds = (0..5).map(|_| {
        let start = Instant::now();
        let _ = linear.apply(x.clone());
        let _ = device.sync(); // a GPU only takes note of it until then
        start.elapsed().as_secs_f64()
    });
    2.0 * (N as f64).powi(3) / seconds.fold(f64::INFINITY, f64::min) / 1e9
}

/// Peak resident memory of this process (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|it| it * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_named_or_spelt() {
        assert_eq!("tiny".parse::<Shape>().map(|it| it.batch), Ok(16));
        assert_eq!("64,2,4,2,128,300".parse::<Shape>().map(|it| it.vocabulary), Ok(300));
        for wrong in
            ["huge", "64,2,4,2,128,300,x", "64,2,4", "64,2,3,1,128,300", "64,2,4,3,128,300", "64,0,4,2,128,300"]
        {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_work_reports_a_rate() {
        let shape: Shape = "32,1,2,1,64,300,2,16".parse().expect("a shape");
        for report in [train, generate, rl].map(|work| work(Learner::random(shape, DeviceName::Cpu), 1)) {
            let report = report.expect("measured");
            assert!(report.tokens_per_second > 0.0 && report.matmul_gflops > 0.0, "{report:?}");
        }
    }

    #[test]
    fn a_checkpoint_is_measured_at_its_own_sizes() {
        let random = Learner::random("32,1,2,1,64,300,2,16".parse().expect("a shape"), DeviceName::Cpu);
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("model");
        random.model.save(&dir, collimate_model::Stored::F32).expect("written");
        let report = train(Learner::load(&dir, 3, 8, DeviceName::Cpu).expect("read"), 1).expect("measured");
        let vocabulary = harbor_codec().tokenizer.vocab_size();
        assert_eq!(report.shape, Shape { vocabulary, batch: 3, tokens: 8, ..random.shape });
        assert_eq!(report.model, Some(dir.display().to_string()));
        assert!(Learner::load(folder.path(), 3, 8, DeviceName::Cpu).is_err());
    }
}
