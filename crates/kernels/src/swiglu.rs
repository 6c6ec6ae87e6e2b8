//! The gated activation of the feed-forward block: y = silu(gate) up, silu(g) = g sigmoid(g).

use burn::backend::flex::FlexTensor;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::area::unwritten;
use crate::device::tensor;
use crate::lanes::{ROWS_PER_TASK, exp, filled, simd};

/// `silu(gate) * up` on plain numbers: `gate_up` is [N, 2F] row by row, gate first, F `width`; `out`, [N, F], is overwritten.
pub fn swiglu_rows(gate_up: &[f32], width: usize, out: &mut [f32]) {
    let inputs = gate_up.par_chunks(2 * width * ROWS_PER_TASK);
    out.par_chunks_mut(width * ROWS_PER_TASK).zip(inputs).for_each(|(out, inputs)| task(inputs, width, unwritten(out)));
}

/// Writes all of `out`.
fn task(inputs: &[f32], width: usize, out: &mut [MaybeUninit<f32>]) {
    simd(
        #[inline(always)]
        || {
            for (out, input) in out.chunks_exact_mut(width).zip(inputs.chunks_exact(2 * width)) {
                let (gate, up) = input.split_at(width);
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    out.write(gate * up / (1.0 + exp(-gate)));
                }
            }
        },
    );
}

/// The same of a tensor [N, 2F].
pub(crate) fn gated(gate_up: &FlexTensor) -> Vec<f32> {
    let [n_rows, both] = gate_up.layout().shape().dims();
    let (width, inputs) = (both / 2, gate_up.storage::<f32>());
    let each = width * ROWS_PER_TASK;
    let task = |at, out: &mut [_]| task(&inputs[2 * at * each..][..2 * out.len()], width, out);
    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    // SAFETY: a task writes all its numbers.
    unsafe {
        filled(n_rows * width, each, task)
    }
}

/// With s = sigmoid(gate): dgate = g up s (1 + gate (1 - s)), dup = g gate s. Returns [N, 2F].
pub(crate) fn backward(grad: &FlexTensor, gate_up: &FlexTensor) -> FlexTensor {
    let [n_rows, both] = gate_up.layout().shape().dims();
    let width = both / 2;
    let (inputs, grads) = (gate_up.storage::<f32>(), grad.storage::<f32>());
    let each = both * ROWS_PER_TASK;
    let task = |at, out: &mut [MaybeUninit<f32>]| {
        let inputs = inputs[at * each..].chunks_exact(both);
        let grads = grads[at * each / 2..].chunks_exact(width);
        let rows = out.chunks_exact_mut(both).zip(inputs.zip(grads));
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
                        dgate.write(grad * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)));
                        dup.write(grad * gate * sigmoid);
                    }
                }
            },
        );
    };
    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    // SAFETY: a task writes both halves of its rows.
    let out = unsafe { filled(n_rows * both, each, task) };
    tensor(out, [n_rows, both])
}
