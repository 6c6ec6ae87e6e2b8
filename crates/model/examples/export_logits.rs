//! Writes a random checkpoint with `tokens.json` and `logits.json` to the directory named by the argument, for
//! `bench/reference_logits.py --check DIR`: Transformers must compute the same logits from it.

use std::path::PathBuf;

use burn::tensor::Device;
use collimate_model::{Compute, Ends, Extras, Heads, Role, Shape, Stored, Transformer, Weights};
use collimate_schema::Seed;

fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).expect("the directory to write"));
    let shape = Shape {
        width: 48,
        n_layers: 3,
        heads: Heads { n_query: 6, n_kv: 2, width: 8 },
        ffn_width: 100,
        n_vocab: 211,
        n_positions: 128,
        norm_eps: 1e-6,
        rope_theta: 50_000.0,
        extras: Extras::default(),
    };
    let mut weights = Weights::init(&shape, &Ends::new(0, 1), Seed(5), &Device::flex()).expect("a shape");
    // Matrices large enough that every part matters; larger norms would make rounding visible in f32 itself.
    weights.update(|param, tensor| if param.role == Role::Norm { tensor } else { tensor * 8.0 });
    let model = Transformer::new(&weights, Compute::default());
    let rows: Vec<Vec<u32>> =
        [1, 7, 90].map(|length: u32| (0..length).map(|it| (it * it * 31 + it + length) % 211).collect()).into();
    let logits: Vec<Vec<Vec<f32>>> = rows
        .iter()
        .map(|row| {
            let logits = model.logits(model.forward(row, &[row.len()])).into_data();
            logits.as_slice::<f32>().expect("f32").chunks_exact(shape.n_vocab).map(<[f32]>::to_vec).collect()
        })
        .collect();
    let (tokens, logits) = (serde_json::to_vec(&rows), serde_json::to_vec(&logits));
    let (tokens, logits) = (tokens.expect("ids are JSON"), logits.expect("finite numbers are JSON"));
    weights.save(&dir, Stored::F32, &[("tokens.json", &tokens), ("logits.json", &logits)]).expect("a new directory");
}
