//! The forward pass of a Llama-shaped transformer. A sequence is embedded, then each layer adds attention and a gated
//! feed-forward to the residual stream; the head is the embedding table, transposed.
//!
//! Shapes: N positions of all sequences, D width, V vocabulary. Hidden states are [N, D], row by row.

use std::path::Path;

use burn::Tensor;
use burn::tensor::Device;
use collimate_kernels::{Heads, Linear, Rotary, attention, embed, recompute, rms_norm};
use rayon::prelude::*;

use crate::{Config, Layout, Weights, WeightsError};

/// Weights arranged for computing: projections that read the same input are one matrix. It samples and scores; its
/// [`Transformer::tracked`] twin is the training forward.
#[derive(Clone, Debug)]
pub struct Transformer {
    pub(crate) config: Config,
    pub(crate) heads: Heads,
    pub(crate) rotary: Rotary,
    pub(crate) table: Linear,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor<2>, // [1, D]
    recomputes: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Tensor<2>, // [1, D]
    pub(crate) qkv: Linear,               // [(H + 2K) d, D]
    pub(crate) out: Linear,               // [D, H d]
    pub(crate) ffn_norm: Tensor<2>,       // [1, D]
    pub(crate) gate_up: Linear,           // [2F, D]
    pub(crate) down: Linear,              // [D, F]
}

const TABLE: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm.weight";
const ATTENTION_NORM: &str = "input_layernorm";
const QKV: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
const OUT: &str = "self_attn.o_proj";
const FFN_NORM: &str = "post_attention_layernorm";
const GATE_UP: [&str; 2] = ["mlp.gate_proj", "mlp.up_proj"];
const DOWN: &str = "mlp.down_proj";

fn layer_name(index: usize, name: &str) -> String {
    format!("model.layers.{index}.{name}.weight")
}

impl Transformer {
    /// For inference: what is arranged for computing is kept.
    pub fn new(weights: &Weights) -> Transformer {
        Transformer::arrange(weights, |matrix| Linear::with_precision(matrix, weights.precision()))
    }

    /// For a training step: each matrix is arranged when it is needed, and not kept.
    pub fn passing(weights: &Weights) -> Transformer {
        Transformer::arrange(weights, |matrix| Linear::with_precision(matrix, weights.precision()).passing())
    }

    fn arrange(weights: &Weights, linear: impl Fn(Tensor<2>) -> Linear + Sync) -> Transformer {
        let (config, tensors) = (weights.config(), weights.tensors());
        let get = |name: &str| tensors[name].clone();
        let layer = |index: usize| {
            let get = |name: &str| get(&layer_name(index, name));
            let stack = |names: &[&str]| linear(Tensor::cat(names.iter().map(|name| get(name)).collect(), 0));
            Layer {
                attention_norm: get(ATTENTION_NORM),
                qkv: stack(&QKV),
                out: linear(get(OUT)),
                ffn_norm: get(FFN_NORM),
                gate_up: stack(&GATE_UP),
                down: linear(get(DOWN)),
            }
        };
        Transformer {
            heads: config.heads(),
            rotary: Rotary::new(config.max_position_embeddings, config.head_dim, config.rope_theta),
            table: linear(get(TABLE)),
            layers: (0..config.num_hidden_layers).into_par_iter().map(layer).collect(),
            norm: get(NORM),
            recomputes: weights.recomputes(),
            config: config.clone(),
        }
    }

    /// The same weights, each the leaf of an autodiff graph; what was arranged for computing is shared.
    pub fn tracked(&self) -> Transformer {
        let leaf = |tensor: &Tensor<2>| tensor.clone().autodiff().require_grad();
        Transformer {
            table: self.table.tracked(),
            layers: self.layers.iter().map(|it| it.over(it.weights().map(leaf))).collect(),
            norm: leaf(&self.norm),
            ..self.clone()
        }
    }

