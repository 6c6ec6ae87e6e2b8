//! One layer, written once: it adds attention and a gated feed-forward to the residual stream. What the operations run on,
//! tensors of a training step or plain rows over what sequences have cached, is for [`Operations`] to say.

use collimate_kernels::Linear;

/// What a layer has: norms of type `N`, and matrices `M` of which some are several parameters, stacked.
#[derive(Clone, Debug)]
pub(crate) struct Layer<N, M = Linear> {
    /// Which one it is, from 0.
    pub(crate) index: usize,
    pub(crate) attention_norm: N, // [1, D]
    pub(crate) qkv: M,            // [(H + 2K) d, D]
    pub(crate) out: M,            // [D, H d]
    pub(crate) ffn_norm: N,       // [1, D]
    pub(crate) gate_up: M,        // [2F, D]
    pub(crate) down: M,           // [D, F]
}

/// What a layer is computed with.
pub(crate) trait Operations {
    /// The weight of a norm.
    type Norm;
    /// Positions [N, ..], row by row.
    type Rows;

    /// `x` [N, D], normalised, times `matrix`.
    fn after_norm(&mut self, x: &Self::Rows, norm: &Self::Norm, matrix: &Linear) -> Self::Rows;
    /// Attention in layer number `layer` of the projections `qkv` [N, (H + 2K) d]; [N, H d].
    fn attention(&mut self, layer: usize, qkv: Self::Rows) -> Self::Rows;
    /// `x` times `matrix`.
    fn product(&mut self, x: Self::Rows, matrix: &Linear) -> Self::Rows;
    /// silu(gate) * up of `gate_up` [N, 2F], times `matrix`.
    fn after_swiglu(&mut self, gate_up: Self::Rows, matrix: &Linear) -> Self::Rows;
    /// `x + more`.
    fn add(&mut self, x: Self::Rows, more: Self::Rows) -> Self::Rows;
}

impl<N> Layer<N> {
    /// What the residual stream `x` [N, D] becomes.
    pub(crate) fn apply<O: Operations<Norm = N>>(&self, x: O::Rows, with: &mut O) -> O::Rows {
        let qkv = with.after_norm(&x, &self.attention_norm, &self.qkv);
        let mixed = with.attention(self.index, qkv);
        let mixed = with.product(mixed, &self.out);
        let x = with.add(x, mixed);

        let gate_up = with.after_norm(&x, &self.ffn_norm, &self.gate_up);
        let fed = with.after_swiglu(gate_up, &self.down);
        with.add(x, fed)
    }
}

impl<N, M> Layer<N, M> {
    /// The same layer of other things.
    pub(crate) fn map<'a, N2, M2>(&'a self, norm: impl Fn(&'a N) -> N2, matrix: impl Fn(&'a M) -> M2) -> Layer<N2, M2> {
        Layer {
            index: self.index,
            attention_norm: norm(&self.attention_norm),
            qkv: matrix(&self.qkv),
            out: matrix(&self.out),
            ffn_norm: norm(&self.ffn_norm),
            gate_up: matrix(&self.gate_up),
            down: matrix(&self.down),
        }
    }
}

impl<T> Layer<T, T> {
    /// Its parts, in the order in which they are computed with.
    pub(crate) fn into_parts(self) -> [T; 6] {
        let Layer { index: _, attention_norm, qkv, out, ffn_norm, gate_up, down } = self;
        [attention_norm, qkv, out, ffn_norm, gate_up, down]
    }
}
