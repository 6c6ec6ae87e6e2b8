//! The forward pass of training and scoring, over whole sequences. A sequence is embedded, passes through the layers, and the
//! head is the embedding table, transposed.
//!
//! Shapes: N positions of all sequences, D width, V vocabulary. Hidden states are [N, D], row by row.

use burn::Tensor;
use collimate_kernels::{Heads, Linear, Precision, Rotary, Values, attention, embed, recompute, rms_norm};
use rayon::prelude::*;

use crate::arch::{Layer, Operations};
use crate::{Compute, Layout, Param, Shape, Weights};

/// Weights arranged for computing: projections that read the same input are one matrix. It samples and scores; its
/// [`Transformer::tracked`] twin is the training forward.
#[derive(Clone, Debug)]
pub struct Transformer {
    pub(crate) shape: Shape,
    pub(crate) rotary: Rotary,
    pub(crate) table: Linear,
    pub(crate) layers: Vec<Layer<Tensor<2>>>,
    pub(crate) norm: Tensor<2>, // [1, D]
    pub(crate) precision: Precision,
    recompute: bool,
}

/// Most numbers of a table that is kept arranged beside itself: 64 MiB.
const MOST_KEPT: usize = 1 << 24;

impl Transformer {
    /// For inference: what is arranged for computing is kept, but for a table that is too large to be there twice.
    pub fn new(weights: &Weights, compute: Compute) -> Transformer {
        let kept = Transformer::arrange(weights, compute, |matrix| Linear::with_precision(matrix, compute.precision));
        let is_large = weights.shape().table().size() > MOST_KEPT;
        Transformer { table: if is_large { kept.table.passing() } else { kept.table }, ..kept }
    }

    /// For a training step: each matrix is arranged when it is needed, and not kept.
    pub fn passing(weights: &Weights, compute: Compute) -> Transformer {
        Transformer::arrange(weights, compute, |matrix| Linear::with_precision(matrix, compute.precision).passing())
    }

    fn arrange(weights: &Weights, compute: Compute, linear: impl Fn(Tensor<2>) -> Linear + Sync) -> Transformer {
        let shape = weights.shape();
        let get = |param: &Param| weights.tensors()[&param.name].clone();
        let stack = |params: &Vec<Param>| {
            linear(match params.as_slice() {
                [param] => get(param),
                several => Tensor::cat(several.iter().map(get).collect(), 0),
            })
        };
        Transformer {
            rotary: Rotary::new(shape.n_positions, shape.heads.width, shape.rope_theta),
            table: linear(get(&shape.table())),
            layers: (0..shape.n_layers).into_par_iter().map(|it| shape.layer(it).map(get, stack)).collect(),
            norm: get(&shape.norm()),
            // Other devices multiply in f32, so what samples on them attends in f32 here.
            precision: match Values::in_place(&get(&shape.norm())) {
                Some(_) => compute.precision,
                None => Precision::F32,
            },
            recompute: compute.recompute,
            shape: shape.clone(),
        }
    }

    /// The same weights, each the leaf of an autodiff graph; what was arranged for computing is shared.
    pub fn tracked(&self) -> Transformer {
        let leaf = |tensor: &Tensor<2>| tensor.clone().autodiff().require_grad();
        Transformer {
            table: self.table.tracked(),
            layers: self.layers.iter().map(|it| it.map(leaf, Linear::tracked)).collect(),
            norm: leaf(&self.norm),
            ..self.clone()
        }
    }

    /// Every tensor as it is arranged, one for each group of [`Shape::arranged`].
    pub fn tensors(&self) -> Vec<&Tensor<2>> {
        let layers = self.layers.iter().flat_map(Layer::tensors);
        [self.table.weight(), &self.norm].into_iter().chain(layers).collect()
    }

    /// What is computed.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Final hidden states of `tokens`, [N], which make up sequences as `layout` says: their lengths alone, where they share
    /// nothing. Returns [N, D], normalised, ready for the head.
    pub fn forward(&self, tokens: &[u32], layout: impl Into<Layout>) -> Tensor<2> {
        let Shape { heads, norm_eps, .. } = self.shape;
        let (rotary, precision) = (self.rotary.clone(), self.precision);
        let mut whole = Whole { heads, rotary, precision, layout: layout.into(), eps: norm_eps as f32 };
        let mut x = embed(self.table.weight().clone(), tokens);
        for layer in &self.layers {
            x = if self.recompute { layer.recomputed(x, &whole) } else { layer.apply(x, &mut whole) };
        }
        rms_norm(x, self.norm.clone(), whole.eps)
    }

    /// Logits over the vocabulary of hidden states [n, D]; returns [n, V].
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.table.apply(hidden)
    }

    /// The head's table, [V, D]: also the embedding.
    pub fn head(&self) -> &Linear {
        &self.table
    }
}

impl Layer<Tensor<2>> {
    fn tensors(&self) -> [&Tensor<2>; 6] {
        self.map(|norm| norm, Linear::weight).into_parts()
    }

    /// With the same numbers in another graph or in none, in the order of [`Layer::tensors`]; what was arranged is shared.
    fn over(&self, [attention_norm, qkv, out, ffn_norm, gate_up, down]: [Tensor<2>; 6]) -> Layer<Tensor<2>> {
        Layer {
            index: self.index,
            attention_norm,
            qkv: self.qkv.over(qkv),
            out: self.out.over(out),
            ffn_norm,
            gate_up: self.gate_up.over(gate_up),
            down: self.down.over(down),
        }
    }

    /// What [`Layer::apply`] returns, of which only `x` is kept for the backward pass.
    fn recomputed(&self, x: Tensor<2>, whole: &Whole) -> Tensor<2> {
        let [a, b, c, d, e, f] = self.tensors().map(Tensor::clone);
        let without_graph = |it: &Tensor<2>| if it.is_autodiff() { it.clone().inner() } else { it.clone() };
        let layer = self.over(self.tensors().map(without_graph));
        let whole = whole.clone();
        recompute([x, a, b, c, d, e, f], move |[x, weights @ ..]| layer.over(weights).apply(x, &mut whole.clone()))
    }
}

/// Operations on tensors, with or without autodiff, over whole sequences.
#[derive(Clone)]
struct Whole {
    heads: Heads,
    rotary: Rotary,
    precision: Precision,
    layout: Layout,
    eps: f32,
}

impl Operations for Whole {
    type Norm = Tensor<2>;
    type Rows = Tensor<2>;

    fn after_norm(&mut self, x: &Tensor<2>, norm: &Tensor<2>, matrix: &Linear) -> Tensor<2> {
        matrix.after_norm(x.clone(), norm.clone(), self.eps)
    }

    fn attention(&mut self, _: usize, qkv: Tensor<2>) -> Tensor<2> {
        let Layout { lengths, shared } = &self.layout;
        let within = |qkv| attention(qkv, self.heads, &self.rotary, lengths, self.precision);
        match shared {
            None => within(qkv),
            // Attention alone sees a shared position once per sequence: it is little beside the products.
            Some(shared) => embed(within(embed(qkv, &shared.computed)), &shared.first),
        }
    }

    fn product(&mut self, x: Tensor<2>, matrix: &Linear) -> Tensor<2> {
        matrix.apply(x)
    }

    fn after_swiglu(&mut self, gate_up: Tensor<2>, matrix: &Linear) -> Tensor<2> {
        matrix.after_swiglu(gate_up)
    }

    fn add(&mut self, x: Tensor<2>, more: Tensor<2>) -> Tensor<2> {
        x + more
    }
}
