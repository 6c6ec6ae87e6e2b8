//! The losses of supervised steps from given weights on given tokens, which bench/loss_curve compares with PyTorch's:
//! `loss_curve DIR TOKENS.jsonl BATCH STEPS`. Each line of the file is a sequence of token ids; each step takes the next
//! BATCH of them. AdamW as in bench/peers/torch_curve.py. An example of the `collimate` crate:
//!
//! cargo build --release --workspace --examples

#![expect(clippy::print_stdout, reason = "the losses are its result")]

use std::path::Path;

use anyhow::Context;
use burn::tensor::Device;
use collimate_model::{Encoded, Model};
use collimate_train::{Adam, AdamW, Batch, Full, sft_step};

const PEAK: f32 = 1e-3;
const WARM_UP: usize = 10;
/// Of a micro-batch, as in the recipes.
const BATCH_POSITIONS: usize = 1024;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, tokens, batch, steps] = &args[..] else {
        anyhow::bail!("usage: loss_curve DIR TOKENS.jsonl BATCH STEPS");
    };
    let (batch, steps): (usize, usize) = (batch.parse()?, steps.parse()?);
    let Model { weights, compute, .. } = Model::load(Path::new(dir), &Device::flex())?;
    let mut full = Full { weights, compute };
    let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let mut adam = Adam::new(&full, cfg, 1.0);
    let text = std::fs::read_to_string(tokens).with_context(|| format!("cannot read {tokens}"))?;
    let mut sequences = text.lines().map(|line| {
        let tokens: Vec<u32> = serde_json::from_str(line)?;
        let trained = (0..tokens.len()).map(|at| at > 0).collect();
        anyhow::Ok(Encoded { tokens, trained })
    });
    let mut losses = Vec::new();
    for step in 0..steps {
        let taken = sequences.by_ref().take(batch).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(taken.len() == batch, "{tokens} ends before step {step}");
        let lr = PEAK * ((step + 1) as f32 / WARM_UP as f32).min(1.0);
        losses.push(sft_step(&mut full, &mut adam, &Batch::split(&taken, BATCH_POSITIONS), lr)?.loss);
    }
    println!("{}", serde_json::json!({ "losses": losses }));
    Ok(())
}
