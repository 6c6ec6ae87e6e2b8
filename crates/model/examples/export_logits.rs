//! Writes a random checkpoint with `tokens.json` and `logits.json` to the directory named by the argument, for
//! `bench/reference_logits.py --check DIR`: Transformers must compute the same logits from it.

use std::path::PathBuf;

use burn::tensor::Device;
use collimate_model::{Config, Stored, Transformer, Weights};
use collimate_schema::Seed;

fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).expect("the directory to write"));
    let config = Config {
        hidden_size: 48,
        num_hidden_layers: 3,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 8,
        intermediate_size: 100,
        vocab_size: 211,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-6,
        rope_theta: 50_000.0,
        bos_token_id: 0,
        eos_token_id: 1,
    };
    let mut weights = Weights::init(&config, Seed(5), &Device::flex());
    // Matrices large enough that every part matters; larger norms would make rounding visible in f32 itself.
    weights.update(|name, tensor| if name.contains("norm") { tensor } else { tensor * 8.0 });
    let model = Transformer::new(&weights);
    let rows: Vec<Vec<u32>> =
        [1, 7, 90].map(|length: u32| (0..length).map(|it| (it * it * 31 + it + length) % 211).collect()).into();
    let logits: Vec<Vec<Vec<f32>>> = rows
        .iter()
        .map(|row| {
            let logits = model.logits(model.forward(row, &[row.len()])).into_data();
            logits.as_slice::<f32>().expect("f32").chunks_exact(config.vocab_size).map(<[f32]>::to_vec).collect()
        })
        .collect();
    let (tokens, logits) = (serde_json::to_vec(&rows), serde_json::to_vec(&logits));
    let (tokens, logits) = (tokens.expect("ids are JSON"), logits.expect("finite numbers are JSON"));
    weights.save(&dir, Stored::F32, &[("tokens.json", &tokens), ("logits.json", &logits)]).expect("a new directory");
}
