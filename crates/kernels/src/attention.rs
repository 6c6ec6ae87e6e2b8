//! Causal self-attention with rotary positions over grouped queries. Training and prefill see whole sequences, packed without
//! padding ([`attention`]); sampling sees one new token per row against what the row has cached ([`cached_attention`](crate::cached_attention)).

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use rayon::prelude::*;

use crate::amx::with_unit;
use crate::device::{on_flex, tensor};
use crate::heads::Heads;
use crate::lanes::{Unwritten, dispatch};
use crate::packed::multiplies_tiles;
use crate::plain;
use crate::precision::Precision;
use crate::rotary::Rotary;
use crate::sequence::{Derivative, Forward, Group};

/// Causal self-attention within each of the sequences that are packed one after the other, each from position 0: `qkv` is
/// [N, (H + 2K) d], before rotation, and `lengths` add up to N; returns [N, H d]. Its products are taken in `precision` where
/// that is fast, on [`InstructionSet::Amx`](crate::InstructionSet::Amx), and in f32 elsewhere.
pub fn attention(qkv: Tensor<2>, heads: Heads, rotary: &Rotary, lengths: &[usize], precision: Precision) -> Tensor<2> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let [n_rows, width] = qkv.dims();
    assert!(
        longest <= rotary.n_positions(),
        "{longest} positions exceed the {} of the rotary tables",
        rotary.n_positions()
    );
    let Heads { n_query, n_kv, .. } = heads;
    assert!(n_kv > 0 && n_query.is_multiple_of(n_kv), "{n_query} query heads share {n_kv} key-value heads evenly");
    assert_eq!(width, heads.fused_width(), "the projection's width must be (H + 2K) d");
    assert_eq!(n_rows, lengths.iter().sum::<usize>(), "the lengths must add up to the rows");
    if !on_flex(&qkv) {
        return plain::attention(qkv, heads, rotary, lengths);
    }
    let shape = Shape { heads, rotary: rotary.clone(), lengths: lengths.into(), of_tiles: multiplies_tiles(precision) };
    Tensor::from_dispatch(<Dispatch as Attention>::attention(qkv.into_dispatch(), shape))
}

/// What the operation needs besides its tensor.
#[derive(Clone, Debug)]
struct Shape {
    heads: Heads,
    rotary: Rotary,
    lengths: Arc<[usize]>,
    /// Products are those of tiles.
    of_tiles: bool,
}

impl Shape {
    /// Each sequence's rows of a matrix [N, `width`].
    fn sequences<'a>(&self, mut rows: &'a [f32], width: usize) -> Vec<&'a [f32]> {
        self.lengths.iter().map(|it| rows.split_off(..it * width).expect(ADD_UP)).collect()
    }

    /// The same, to be written.
    fn sequences_mut<'a>(&self, mut rows: &'a mut [MaybeUninit<f32>], width: usize) -> Vec<&'a mut [MaybeUninit<f32>]> {
        self.lengths.iter().map(|it| rows.split_off_mut(..it * width).expect(ADD_UP)).collect()
    }
}

const ADD_UP: &str = "the lengths add up to the rows";

#[backend_extension(Flex, Autodiff)]
trait Attention: Backend {
    fn attention(qkv: FloatTensor<Self>, shape: Shape) -> FloatTensor<Self>;
}

// Sequences run side by side, and in each its key-value heads: one long sequence keeps as many cores busy as it has of them.
impl Attention for Flex {
    fn attention(qkv: FlexTensor, shape: Shape) -> FlexTensor {
        let (heads, qkv) = (shape.heads, qkv.to_contiguous());
        let [n_rows, fused_width] = qkv.layout().shape().dims();
        let n = n_rows * heads.out_width();
        let mut out = Unwritten::of(n);
        let sequences = shape.sequences(qkv.storage(), fused_width);
        let outs = shape.sequences_mut(out.room(n), heads.out_width());
        outs.into_par_iter().zip(sequences).for_each(|(out, qkv)| {
            let of = |kv_head| {
                let forward = Forward(Group { heads, kv_head, rotary: &shape.rotary, qkv });
                if shape.of_tiles { with_unit(forward) } else { dispatch(forward) }
            };
            let parts: Vec<Vec<f32>> = (0..heads.n_kv).into_par_iter().map(of).collect();
            for (kv_head, part) in parts.iter().enumerate() {
                put(part, out, heads.out_width(), &heads.places(kv_head)[..1]);
            }
        });
        #[expect(unsafe_code, reason = "the compiler does not see what is written")]
        // SAFETY: sequences are all rows, and their key-value heads' places all columns of the output.
        let out = unsafe { out.written(n) };
        tensor(out, [n_rows, heads.out_width()])
    }
}

fn backward(grad: &FlexTensor, qkv: &FlexTensor, shape: &Shape) -> FlexTensor {
    let heads = shape.heads;
    let [n_rows, fused_width] = qkv.layout().shape().dims();
    let n = n_rows * fused_width;
    let mut dqkv = Unwritten::of(n);
    let sequences = shape.sequences(qkv.storage(), fused_width);
    let grads = shape.sequences(grad.storage(), heads.out_width());
    let dqkvs = shape.sequences_mut(dqkv.room(n), fused_width);
    dqkvs.into_par_iter().zip(sequences).zip(grads).for_each(|((dqkv, qkv), grad)| {
        let of = |kv_head| {
            let group = Group { heads, kv_head, rotary: &shape.rotary, qkv };
            let derivative = Derivative { group, grad };
            if shape.of_tiles { with_unit(derivative) } else { dispatch(derivative) }
        };
        let parts: Vec<Vec<f32>> = (0..heads.n_kv).into_par_iter().map(of).collect();
        for (kv_head, part) in parts.iter().enumerate() {
            put(part, dqkv, fused_width, &heads.places(kv_head));
        }
    });
    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    // SAFETY: sequences are all rows, and their key-value heads' places all columns of the projection.
    let dqkv = unsafe { dqkv.written(n) };
    tensor(dqkv, [n_rows, fused_width])
}

/// Copies each row of `part` to the columns `places` of its row of `whole`, of rows of `width`.
fn put(part: &[f32], whole: &mut [MaybeUninit<f32>], width: usize, places: &[Range<usize>]) {
    let part_width: usize = places.iter().map(Range::len).sum();
    for (mut part, whole) in part.chunks_exact(part_width).zip(whole.chunks_exact_mut(width)) {
        for place in places {
            let (here, rest) = part.split_at(place.len());
            whole[place.clone()].write_copy_of_slice(here);
            part = rest;
        }
    }
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
