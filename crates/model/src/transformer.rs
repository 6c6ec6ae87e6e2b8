//! The forward pass of training and scoring, over whole sequences. A sequence is embedded, passes through the layers, and the
//! head is the embedding table, transposed, where it has no weights of its own.
//!
//! Shapes: N positions of all sequences, D width, V vocabulary. Hidden states are [N, D], row by row.

use std::cell::RefCell;

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
    table: Linear,
    own_head: Option<Linear>,
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
        let head = |it: Linear| if is_large { it.passing() } else { it };
        Transformer { table: head(kept.table), own_head: kept.own_head.map(head), ..kept }
    }

    /// For a training step: each matrix is arranged when it is needed, and not kept.
    pub fn passing(weights: &Weights, compute: Compute) -> Transformer {
        Transformer::arrange(weights, compute, |matrix| Linear::with_precision(matrix, compute.precision).passing())
    }

    fn arrange(weights: &Weights, compute: Compute, linear: impl Fn(Tensor<2>) -> Linear + Sync) -> Transformer {
        let shape = weights.shape();
        let scaling = shape.extras.rope_scaling;
        let get = |param: &Param| weights.tensors()[&param.name].clone();
        let joined = |params: &Vec<Param>, dim| match params.as_slice() {
            [param] => get(param),
            several => Tensor::cat(several.iter().map(get).collect(), dim),
        };
        let layer = |index| shape.layer(index).map(|it| joined(it, 1), |it| linear(joined(it, 0)));
        Transformer {
            rotary: Rotary::with_speeds(
                shape.n_positions,
                &scaling.speeds(shape.heads.width, shape.rope_theta),
                scaling.magnitude(),
            ),
            table: linear(get(&shape.table())),
            own_head: shape.head().map(|it| linear(get(&it))),
            layers: (0..shape.n_layers).into_par_iter().map(layer).collect(),
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
            own_head: self.own_head.as_ref().map(Linear::tracked),
            layers: self.layers.iter().map(|it| it.map(leaf, Linear::tracked)).collect(),
            norm: leaf(&self.norm),
            ..self.clone()
        }
    }

    /// Every tensor as it is arranged, one for each group of [`Shape::arranged`].
    pub fn tensors(&self) -> Vec<&Tensor<2>> {
        let layers = self.layers.iter().flat_map(Layer::tensors);
        let head = self.own_head.as_ref().map(Linear::weight);
        [self.table.weight(), &self.norm].into_iter().chain(head).chain(layers).collect()
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
        self.head().apply(hidden)
    }

    /// The embeddings, [V, D].
    pub(crate) fn table(&self) -> &Tensor<2> {
        self.table.weight()
    }

    /// The head's table, [V, D]: the embedding, unless it has weights of its own.
    pub fn head(&self) -> &Linear {
        self.own_head.as_ref().unwrap_or(&self.table)
    }
}

impl Layer<Tensor<2>> {
    fn tensors(&self) -> Vec<&Tensor<2>> {
        self.map(|vector| vector, Linear::weight).parts().into_iter().copied().collect()
    }

    /// With the same numbers in another graph or in none, in the order of [`Layer::tensors`]; what was arranged is shared.
    fn over(&self, tensors: impl IntoIterator<Item = Tensor<2>>) -> Layer<Tensor<2>> {
        let tensors = RefCell::new(tensors.into_iter());
        let next = || tensors.borrow_mut().next().expect("a tensor for each");
        self.map(|_| next(), |matrix| matrix.over(next()))
    }

    /// What [`Layer::apply`] returns, of which only `x` is kept for the backward pass.
    fn recomputed(&self, x: Tensor<2>, whole: &Whole) -> Tensor<2> {
        let without_graph = |it: &Tensor<2>| if it.is_autodiff() { it.clone().inner() } else { it.clone() };
        let layer = self.over(self.tensors().into_iter().map(without_graph));
        let whole = whole.clone();
        let inputs = std::iter::once(x).chain(self.tensors().into_iter().cloned()).collect();
        recompute(inputs, move |inputs| {
            let mut inputs = inputs.into_iter();
            let x = inputs.next().expect("what it is computed of");
            layer.over(inputs).apply(x, &mut whole.clone())
        })
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
    type Vector = Tensor<2>;
    type Rows = Tensor<2>;

    fn after_norm(&mut self, x: &Tensor<2>, norm: &Tensor<2>, matrix: &Linear) -> Tensor<2> {
        matrix.after_norm(x.clone(), norm.clone(), self.eps)
    }

    fn add_bias(&mut self, x: Tensor<2>, bias: &Tensor<2>) -> Tensor<2> {
        x + bias.clone()
    }

    fn norm_heads(&mut self, qkv: Tensor<2>, norms: &[Tensor<2>; 2]) -> Tensor<2> {
        let (Heads { n_query, n_kv, width }, [n, _]) = (self.heads, qkv.dims());
        let part = |first: usize, heads: usize| qkv.clone().narrow(1, first * width, heads * width);
        let normed = |first, heads, norm: &Tensor<2>| {
            let rows = part(first, heads).reshape([n * heads, width]);
            rms_norm(rows, norm.clone(), self.eps).reshape([n, heads * width])
        };
        let [query, key] = norms;
        Tensor::cat(vec![normed(0, n_query, query), normed(n_query, n_kv, key), part(n_query + n_kv, n_kv)], 1)
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
