//! The gated activation of the feed-forward block: y = silu(gate) up, silu(g) = g sigmoid(g).

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use rayon::prelude::*;

use crate::device::{on_flex, tensor};
use crate::lanes::{ROWS_PER_TASK, exp, simd};
use crate::plain;

/// `silu(gate) * up`: `gate_up` is [N, 2F], gate first; returns [N, F].
pub fn swiglu(gate_up: Tensor<2>) -> Tensor<2> {
    if !on_flex(&gate_up) {
        return plain::swiglu(gate_up);
    }
    Tensor::from_dispatch(<Dispatch as Swiglu>::swiglu(gate_up.into_dispatch()))
}

/// The same on plain numbers, to the bit: `gate_up` is [N, 2F] row by row, F `width`; `out`, [N, F], is overwritten.
pub fn swiglu_rows(gate_up: &[f32], width: usize, out: &mut [f32]) {
    let inputs = gate_up.par_chunks(2 * width * ROWS_PER_TASK);
    out.par_chunks_mut(width * ROWS_PER_TASK).zip(inputs).for_each(|(out, inputs)| {
        simd(
            #[inline(always)]
            || {
                for (out, input) in out.chunks_exact_mut(width).zip(inputs.chunks_exact(2 * width)) {
                    let (gate, up) = input.split_at(width);
                    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                        *out = gate * up / (1.0 + exp(-gate));
                    }
                }
            },
        );
    });
}

#[backend_extension(Flex, Autodiff)]
trait Swiglu: Backend {
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Swiglu for Flex {
    fn swiglu(gate_up: FlexTensor) -> FlexTensor {
        let gate_up = gate_up.to_contiguous();
        let [n_rows, both] = gate_up.layout().shape().dims();
        let width = both / 2;
        let mut out = vec![0.0_f32; n_rows * width];
        swiglu_rows(gate_up.storage(), width, &mut out);
        tensor(out, [n_rows, width])
    }
}

/// With s = sigmoid(gate): dgate = g up s (1 + gate (1 - s)), dup = g gate s. Returns [N, 2F].
fn backward(grad: &FlexTensor, gate_up: &FlexTensor) -> FlexTensor {
    let [n_rows, both] = gate_up.layout().shape().dims();
    let width = both / 2;
    let mut out = vec![0.0_f32; n_rows * both];
    let inputs = gate_up.storage::<f32>().par_chunks(both * ROWS_PER_TASK);
    let grads = grad.storage::<f32>().par_chunks(width * ROWS_PER_TASK);
    out.par_chunks_mut(both * ROWS_PER_TASK).zip(inputs.zip(grads)).for_each(|(out, (inputs, grads))| {
        let rows = out.chunks_exact_mut(both).zip(inputs.chunks_exact(both).zip(grads.chunks_exact(width)));
        simd(
            #[inline(always)]
            || {
                for (out, (input, grad)) in rows {
                    let (gate, up) = input.split_at(width);
                    let (dgate, dup) = out.split_at_mut(width);
                    for (((gate, up), grad), (dgate, dup)) in
                        gate.iter().zip(up).zip(grad).zip(dgate.iter_mut().zip(dup))
                    {
                        let sigmoid = 1.0 / (1.0 + exp(-gate));
                        *dgate = grad * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
                        *dup = grad * gate * sigmoid;
                    }
                }
            },
        );
    });
    tensor(out, [n_rows, both])
}

impl<C: CheckpointStrategy> Swiglu for Autodiff<Flex, C> {
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Gate;
        impl Backward<Flex, 1> for Gate {
            type State = FlexTensor;
            fn backward(self, ops: Ops<FlexTensor, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let [node] = ops.parents;
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, backward(&grad, &ops.state.to_contiguous()));
                }
            }
        }
        let (gate_up, node) = gate_up.into_parts();
        match Gate.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(gate_up.clone(), Flex::swiglu(gate_up)),
            OpsKind::UnTracked(prep) => prep.finish(Flex::swiglu(gate_up)),
        }
    }
}
