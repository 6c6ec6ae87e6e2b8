//! From a loss over micro-batches to an optimizer step.

use std::collections::BTreeMap;

use burn::Tensor;
use collimate_model::{Transformer, Weights};
use rayon::prelude::*;

use crate::Adam;

/// Why a step was not taken; weights and optimizer are as before.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// No trained token in the whole batch.
    #[error("no token of the batch is trained: check the mask of its sequences")]
    NothingTrained,
    /// The gradient overflowed or is not a number.
    #[error("the gradient norm is {0}: lower the learning rate or look for broken weights")]
    NotFinite(f32),
}

/// Named gradients of the weights.
pub(crate) type Gradients = BTreeMap<String, Tensor<2>>;

/// Sums the gradients of `loss(model, index)` over the micro-batches 0..n: each loss is a scalar [1], already divided by the
/// size of the whole step, so the sum is the gradient of one big batch. Also returns what each loss came with, in order.
///
/// Micro-batches run side by side; they are added in order, so the result does not depend on the number of threads.
pub(crate) fn gradients<T: Send>(
    weights: &Weights,
    n_batches: usize,
    loss: impl Fn(&Transformer, usize) -> (Tensor<1>, T) + Sync,
) -> (Gradients, Vec<T>) {
    let model = Transformer::new(weights);
    let one = |index: usize| {
        let leaves = model.tracked();
        let (loss, with) = loss(&leaves, index);
        let mut grads = loss.backward();
        let of = |(_, leaf): (_, &Tensor<2>)| leaf.grad_remove(&mut grads);
        (leaves.parameters().into_iter().map(of).collect::<Vec<_>>(), with)
    };
    let mut total: Vec<Option<Tensor<2>>> = vec![None; model.parameters().len()];
    let mut withs = Vec::with_capacity(n_batches);
    for from in (0..n_batches).step_by(SIDE_BY_SIDE) {
        let done: Vec<_> = (from..(from + SIDE_BY_SIDE).min(n_batches)).into_par_iter().map(one).collect();
        for (grads, with) in done {
            for (total, grad) in total.iter_mut().zip(grads) {
                *total = match (total.take(), grad) {
                    (Some(sum), Some(grad)) => Some(sum + grad),
                    (sum, grad) => sum.or(grad),
                };
            }
            withs.push(with);
        }
    }
    let mut named = Gradients::new();
    for ((names, _), total) in model.parameters().into_iter().zip(total) {
        let Some(total) = total else { continue };
        let mut row = 0;
        for name in names {
            let n_rows = weights.tensors()[&name].dims()[0];
            named.insert(name, total.clone().narrow(0, row, n_rows));
            row += n_rows;
        }
    }
    (named, withs)
}

/// Micro-batches whose gradients are in memory together.
const SIDE_BY_SIDE: usize = 4;

/// Clips by global norm and takes the optimizer step; returns the norm before clipping.
pub(crate) fn apply(weights: &mut Weights, adam: &mut Adam, grads: Gradients, lr: f32) -> Result<f32, StepError> {
    let squares = grads.values().map(|it| f64::from(it.clone().square().sum().into_scalar::<f32>()));
    let norm = squares.sum::<f64>().sqrt() as f32;
    if !norm.is_finite() {
        return Err(StepError::NotFinite(norm));
    }
    adam.step(weights, grads, norm, lr);
    Ok(norm)
}
