//! Supervised fine-tuning (and pretraining): the mean negative log-likelihood of the trained tokens.

use burn::Tensor;
use collimate_kernels::{TokenScore, embed, token_loss};
use collimate_model::Transformer;

use crate::gradient::gradients;
use crate::{Adam, Batch, Learnable, StepError};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SftStats {
    /// Weighted mean negative log-likelihood of the trained tokens before the step, nats.
    pub loss: f32,
    /// Trained tokens.
    pub n_tokens: usize,
    /// Global norm of the gradient before clipping.
    pub grad_norm: f32,
}

/// One optimizer step on `batches` (micro-batches of one step). The loss is a mean over the trained tokens of all of them,
/// so how sequences are split does not change it.
pub fn sft_step(
    learnable: &mut impl Learnable,
    adam: &mut Adam,
    batches: &[Batch],
    lr: f32,
) -> Result<SftStats, StepError> {
    let trained = || batches.iter().flat_map(|it| &it.trained);
    let total: f32 = trained().map(|it| it.weight).sum();
    if trained().next().is_none() || total <= 0.0 {
        return Err(StepError::NothingTrained);
    }
    let with_targets: Vec<&Batch> = batches.iter().filter(|it| !it.trained.is_empty()).collect();
    let (grads, losses) = gradients(learnable, with_targets.len(), |model, index| {
        let loss = sft_loss(model, with_targets[index], total);
        let value: f32 = loss.clone().inner().into_scalar();
        (loss, value)
    });
    let loss = losses.iter().sum();
    StepError::unless_finite("loss", loss)?;
    let grad_norm = adam.step(learnable, &grads, lr)?;
    Ok(SftStats { loss, n_tokens: trained().count(), grad_norm })
}

/// Sum over the trained tokens of weight * nll / `total`, [1].
fn sft_loss(model: &Transformer, batch: &Batch, total: f32) -> Tensor<1> {
    let (positions, targets) = batch.positions_and_targets();
    let hidden = embed(model.forward(&batch.tokens, &batch.layout), &positions);
    let slope = |at: usize, _| TokenScore { logprob: -batch.trained[at].weight / total, entropy: 0.0 };
    token_loss(hidden, model.head(), &targets, slope).0
}
