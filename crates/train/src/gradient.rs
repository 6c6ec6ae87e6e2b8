//! From a loss over micro-batches to the gradient of a step.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::Tensor;
use collimate_kernels::{add, square_sum};
use collimate_model::{Param, Transformer};
use rayon::prelude::*;

use crate::learnable::{Learnable, Tracked};

/// Why a step was not taken; weights and optimizer are as before.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// No trained token in the whole batch.
    #[error("no token of the batch is trained: check the mask of its sequences")]
    NothingTrained,
    /// Training diverged: a number of the step overflowed or is not a number.
    #[error("training diverged: the {what} is {value}: lower the learning rate, or look for broken weights")]
    Diverged {
        /// Which number.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
    },
}

impl StepError {
    /// An error unless `value` is finite.
    pub(crate) fn unless_finite(what: &'static str, value: impl Into<f64>) -> Result<(), StepError> {
        let value = value.into();
        if value.is_finite() { Ok(()) } else { Err(StepError::Diverged { what, value }) }
    }
}

/// The gradient of what is trained: one run of numbers per matrix as it is arranged for computing.
pub(crate) struct Gradients {
    arranged: Vec<Vec<f32>>,
    /// By the name of a tensor: where its rows are.
    places: BTreeMap<String, (usize, Range<usize>)>,
}

impl Gradients {
    fn new(parameters: Vec<Vec<Param>>, arranged: Vec<Vec<f32>>) -> Gradients {
        let mut places = BTreeMap::new();
        for (index, group) in parameters.into_iter().enumerate() {
            let mut start = 0;
            for param in group {
                let end = start + param.size();
                places.insert(param.name, (index, start..end));
                start = end;
            }
        }
        Gradients { arranged, places }
    }

    /// Of the tensor `name`, row by row.
    pub(crate) fn of(&self, name: &str) -> &[f32] {
        let (index, range) = &self.places[name];
        &self.arranged[*index][range.clone()]
    }

    /// Global norm.
    pub(crate) fn norm(&self) -> f32 {
        self.arranged.iter().map(|it| square_sum(it)).sum::<f64>().sqrt() as f32
    }
}

/// Sums the gradients of `loss(model, index)` over the micro-batches 0..n: each loss is a scalar [1], already divided by the
/// size of the whole step, so the sum is the gradient of one big batch. Also returns what each loss came with, in order.
///
/// Micro-batches run side by side; they are added in order, so the result does not depend on the number of threads.
pub(crate) fn gradients<T: Send>(
    learnable: &impl Learnable,
    n_batches: usize,
    loss: impl Fn(&Transformer, usize) -> (Tensor<1>, T) + Sync,
) -> (Gradients, Vec<T>) {
    let side_by_side = rayon::current_num_threads().min(SIDE_BY_SIDE);
    let arranged = learnable.arranged(n_batches.div_ceil(side_by_side));
    let one = |index: usize| {
        let Tracked { model, leaves } = learnable.tracked(&arranged);
        let (loss, with) = loss(&model, index);
        let mut grads = loss.backward();
        let of = |leaf: Tensor<2>| -> Vec<f32> {
            let grad = leaf.grad_remove(&mut grads).expect("every trained tensor has a gradient");
            grad.into_data().try_into_vec().expect("gradients are f32")
        };
        (leaves.into_iter().map(of).collect::<Vec<_>>(), with)
    };
    let mut sums: Vec<Vec<f32>> = Vec::new();
    let mut withs = Vec::with_capacity(n_batches);
    for from in (0..n_batches).step_by(side_by_side) {
        let done: Vec<_> = (from..(from + side_by_side).min(n_batches)).into_par_iter().map(one).collect();
        for (grads, with) in done {
            if sums.is_empty() {
                sums = grads;
            } else {
                sums.iter_mut().zip(&grads).for_each(|(sum, grad)| add(sum, grad));
            }
            withs.push(with);
        }
    }
    (Gradients::new(learnable.parameters(), sums), withs)
}

/// Most micro-batches whose activations and gradients are in memory together.
const SIDE_BY_SIDE: usize = 4;
