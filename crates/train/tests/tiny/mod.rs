//! A tiny model and sequences to train it on.
#![allow(dead_code, reason = "each test file uses its part")]

use burn::tensor::Device;
use collimate_model::{Config, Encoded, Weights};
use collimate_schema::Seed;

pub(crate) fn device() -> Device {
    Device::flex()
}

pub(crate) fn config() -> Config {
    Config {
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        intermediate_size: 20,
        vocab_size: 23,
        max_position_embeddings: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        bos_token_id: 0,
        eos_token_id: 1,
    }
}

/// Larger than at initialisation, so that every tensor matters.
pub(crate) fn weights() -> Weights {
    let mut weights = Weights::init(&config(), Seed(3), &device());
    weights.update(|name, tensor| if name.contains("norm") { tensor } else { tensor * 12.0 });
    weights
}

/// `tokens`, of which those from `from` on are trained.
pub(crate) fn encoded(tokens: &[u32], from: usize) -> Encoded {
    Encoded { tokens: tokens.to_vec(), trained: (0..tokens.len()).map(|it| it >= from).collect() }
}

pub(crate) fn sequences() -> Vec<Encoded> {
    let sequence = |index: u32| {
        let tokens: Vec<u32> = (0..5 + 3 * index).map(|it| (it * it + 5 * index + 2) % 23).collect();
        encoded(&tokens, 2 + index as usize % 3)
    };
    (0..5).map(sequence).collect()
}
