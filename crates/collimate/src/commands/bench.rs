//! `bench`: what this machine can do.

use super::Exit;
use crate::bench::{Learner, Shape};
use crate::device::DeviceName;
use crate::precision::Precision;
use crate::{bench, output};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Work {
    /// Training steps
    Train,
    /// Sampling, after prompts of 128 tokens
    Generate,
    /// Whole RL steps: sample 2 prompts 8 times, up to 64 tokens each, reward, learn
    Rl,
}

/// Arguments of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub work: Work,
    /// Random weights: `tiny`, `small`, `smol135`, or width,layers,heads,kv heads,feed-forward,vocabulary
    #[arg(long, default_value = "tiny")]
    pub shape: Shape,
    /// The weights of a checkpoint directory, instead of random ones
    #[arg(long, value_name = "DIR", conflicts_with = "shape")]
    pub model: Option<PathBuf>,
    /// Sequences [default: train: the shape's, 8 with --model; generate: 64]
    #[arg(long, value_name = "N", value_parser = count)]
    pub batch: Option<usize>,
    /// Tokens of each, new ones if sampled [default: train: the shape's, 256 with --model; generate: 128]
    #[arg(long, value_name = "N", value_parser = count)]
    pub tokens: Option<usize>,
    /// What products are taken in
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    pub precision: Precision,
    /// Where to compute: `cpu`, `cuda:N`, `vulkan`, `vulkan:N` or `metal`; a GPU needs a build with that feature
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: DeviceName,
    /// Training keeps a layer's input only and computes its activations again: less memory, more arithmetic
    #[arg(long)]
    pub recompute: bool,
    /// Rounds, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count)]
    pub rounds: usize,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Activations of so many positions are in memory together.
const MOST_POSITIONS: usize = 1 << 22;

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("must be a whole number, at least 1, at most 1000000".to_owned()),
    }
}

/// Measures and prints.
pub fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        !matches!(args.work, Work::Rl) || (args.batch.is_none() && args.tokens.is_none()),
        "an RL step is always 16 rollouts of up to 64 tokens: leave out --batch and --tokens"
    );
    let (batch, tokens) = match (args.work, &args.model) {
        (Work::Generate, _) => (64, 128),
        (Work::Rl, _) => (16, 64),
        (_, Some(_)) => (8, 256),
        (_, None) => (args.shape.batch, args.shape.tokens),
    };
    let (batch, tokens) = (args.batch.unwrap_or(batch), args.tokens.unwrap_or(tokens));
    let learner = match &args.model {
        Some(dir) => Learner::load(dir, batch, tokens, args.device)?,
        None => Learner::random(Shape { batch, tokens, ..args.shape }, args.device),
    };
    let learner = learner.in_precision(args.precision.settled(args.device, None)).recomputing(args.recompute);
    let context = learner.context();
    anyhow::ensure!(
        batch > 0 && (1..=context).contains(&tokens),
        "cannot measure {batch} sequences of {tokens} tokens: give at least one sequence, of 1 to {context} tokens"
    );
    anyhow::ensure!(
        batch.saturating_mul(tokens) <= MOST_POSITIONS,
        "cannot measure {batch} sequences of {tokens} tokens at once: together they are more than {MOST_POSITIONS}"
    );
    let report = match args.work {
        Work::Train => bench::train(learner, args.rounds)?,
        Work::Generate => bench::generate(learner, args.rounds)?,
        Work::Rl => bench::rl(learner, args.rounds)?,
    };
    if args.json {
        output::print_json_line(&report)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![
        ("tokens per second", format!("{:.0}", report.tokens_per_second)),
        ("parameters", format!("{:.2} M", report.parameters as f64 / 1e6)),
        ("product rate", format!("{:.0} GFLOP/s (2048 cubed, {})", report.matmul_gflops, report.precision)),
    ];
    if !report.device.is_cpu() {
        rows.insert(0, ("device", report.device.to_string()));
    }
    if let Some(model) = report.model {
        rows.insert(0, ("model", model));
    }
    if let Some(gflops) = report.gflops {
        let share = 100.0 * gflops / report.matmul_gflops;
        rows.insert(rows.len() - 2, ("arithmetic", format!("{gflops:.0} GFLOP/s, {share:.0} % of the product rate")));
    }
    if let Some(bytes) = report.peak_memory_bytes {
        rows.push(("peak memory", format!("{:.2} GB", bytes as f64 / 1e9)));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::print(&output::columns(&rows))?;
    Ok(Exit::Ok)
}
