//! The forward pass of a Llama-shaped transformer. A sequence is embedded, then each layer adds attention and a gated
//! feed-forward to the residual stream; the head is the embedding table, transposed.
//!
//! Shapes: B rows, T positions, N = B*T, D width, V vocabulary. Hidden states are [N, D], row by row.

use std::collections::BTreeMap;
use std::path::Path;

use burn::Tensor;
use burn::tensor::Device;
use collimate_kernels::{Heads, Rotary, attention, cached_attention, embed, rms_norm, swiglu};

use crate::{Cache, Config, Weights, WeightsError};

/// Weights arranged for computing: projections that read the same input are one matrix. On a plain device it samples and
/// scores; over tracked leaves ([`Transformer::over`]) it is the training forward.
#[derive(Clone, Debug)]
pub struct Transformer {
    config: Config,
    heads: Heads,
    rotary: Rotary,
    table: Tensor<2>,
    layers: Vec<Layer>,
    norm: Tensor<2>,
}

#[derive(Clone, Debug)]
struct Layer {
    attention_norm: Tensor<2>, // [1, D]
    qkv: Tensor<2>,            // [(H + 2K) d, D]
    out: Tensor<2>,            // [D, H d]
    ffn_norm: Tensor<2>,       // [1, D]
    gate_up: Tensor<2>,        // [2F, D]
    down: Tensor<2>,           // [D, F]
}

impl Transformer {
    /// For inference.
    pub fn new(weights: &Weights) -> Transformer {
        Transformer::over(weights.config(), weights.tensors())
    }

    /// Loads a checkpoint directory for inference.
    pub fn load(dir: &Path, device: &Device) -> Result<Transformer, WeightsError> {
        Ok(Transformer::new(&Weights::load(dir, device)?))
    }

    /// Over tensors named and shaped as [`Config::tensors`] says, tracked by autodiff or not.
    pub fn over(config: &Config, tensors: &BTreeMap<String, Tensor<2>>) -> Transformer {
        let get = |name: &str| tensors[name].clone();
        let layer = |index: usize| {
            let get = |name: &str| get(&format!("model.layers.{index}.{name}.weight"));
            let stack = |names: &[&str]| Tensor::cat(names.iter().map(|name| get(name)).collect(), 0);
            Layer {
                attention_norm: get("input_layernorm"),
                qkv: stack(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
                out: get("self_attn.o_proj"),
                ffn_norm: get("post_attention_layernorm"),
                gate_up: stack(&["mlp.gate_proj", "mlp.up_proj"]),
                down: get("mlp.down_proj"),
            }
        };
        Transformer {
            heads: config.heads(),
            rotary: Rotary::new(config.max_position_embeddings, config.head_dim, config.rope_theta),
            table: get("model.embed_tokens.weight"),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: get("model.norm.weight"),
            config: config.clone(),
        }
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Final hidden states of B right-padded sequences of `time` positions: `tokens` is [B, T] row by row (any id may pad;
    /// positions before the padding do not see it); returns [B*T, D], normalised, ready for the head.
    pub fn forward(&self, tokens: &[u32], time: usize) -> Tensor<2> {
        self.run(tokens, |_, qkv| attention(qkv, self.heads, &self.rotary, time))
    }

    /// Runs `prompts`, of any lengths from 1, and caches their keys and values with room for `room` more tokens each. Returns
    /// the cache and the hidden state of each prompt's last token, [B, D].
    pub fn prefill(&self, prompts: &[&[u32]], room: usize) -> (Cache, Tensor<2>) {
        let lengths: Vec<usize> = prompts.iter().map(|it| it.len()).collect();
        assert!(lengths.iter().all(|it| *it > 0), "a prompt has at least one token");
        let time = lengths.iter().copied().max().expect("a batch has at least one prompt");
        let mut tokens = vec![0; prompts.len() * time];
        for (row, prompt) in tokens.chunks_exact_mut(time).zip(prompts) {
            row[..prompt.len()].copy_from_slice(prompt);
        }
        let mut cache = Cache::new(self.layers.len(), self.heads, lengths.iter().map(|it| it + room));
        let hidden = self.run(&tokens, |layer, qkv| {
            cache.store(layer, &qkv, &lengths, time, &self.rotary);
            attention(qkv, self.heads, &self.rotary, time)
        });
        cache.advance(&lengths);
        let last: Vec<u32> = lengths.iter().enumerate().map(|(row, length)| (row * time + length - 1) as u32).collect();
        (cache, embed(hidden, &last))
    }

    /// Runs one more token per row of the cache: `tokens` is [R]; returns hidden states [R, D].
    pub fn decode(&self, tokens: &[u32], cache: &mut Cache) -> Tensor<2> {
        let hidden =
            self.run(tokens, |layer, qkv| cached_attention(qkv, cache.rows(), layer, self.heads, &self.rotary));
        cache.advance(&vec![1; tokens.len()]);
        hidden
    }

    /// Logits over the vocabulary of hidden states [n, D]; returns [n, V].
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.table.clone().transpose())
    }

    /// The head's table, [V, D]: also the embedding.
    pub fn head(&self) -> Tensor<2> {
        self.table.clone()
    }

    /// The residual stream from embedding to final norm; `attend(layer, qkv)` turns fused projections [N, (H + 2K) d] into
    /// [N, H d].
    fn run(&self, tokens: &[u32], mut attend: impl FnMut(usize, Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let eps = self.config.rms_norm_eps as f32;
        let mut x = embed(self.table.clone(), tokens);
        for (index, layer) in self.layers.iter().enumerate() {
            let qkv = linear(rms_norm(x.clone(), layer.attention_norm.clone(), eps), &layer.qkv);
            x = x + linear(attend(index, qkv), &layer.out);
            let gate_up = linear(rms_norm(x.clone(), layer.ffn_norm.clone(), eps), &layer.gate_up);
            x = x + linear(swiglu(gate_up), &layer.down);
        }
        rms_norm(x, self.norm.clone(), eps)
    }
}

/// x Wᵀ: `x` is [N, in], `weight` [out, in].
fn linear(x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    x.matmul(weight.clone().transpose())
}
