//! From a loss over micro-batches to an optimizer step.

use std::collections::BTreeMap;

use burn::Tensor;
use collimate_model::{Transformer, Weights};

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

/// Sums the gradients of `losses(model, index)` over the micro-batches 0..n: each loss is a scalar [1], already divided by
/// the size of the whole step, so the sum is the gradient of one big batch.
pub(crate) fn gradients(
    weights: &Weights,
    n_batches: usize,
    mut loss: impl FnMut(&Transformer, usize) -> Tensor<1>,
) -> Gradients {
    let tracked = |(name, tensor): (&String, &Tensor<2>)| (name.clone(), tensor.clone().autodiff().require_grad());
    let leaves: BTreeMap<String, Tensor<2>> = weights.tensors().iter().map(tracked).collect();
    let mut total = Gradients::new();
    for index in 0..n_batches {
        let model = Transformer::over(weights.config(), &leaves);
        let mut grads = loss(&model, index).backward();
        for (name, leaf) in &leaves {
            let Some(grad) = leaf.grad_remove(&mut grads) else { continue };
            let sum = match total.remove(name) {
                Some(sum) => sum + grad,
                None => grad,
            };
            total.insert(name.clone(), sum);
        }
    }
    total
}

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
