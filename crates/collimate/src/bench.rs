//! What this machine can do: tokens per second of training, sampling and a whole RL step, on random tokens and on random
//! weights or those of a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use burn::Tensor;
use burn::tensor::TensorData;
use collimate_kernels::Linear;
use collimate_model::{Codec, Compute, Encoded, Ends, Engine, Extras, Heads, Model, Shape as ModelShape, Weights};
use collimate_schema::{
    By, Completion, Conversation, PromptId, Request, RequestId, Sampled, Sampler, Sampling, Seed, Trace,
};
use collimate_train::{Adam, AdamW, Baseline, Batch, Full, NoTokens, Rewarded, Rl, rl_batches, rl_step, sft_step};
use rand::Rng;
use serde::Serialize;

use crate::device::DeviceName;
use crate::precision::Precision;
use crate::recipes::pretrain::harbor_codec;
use crate::recipes::steps::learner::BATCH_POSITIONS;

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

/// With gradients and moments, 16 bytes each.
const MOST_PARAMETERS: f64 = 2e9;

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
        let sizes = [hidden, layers, heads, kv_heads, ffn, vocabulary].map(|it| it as f64);
        let n_parameters = sizes[0] * (sizes[1] * (4.0 * sizes[0] + 3.0 * sizes[4]) + 2.0 * sizes[5]);
        if n_parameters > MOST_PARAMETERS {
            return Err(format!(
                "`{name}` is {n_parameters:.1e} parameters: at most {MOST_PARAMETERS:.0e} are measured"
            ));
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
        let stats = sft_step(&mut learner.full, &mut learner.adam, &batches, 1e-4)?;
        anyhow::Ok(stats.n_tokens)
    })?;
    let parameters = learner.full.weights.shape().n_parameters() as f64;
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
        let groups = done.chunks(8).map(|group| group.iter().enumerate().map(rewarded).collect());
        let groups = groups.collect::<Result<Vec<Vec<_>>, _>>()?;
        let (batches, _) = rl_batches(&groups, Baseline::LeaveOneOut, None, BATCH_POSITIONS);
        rl_step(&mut learner.full, &mut learner.adam, &batches, &Rl { clip: 0.2, kl: 0.0 }, 1e-5)?;
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
    full: Full,
    codec: Arc<dyn Codec>,
    adam: Adam,
}

impl Learner {
    /// Random weights of `shape` on `device`.
    pub fn random(shape: Shape, device: DeviceName) -> Learner {
        let codec = harbor_codec();
        let of_model = ModelShape {
            width: shape.hidden,
            n_layers: shape.layers,
            heads: Heads { n_query: shape.heads, n_kv: shape.kv_heads, width: shape.hidden / shape.heads },
            ffn_width: shape.ffn,
            n_vocab: shape.vocabulary.max(codec.tokenizer().vocab_size()),
            n_positions: 2048,
            norm_eps: 1e-5,
            rope_theta: 10_000.0,
            extras: Extras::default(),
        };
        let ends = Ends::new(codec.bos().expect("Harbor has one"), codec.stops()[0]);
        let weights = Weights::init(&of_model, &ends, Seed(0), &device.device()).expect("a name's sizes are checked");
        Learner::new(shape, None, device, Model { weights, codec, compute: Compute::default() })
    }

    /// The weights of a checkpoint directory on `device`; `batch` sequences of `tokens`.
    pub fn load(dir: &Path, batch: usize, tokens: usize, device: DeviceName) -> anyhow::Result<Learner> {
        let model =
            Model::load(dir, &device.device()).with_context(|| format!("cannot use {} as a model", dir.display()))?;
        let of_model = model.weights.shape();
        let shape = Shape {
            hidden: of_model.width,
            layers: of_model.n_layers,
            heads: of_model.heads.n_query,
            kv_heads: of_model.heads.n_kv,
            ffn: of_model.ffn_width,
            vocabulary: of_model.n_vocab,
            batch,
            tokens,
        };
        Ok(Learner::new(shape, Some(dir.display().to_string()), device, model))
    }

