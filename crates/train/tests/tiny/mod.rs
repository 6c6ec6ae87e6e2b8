//! A tiny model, and sequences and rollouts to train it on.
#![allow(dead_code, reason = "each test file uses its part")]

use burn::tensor::Device;
use collimate_model::{Compute, Encoded, Ends, Extras, Heads, Role, Shape, Weights};
use collimate_schema::{Sampled, Seed};
use collimate_train::{Full, Rewarded};

/// Ends a turn.
const EOS: u32 = 1;

pub(crate) fn device() -> Device {
    Device::flex()
}

pub(crate) fn shape() -> Shape {
    Shape {
        width: 16,
        n_layers: 2,
        heads: Heads { n_query: 4, n_kv: 2, width: 6 },
        ffn_width: 20,
        n_vocab: 23,
        n_positions: 32,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    }
}

/// Larger than at initialisation, so that every tensor matters.
pub(crate) fn full() -> Full {
    full_on(&device())
}

pub(crate) fn full_on(device: &Device) -> Full {
    full_of(&shape(), device)
}

/// With what a family adds.
pub(crate) fn full_with(extras: Extras) -> Full {
    full_of(&Shape { extras, ..shape() }, &device())
}

fn full_of(shape: &Shape, device: &Device) -> Full {
    let mut weights = drawn(shape, Seed(3), device);
    weights.update(|param, tensor| match param.role {
        Role::Norm => tensor,
        Role::Bias => tensor + 0.2,
        _ => tensor * 12.0,
    });
    Full { weights, compute: Compute::default() }
}

pub(crate) fn drawn(shape: &Shape, seed: Seed, device: &Device) -> Weights {
    Weights::init(shape, &Ends::new(0, EOS), seed, device).expect("a shape that can be computed")
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

/// What was sampled from a prompt, with rewards.
pub(crate) struct Group {
    prompt: Vec<u32>,
    rollouts: Vec<(Vec<Sampled>, Option<f32>)>,
}

impl Group {
    /// `logprobs` says those of a sequence's sampled tokens.
    pub(crate) fn new(
        prompt: &[u32],
        rollouts: &[(&[u32], Option<f32>)],
        logprobs: impl Fn(&Encoded) -> Vec<f32>,
    ) -> Group {
        let rollout = |(tokens, reward): &(&[u32], Option<f32>)| {
            let logprobs = logprobs(&encoded(&[prompt, tokens].concat(), prompt.len()));
            let sampled = tokens.iter().zip(logprobs).map(|(token, logprob)| Sampled { token: *token, logprob });
            (sampled.collect(), *reward)
        };
        Group { prompt: prompt.to_vec(), rollouts: rollouts.iter().map(rollout).collect() }
    }

    /// A rollout that does not end on the stop token was cut.
    pub(crate) fn rewarded(&self) -> Vec<Rewarded<'_>> {
        let each = self.rollouts.iter().map(|(sampled, reward)| Rewarded {
            prompt: &self.prompt,
            sampled,
            truncated: sampled.last().is_none_or(|it| it.token != EOS),
            reward: *reward,
        });
        each.collect()
    }
}
