//! One step of an optimizer on one tensor: AdamW (decoupled weight decay, bias correction), or Muon for matrices; and the sums
//! over gradients that come before it.

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use crate::lanes::{dot, simd};

/// The constants of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment per step.
    pub beta1: f32,
    /// Decay of the second moment per step.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Weight decay per step, times the learning rate.
    pub weight_decay: f32,
}

/// Running moments of one tensor's gradient, of its shape.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Mean of the gradient.
    pub m: Tensor<2>,
    /// Mean of its square.
    pub v: Tensor<2>,
}

/// The weights and moments after step number `step` (from 1) with gradient `grad * scale` at learning rate `lr`, decay apart
/// from the gradient. Tensors have the shape of `weight`, `grad` its numbers row by row; no autodiff. Tensors that nothing
/// else holds are updated in place.
pub fn adamw_step(
    weight: Tensor<2>,
    grad: &[f32],
    moments: Moments,
    cfg: &AdamW,
    (lr, step, scale): (f32, u64, f32),
) -> (Tensor<2>, Moments) {
    let device = weight.device();
    let [mut weight, mut m, mut v] = [weight, moments.m, moments.v].map(Tensor::into_data);
    let correct1 = 1.0 / (1.0 - f64::from(cfg.beta1).powf(step as f64)) as f32;
    let correct2 = 1.0 / (1.0 - f64::from(cfg.beta2).powf(step as f64)) as f32;
    let (beta1, beta2, eps, keep) = (cfg.beta1, cfg.beta2, cfg.eps, 1.0 - lr * cfg.weight_decay);
    let [weights, ms, vs] = [&mut weight, &mut m, &mut v].map(|it| it.as_mut_slice::<f32>().expect(F32));
    assert_eq!(weights.len(), grad.len(), "one gradient per weight");
    let moments = ms.par_chunks_mut(TASK).zip(vs.par_chunks_mut(TASK));
    weights.par_chunks_mut(TASK).zip(grad.par_chunks(TASK)).zip(moments).for_each(|((weights, grad), (ms, vs))| {
        simd(
            #[inline(always)]
            || {
                for ((weight, grad), (m, v)) in weights.iter_mut().zip(grad).zip(ms.iter_mut().zip(vs)) {
                    let grad = grad * scale;
                    *m = beta1 * *m + (1.0 - beta1) * grad;
                    *v = beta2 * *v + (1.0 - beta2) * grad * grad;
                    *weight = *weight * keep - lr * (*m * correct1) / ((*v * correct2).sqrt() + eps);
                }
            },
        );
    });
    let back = |data: TensorData| Tensor::from_data(data, &device);
    (back(weight), Moments { m: back(m), v: back(v) })
}

/// `sum += x`, number by number.
pub fn add(sum: &mut [f32], x: &[f32]) {
    assert_eq!(sum.len(), x.len(), "one number for each");
    let tasks = sum.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
    tasks.for_each(|(sum, x)| {
        simd(
            #[inline(always)]
            || sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x),
        )
    });
}

/// Sum of the squares of `x`: short runs in f32, their sums in f64 and in order, whatever the number of threads.
pub fn square_sum(x: &[f32]) -> f64 {
    let of = |x: &[f32]| {
        simd(
            #[inline(always)]
            || x.chunks(RUN).map(|x| f64::from(dot(x, x))).sum::<f64>(),
        )
    };
    x.par_chunks(TASK).map(of).collect::<Vec<f64>>().iter().sum()
}

/// Numbers per parallel task.
const TASK: usize = 1 << 14;
/// Numbers whose squares are summed in f32. Divides [`TASK`].
const RUN: usize = 1 << 9;

const F32: &str = "weights and moments are f32";

/// The constants of Muon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Decay of the mean gradient per step.
    pub momentum: f32,
    /// Weight decay per step, times the learning rate.
    pub weight_decay: f32,
}

/// Coefficients of the quintic whose repetition drives every singular value towards one.
const QUINTIC: (f32, f32, f32) = (3.4445, -4.7750, 2.0315);
const QUINTIC_STEPS: usize = 5;

/// The weights and mean gradient after a step with gradient `grad * scale`: the update is the mean gradient, looking one step
/// ahead, with all its singular values brought near one, and of the size AdamW's would have at the same learning rate. Uses
/// `moments.m`; `moments.v` stays. No autodiff.
pub fn muon_step(
    weight: Tensor<2>,
    grad: &[f32],
    moments: Moments,
    cfg: &Muon,
    (lr, scale): (f32, f32),
) -> (Tensor<2>, Moments) {
    let grad = Tensor::from_data(TensorData::new(grad.to_vec(), weight.dims()), &weight.device());
    let fresh = grad * (scale * (1.0 - cfg.momentum));
    let m = moments.m * cfg.momentum + fresh.clone();
    let [rows, columns] = m.dims();
    let update = orthogonal(m.clone() * cfg.momentum + fresh);
    let like_adamw = 0.2 * (rows.max(columns) as f32).sqrt(); // the update's entries then have a root mean square of 0.2
    let weight = weight * (1.0 - lr * cfg.weight_decay) - update * (lr * like_adamw);
    (weight, Moments { m, v: moments.v })
}

/// The nearest matrix with orthonormal rows or columns, nearly.
fn orthogonal(x: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let x = if rows > columns { x.transpose() } else { x };
    let norm: f32 = x.clone().square().sum().sqrt().into_scalar();
    let mut x = x / (norm + 1e-7);
    let (a, b, c) = QUINTIC;
    for _ in 0..QUINTIC_STEPS {
        let gram = x.clone().matmul(x.clone().transpose());
        let mix = gram.clone() * b + gram.clone().matmul(gram) * c;
        x = x.clone() * a + mix.matmul(x);
    }
    if rows > columns { x.transpose() } else { x }
}