    fn new(shape: Shape, name: Option<String>, device: DeviceName, model: Model) -> Learner {
        let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
        let Model { weights, codec, compute } = model;
        let full = Full { weights, compute };
        let adam = Adam::new(&full, cfg, 1.0);
        Learner { shape, name, device, precision: Precision::F32, full, codec, adam }
    }

    /// The same with products taken in `precision`.
    pub fn in_precision(self, precision: Precision) -> Learner {
        let compute = Compute { precision: precision.into(), ..self.full.compute };
        Learner { precision, full: Full { compute, ..self.full }, ..self }
    }

    /// The same whose training computes activations again, if `recompute`.
    pub fn recomputing(self, recompute: bool) -> Learner {
        let compute = Compute { recompute, ..self.full.compute };
        Learner { full: Full { compute, ..self.full }, ..self }
    }

    /// The longest sequence the model takes.
    pub fn context(&self) -> usize {
        self.full.weights.shape().n_positions
    }

    fn engine(&self) -> Engine {
        self.full.model(&self.codec).engine_by(By::Named("bench".to_owned()))
    }

    fn report(&self, work: &'static str, tokens_per_second: f64, gflops: Option<f64>) -> Report {
        let &Learner { ref name, shape, device, precision, .. } = self;
        let (model, parameters) = (name.clone(), self.full.weights.shape().n_parameters());
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
fn sample(engine: &Engine, prompts: &[String], n: u32, new: u32) -> anyhow::Result<Vec<Completion>> {
    let mut requests = Vec::new();
    for (at, prompt) in prompts.iter().enumerate() {
        let name = PromptId(format!("{at:03}"));
        let id = |sample| RequestId::new("bench", &name).sample(sample);
        let conversation = Conversation::user(prompt.clone());
        requests.extend((0..n).map(|it| Request::new(id(it), conversation.clone(), Sampling::at(1.0, new), Seed(3))));
    }
    let done = engine.sample(requests)?.map(|(id, reply)| Ok((id, reply?)));
    Ok(done.collect::<anyhow::Result<BTreeMap<_, _>>>()?.into_values().collect())
}

fn sampled(it: &Completion) -> &[Sampled] {
    match &it.trace {
        Trace::Tokens { sampled, .. } => sampled,
        Trace::Text(_) => &[],
    }
}

fn n_sampled(it: &Completion) -> usize {
    sampled(it).len()
}

/// A rollout of a group with some reward. Weights from nothing may say the same every time: every other one gets one more, so
/// that all are learnt from.
fn rewarded((at, it): (usize, &Completion)) -> Result<Rewarded<'_>, NoTokens> {
    let last = sampled(it).last().map_or(0, |it| it.token);
    Rewarded::new(it, Some((n_sampled(it) % 7 + last as usize % 7 + at % 2) as f32))
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

/// GFLOP/s of a product of two matrices of 2048 squared, the best of five. Their numbers are random: processors are faster on
/// zeros and ones.
fn matmul_gflops(device: DeviceName, precision: Precision) -> f64 {
    const N: usize = 2048;
    let device = device.device();
    let mut rng = Seed(2).rng();
    let mut square = || {
        let values: Vec<f32> = (0..N * N).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::<2>::from_data(TensorData::new(values, [N, N]), &device)
    };
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
        random.full.model(&random.codec).save(&dir, collimate_model::Stored::F32).expect("written");
        let report = train(Learner::load(&dir, 3, 8, DeviceName::Cpu).expect("read"), 1).expect("measured");
        let vocabulary = harbor_codec().tokenizer().vocab_size();
        assert_eq!(report.shape, Shape { vocabulary, batch: 3, tokens: 8, ..random.shape });
        assert_eq!(report.model, Some(dir.display().to_string()));
        assert!(Learner::load(folder.path(), 3, 8, DeviceName::Cpu).is_err());
    }
}