    /// Every tensor as it is arranged, with the Hugging Face names of the tensors that are stacked in it, top first.
    pub fn parameters(&self) -> Vec<(Vec<String>, &Tensor<2>)> {
        let mut all = vec![(vec![TABLE.to_owned()], self.table.weight()), (vec![NORM.to_owned()], &self.norm)];
        for (index, layer) in self.layers.iter().enumerate() {
            let named = |names: &[&str]| names.iter().map(|name| layer_name(index, name)).collect::<Vec<_>>();
            all.extend([
                (named(&[ATTENTION_NORM]), &layer.attention_norm),
                (named(&QKV), layer.qkv.weight()),
                (named(&[OUT]), layer.out.weight()),
                (named(&[FFN_NORM]), &layer.ffn_norm),
                (named(&GATE_UP), layer.gate_up.weight()),
                (named(&[DOWN]), layer.down.weight()),
            ]);
        }
        all
    }

    /// Loads a checkpoint directory for inference.
    pub fn load(dir: &Path, device: &Device) -> Result<Transformer, WeightsError> {
        Ok(Transformer::new(&Weights::load(dir, device)?))
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Final hidden states of `tokens`, [N], which make up sequences as `layout` says: their lengths alone, where they share
    /// nothing. Returns [N, D], normalised, ready for the head.
    pub fn forward(&self, tokens: &[u32], layout: impl Into<Layout>) -> Tensor<2> {
        let rest = Rest { heads: self.heads, rotary: self.rotary.clone(), layout: layout.into(), eps: self.eps() };
        let x = embed(self.table.weight().clone(), tokens);
        let x = self.layers.iter().fold(x, |x, layer| {
            if self.recomputes { layer.recomputed(x, rest.clone()) } else { layer.apply(x, &rest) }
        });
        rms_norm(x, self.norm.clone(), rest.eps)
    }

    /// Logits over the vocabulary of hidden states [n, D]; returns [n, V].
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.table.apply(hidden)
    }

    /// The head's table, [V, D]: also the embedding.
    pub fn head(&self) -> &Linear {
        &self.table
    }

    fn eps(&self) -> f32 {
        self.config.rms_norm_eps as f32
    }
}

/// What a layer is computed with besides its weights.
#[derive(Clone)]
struct Rest {
    heads: Heads,
    rotary: Rotary,
    layout: Layout,
    eps: f32,
}

impl Rest {
    /// Attention of the projections `qkv` [N, (H + 2K) d] within sequences, [N, H d].
    fn attention(&self, qkv: Tensor<2>) -> Tensor<2> {
        let Layout { lengths, shared } = &self.layout;
        let within = |qkv| attention(qkv, self.heads, &self.rotary, lengths);
        match shared {
            None => within(qkv),
            // Attention alone sees a shared position once per sequence: it is little beside the products.
            Some(shared) => embed(within(embed(qkv, &shared.computed)), &shared.first),
        }
    }
}

impl Layer {
    fn weights(&self) -> [&Tensor<2>; 6] {
        let Layer { attention_norm, qkv, out, ffn_norm, gate_up, down } = self;
        [attention_norm, qkv.weight(), out.weight(), ffn_norm, gate_up.weight(), down.weight()]
    }

    /// With the same numbers in another graph or in none, in the order of [`Layer::weights`]; what was arranged is shared.
    fn over(&self, [attention_norm, qkv, out, ffn_norm, gate_up, down]: [Tensor<2>; 6]) -> Layer {
        Layer {
            attention_norm,
            qkv: self.qkv.over(qkv),
            out: self.out.over(out),
            ffn_norm,
            gate_up: self.gate_up.over(gate_up),
            down: self.down.over(down),
        }
    }

    /// What the residual stream `x` [N, D] becomes.
    fn apply(&self, x: Tensor<2>, rest: &Rest) -> Tensor<2> {
        let qkv = self.qkv.after_norm(x.clone(), self.attention_norm.clone(), rest.eps);
        let x = x + self.out.apply(rest.attention(qkv));
        let gate_up = self.gate_up.after_norm(x.clone(), self.ffn_norm.clone(), rest.eps);
        x + self.down.after_swiglu(gate_up)
    }

    /// The same, of which only `x` is kept for the backward pass.
    fn recomputed(&self, x: Tensor<2>, rest: Rest) -> Tensor<2> {
        let [a, b, c, d, e, f] = self.weights().map(Tensor::clone);
        let without_graph = |it: &Tensor<2>| if it.is_autodiff() { it.clone().inner() } else { it.clone() };
        let layer = self.over(self.weights().map(without_graph));
        recompute([x, a, b, c, d, e, f], move |[x, weights @ ..]| layer.over(weights).apply(x, &rest))
    }
}
