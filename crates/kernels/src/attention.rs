//! Causal self-attention with rotary positions over grouped queries. Training and prefill see whole right-padded sequences
//! ([`attention`]); sampling sees one new token per row against what the row has cached ([`cached_attention`](crate::cached_attention)).

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use rayon::prelude::*;

use crate::device::{on_flex, tensor};
use crate::sequence::{SequenceBackward, SequenceForward};
use crate::{Rotary, plain};

/// How a projection [.., (H + 2K) d] divides into heads: queries, then keys, then values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// H, a multiple of K.
    pub n_query: usize,
    /// K; each serves H / K query heads.
    pub n_kv: usize,
    /// d, even.
    pub width: usize,
}

impl Heads {
    /// Width of the fused projection, (H + 2K) d.
    pub fn fused_width(self) -> usize {
        (self.n_query + 2 * self.n_kv) * self.width
    }

    /// Width of the output, H d.
    pub fn out_width(self) -> usize {
        self.n_query * self.width
    }

    /// What scores are multiplied by, 1 / sqrt(d).
    pub(crate) fn scale(self) -> f32 {
        (self.width as f32).powf(-0.5)
    }
}

/// Causal self-attention of B sequences of `time` positions each, from position 0: `qkv` is [B*T, (H + 2K) d], before
/// rotation; returns [B*T, H d]. Padding on the right needs no mask: nothing before it sees it.
pub fn attention(qkv: Tensor<2>, heads: Heads, rotary: &Rotary, time: usize) -> Tensor<2> {
    assert!(time <= rotary.n_positions(), "{time} positions exceed the {} of the rotary tables", rotary.n_positions());
    assert_eq!(qkv.dims()[1], heads.fused_width(), "the projection's width must be (H + 2K) d");
    assert_eq!(qkv.dims()[0] % time, 0, "rows must be whole sequences");
    if !on_flex(&qkv) {
        return plain::attention(qkv, heads, rotary, time);
    }
    let shape = Shape { heads, rotary: rotary.clone(), time };
    Tensor::from_dispatch(<Dispatch as Attention>::attention(qkv.into_dispatch(), shape))
}

/// What the operation needs besides its tensor.
#[derive(Clone, Debug)]
struct Shape {
    heads: Heads,
    rotary: Rotary,
    time: usize,
}

#[backend_extension(Flex, Autodiff)]
trait Attention: Backend {
    fn attention(qkv: FloatTensor<Self>, shape: Shape) -> FloatTensor<Self>;
}

impl Attention for Flex {
    fn attention(qkv: FlexTensor, shape: Shape) -> FlexTensor {
        let Shape { heads, rotary, time } = shape;
        let qkv = qkv.to_contiguous();
        let n_rows = qkv.layout().shape()[0];
        let mut out = vec![0.0_f32; n_rows * heads.out_width()];
        let sequences = qkv.storage::<f32>().par_chunks(time * heads.fused_width());
        out.par_chunks_mut(time * heads.out_width()).zip(sequences).for_each(|(out, qkv)| {
            crate::lanes::dispatch(SequenceForward { heads, rotary: &rotary, time, qkv, out });
        });
        tensor(out, [n_rows, heads.out_width()])
    }
}

fn backward(grad: &FlexTensor, qkv: &FlexTensor, shape: &Shape) -> FlexTensor {
    let Shape { heads, rotary, time } = shape;
    let (heads, time) = (*heads, *time);
    let n_rows = qkv.layout().shape()[0];
    let mut dqkv = vec![0.0_f32; n_rows * heads.fused_width()];
    let sequences = qkv.storage::<f32>().par_chunks(time * heads.fused_width());
    let grads = grad.storage::<f32>().par_chunks(time * heads.out_width());
    dqkv.par_chunks_mut(time * heads.fused_width()).zip(sequences.zip(grads)).for_each(|(dqkv, (qkv, grad))| {
        crate::lanes::dispatch(SequenceBackward { heads, rotary, time, qkv, grad, dqkv });
    });
    tensor(dqkv, [n_rows, heads.fused_width()])
}

impl<C: CheckpointStrategy> Attention for Autodiff<Flex, C> {
    fn attention(qkv: FloatTensor<Self>, shape: Shape) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Attend;
        impl Backward<Flex, 1> for Attend {
            type State = (FlexTensor, Shape);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (qkv, shape) = ops.state;
                let [node] = ops.parents;
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, backward(&grad, &qkv.to_contiguous(), &shape));
                }
            }
        }
        let (qkv, node) = qkv.into_parts();
        match Attend.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((qkv.clone(), shape.clone()), Flex::attention(qkv, shape)),
            OpsKind::UnTracked(prep) => prep.finish(Flex::attention(qkv, shape)),
        }
    }
}
