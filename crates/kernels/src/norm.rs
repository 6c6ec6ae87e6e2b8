//! Root-mean-square normalisation: y = x w / rms(x), rms(x) = sqrt(mean(x^2) + eps).

use std::mem::MaybeUninit;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use rayon::prelude::*;

use crate::area::unwritten;
use crate::device::{on_flex, tensor};
use crate::lanes::{ROWS_PER_TASK, Unwritten, dot, filled, simd};
use crate::plain;

/// `x / sqrt(mean(x^2) + eps) * weight`: `x` is [N, D], `weight` [1, D]; returns [N, D].
pub fn rms_norm(x: Tensor<2>, weight: Tensor<2>, eps: f32) -> Tensor<2> {
    assert_eq!(x.dims()[1], weight.dims()[1], "{WHOLE_ROWS}");
    if !on_flex(&x) {
        return plain::rms_norm(x, weight, eps);
    }
    Tensor::from_dispatch(<Dispatch as RmsNorm>::rms_norm(x.into_dispatch(), weight.into_dispatch(), eps))
}

/// The same on plain numbers, to the bit: `x` is [N, D] row by row, `weight` [D]; `out`, [N, D], is overwritten.
pub fn rms_norm_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let task = width * ROWS_PER_TASK;
    out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| of_task(x, weight, eps, unwritten(out)));
}

/// Writes all of `out`.
fn of_task(x: &[f32], weight: &[f32], eps: f32, out: &mut [MaybeUninit<f32>]) {
    let width = weight.len();
    simd(
        #[inline(always)]
        || {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let scale = inverse_rms(x, eps);
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    out.write(x * scale * weight);
                }
            }
        },
    );
}

#[backend_extension(Flex, Autodiff)]
trait RmsNorm: Backend {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;
}

impl RmsNorm for Flex {
    fn rms_norm(x: FlexTensor, weight: FlexTensor, eps: f32) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        tensor(normed(&x, &weight, eps), x.layout().shape().clone())
    }
}

/// The same of tensors [N, D] and [1, D].
pub(crate) fn normed(x: &FlexTensor, weight: &FlexTensor, eps: f32) -> Vec<f32> {
    let (xs, weights) = (x.storage::<f32>(), weight.storage::<f32>());
    assert!(xs.len().is_multiple_of(weights.len()), "{WHOLE_ROWS}");
    let each = weights.len() * ROWS_PER_TASK;
    let task = |at, out: &mut [_]| of_task(&xs[at * each..], weights, eps, out);
    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    // SAFETY: a task writes all its numbers.
    unsafe {
        filled(xs.len(), each, task)
    }
}

const WHOLE_ROWS: &str = "the norm is as wide as the rows";

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// With s = 1 / rms(x): dx = s (g w - x s^2 mean(g w x)), dw = sum over rows of g x s. Returns (dx, dw).
pub(crate) fn backward(grad: &FlexTensor, x: &FlexTensor, weight: &FlexTensor, eps: f32) -> (FlexTensor, FlexTensor) {
    let (grads, xs, weights) = (grad.storage::<f32>(), x.storage::<f32>(), weight.storage::<f32>());
    let width = weights.len();
    assert!(xs.len().is_multiple_of(width) && grads.len() == xs.len(), "{WHOLE_ROWS}");
    let task = width * ROWS_PER_TASK;
    let mut dx = Unwritten::of(xs.len());
    let partial: Vec<Vec<f32>> = dx
        .room(xs.len())
        .par_chunks_mut(task)
        .zip(xs.par_chunks(task).zip(grads.par_chunks(task)))
        .map(|(dx, (xs, grads))| {
            let (mut dw, mut scaled) = (vec![0.0_f32; width], vec![0.0_f32; width]);
            let rows = dx.chunks_exact_mut(width).zip(xs.chunks_exact(width).zip(grads.chunks_exact(width)));
            simd(
                #[inline(always)]
                || {
                    for (dx, (x, grad)) in rows {
                        let scale = inverse_rms(x, eps);
                        for (((scaled, x), grad), (weight, dw)) in
                            scaled.iter_mut().zip(x).zip(grad).zip(weights.iter().zip(&mut dw))
                        {
                            *scaled = grad * weight;
                            *dw += grad * x * scale;
                        }
                        let pull = dot(&scaled, x) / width as f32 * scale * scale;
                        for ((dx, scaled), x) in dx.iter_mut().zip(&scaled).zip(x) {
                            dx.write(scale * (scaled - x * pull));
                        }
                    }
                },
            );
            dw
        })
        .collect();
    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    // SAFETY: the tasks divide the room without a gap, and each wrote all its rows.
    let dx = unsafe { dx.written(xs.len()) };
    let mut dw = vec![0.0_f32; width];
    for partial in &partial {
        for (dw, partial) in dw.iter_mut().zip(partial) {
            *dw += partial;
        }
    }
    (tensor(dx, x.layout().shape().clone()), tensor(dw, weight.layout().shape().clone()))
}

impl<C: CheckpointStrategy> RmsNorm for Autodiff<Flex, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Norm;
        impl Backward<Flex, 2> for Norm {
            type State = (FlexTensor, FlexTensor, f32);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (x, weight, eps) = ops.state;
                let (dx, dw) = backward(&grad, &x.to_contiguous(), &weight.to_contiguous(), eps);
                let [x_node, weight_node] = ops.parents;
                if let Some(node) = x_node {
                    grads.register::<Flex>(node.id, dx);
                }
                if let Some(node) = weight_node {
                    grads.register::<Flex>(node.id, dw);
                }
            }
        }
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match Norm.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.clone(), weight.clone(), eps), Flex::rms_norm(x, weight, eps)),
            OpsKind::UnTracked(prep) => prep.finish(Flex::rms_norm(x, weight, eps)),
        }
    }
}
