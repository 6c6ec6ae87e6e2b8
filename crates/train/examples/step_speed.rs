//! Tokens per second of a supervised step: `step_speed [BATCH] [TIME] [POSITIONS PER MICRO-BATCH] [TRAINED SHARE] [STEPS]`.

#![expect(clippy::print_stderr, reason = "a benchmark prints")]

use std::time::Instant;

use burn::tensor::Device;
use collimate_model::{Compute, Encoded, Ends, Extras, Heads, Shape, Weights};
use collimate_schema::Seed;
use collimate_train::{Adam, AdamW, Batch, Full, sft_step};
use rand::Rng;

fn main() {
    let mut args = std::env::args().skip(1).map(|it| it.parse::<f64>().expect("arguments are numbers"));
    let mut next = |default: f64| args.next().unwrap_or(default);
    let (n_rows, time) = (next(64.0) as usize, next(128.0) as usize);
    let (max_positions, share, n_steps) = (next(2048.0) as usize, next(0.5), next(8.0) as usize);
    let shape = Shape {
        width: 192,
        n_layers: 4,
        heads: Heads { n_query: 6, n_kv: 2, width: 32 },
        ffn_width: 512,
        n_vocab: 1700,
        n_positions: 512,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(0, 1);
    let weights = Weights::init(&shape, &ends, Seed(1), &Device::flex()).expect("a shape");
    let mut full = Full { weights, compute: Compute::default() };
    let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let mut adam = Adam::new(&full, cfg, 1.0);
    let mut rng = Seed(2).rng();
    let sequences: Vec<Encoded> = (0..n_rows)
        .map(|_| Encoded {
            tokens: (0..=time).map(|_| rng.random_range(0..1700)).collect(),
            trained: (0..=time).map(|it| it > 0 && rng.random_bool(share)).collect(),
        })
        .collect();
    let batches = Batch::split(&sequences, max_positions);
    for step in 0..n_steps {
        let start = Instant::now();
        let stats = sft_step(&mut full, &mut adam, &batches, 1e-3).expect("the gradient is finite");
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("step {step}: {:.0} tokens/s, {seconds:.3} s, {stats:?}", (n_rows * time) as f64 / seconds);
    }
}
