//! One layer, written once: it adds attention and a gated feed-forward to the residual stream. What the operations run on,
//! tensors of a training step or plain rows over what sequences have cached, is for [`Operations`] to say.

use std::cell::RefCell;

use collimate_kernels::Linear;

/// What a layer has: vectors `V` and matrices `M`, of which some are several parameters, one after the other. Not every family
/// has all of them.
#[derive(Clone, Debug)]
pub(crate) struct Layer<V, M = Linear> {
    /// Which one it is, from 0.
    pub(crate) index: usize,
    pub(crate) attention_norm: V,          // [1, D]
    pub(crate) qkv: M,                     // [(H + 2K) d, D]
    pub(crate) qkv_bias: Option<V>,        // [1, (H + 2K) d]
    pub(crate) head_norms: Option<[V; 2]>, // of queries and of keys, [1, d] each
    pub(crate) out: M,                     // [D, H d]
    pub(crate) out_bias: Option<V>,        // [1, D]
    pub(crate) ffn_norm: V,                // [1, D]
    pub(crate) gate_up: M,                 // [2F, D]
    pub(crate) gate_up_bias: Option<V>,    // [1, 2F]
    pub(crate) down: M,                    // [D, F]
    pub(crate) down_bias: Option<V>,       // [1, D]
}

/// What a layer is computed with.
pub(crate) trait Operations {
    /// The factors of a norm, or a bias.
    type Vector;
    /// Positions [N, ..], row by row.
    type Rows;

    /// `x` [N, D], normalised, times `matrix`.
    fn after_norm(&mut self, x: &Self::Rows, norm: &Self::Vector, matrix: &Linear) -> Self::Rows;
    /// `x` with `bias` added to every row.
    fn add_bias(&mut self, x: Self::Rows, bias: &Self::Vector) -> Self::Rows;
    /// The projections `qkv` [N, (H + 2K) d] with each head's queries and keys normalised, with the factors of `norms`.
    fn norm_heads(&mut self, qkv: Self::Rows, norms: &[Self::Vector; 2]) -> Self::Rows;
    /// Attention in layer number `layer` of the projections `qkv` [N, (H + 2K) d]; [N, H d].
    fn attention(&mut self, layer: usize, qkv: Self::Rows) -> Self::Rows;
    /// `x` times `matrix`.
    fn product(&mut self, x: Self::Rows, matrix: &Linear) -> Self::Rows;
    /// silu(gate) * up of `gate_up` [N, 2F], times `matrix`.
    fn after_swiglu(&mut self, gate_up: Self::Rows, matrix: &Linear) -> Self::Rows;
    /// `x + more`.
    fn add(&mut self, x: Self::Rows, more: Self::Rows) -> Self::Rows;
}

impl<V> Layer<V> {
    /// What the residual stream `x` [N, D] becomes.
    pub(crate) fn apply<O: Operations<Vector = V>>(&self, x: O::Rows, with: &mut O) -> O::Rows {
        let mut qkv = with.after_norm(&x, &self.attention_norm, &self.qkv);
        qkv = biased(qkv, &self.qkv_bias, with);
        if let Some(norms) = &self.head_norms {
            qkv = with.norm_heads(qkv, norms);
        }
        let mixed = with.attention(self.index, qkv);
        let mixed = with.product(mixed, &self.out);
        let mixed = biased(mixed, &self.out_bias, with);
        let x = with.add(x, mixed);

        let gate_up = with.after_norm(&x, &self.ffn_norm, &self.gate_up);
        let gate_up = biased(gate_up, &self.gate_up_bias, with);
        let fed = with.after_swiglu(gate_up, &self.down);
        let fed = biased(fed, &self.down_bias, with);
        with.add(x, fed)
    }
}

fn biased<O: Operations>(x: O::Rows, bias: &Option<O::Vector>, with: &mut O) -> O::Rows {
    match bias {
        Some(bias) => with.add_bias(x, bias),
        None => x,
    }
}

impl<V, M> Layer<V, M> {
    /// The same layer of other things, which are asked for in the order in which they are computed with.
    pub(crate) fn map<'a, V2, M2>(
        &'a self,
        mut vector: impl FnMut(&'a V) -> V2,
        mut matrix: impl FnMut(&'a M) -> M2,
    ) -> Layer<V2, M2> {
        Layer {
            index: self.index,
            attention_norm: vector(&self.attention_norm),
            qkv: matrix(&self.qkv),
            qkv_bias: self.qkv_bias.as_ref().map(&mut vector),
            head_norms: self.head_norms.as_ref().map(|it| it.each_ref().map(&mut vector)),
            out: matrix(&self.out),
            out_bias: self.out_bias.as_ref().map(&mut vector),
            ffn_norm: vector(&self.ffn_norm),
            gate_up: matrix(&self.gate_up),
            gate_up_bias: self.gate_up_bias.as_ref().map(&mut vector),
            down: matrix(&self.down),
            down_bias: self.down_bias.as_ref().map(&mut vector),
        }
    }
}

impl<T> Layer<T, T> {
    /// Its parts, in the order in which they are computed with.
    pub(crate) fn parts(&self) -> Vec<&T> {
        let parts = RefCell::new(Vec::new());
        self.map(|it| parts.borrow_mut().push(it), |it| parts.borrow_mut().push(it));
        parts.into_inner()
    }
}
