//! Distillation: the student's distribution at each trained position comes to the teacher's, of which the likeliest tokens are
//! stored. The trained tokens say where; what is learnt there is the teacher's opinion, not the token.

use collimate_kernels::{TopK, distillation_loss, embed, head_top_k};
use collimate_model::Transformer;

use crate::gradient::gradients;
use crate::{Adam, Batch, Learnable, SftStats, StepError};

/// Sequences with a teacher's opinion at each of their trained positions.
#[derive(Clone, Debug, PartialEq)]
pub struct DistillBatch {
    /// The sequences.
    pub batch: Batch,
    /// One position for each of its trained tokens, in their order.
    pub teacher: TopK,
}

impl DistillBatch {
    /// What `teacher` finds likeliest at the trained positions of `batch`, `k` tokens each. Needs no gradients, and no teacher
    /// afterwards.
    pub fn ask(teacher: &Transformer, batch: Batch, k: usize) -> DistillBatch {
        let (positions, _) = batch.positions_and_targets();
        let hidden = embed(teacher.forward(&batch.tokens, &batch.layout), &positions);
        DistillBatch { teacher: head_top_k(hidden, teacher.head(), k), batch }
    }
}

/// One optimizer step on `batches` (micro-batches of one step). The loss is the weighted mean over trained positions of
/// KL(teacher, student), nats, all tokens but the stored ones counting as one outcome.
pub fn distill_step(
    learnable: &mut impl Learnable,
    adam: &mut Adam,
    batches: &[DistillBatch],
    lr: f32,
) -> Result<SftStats, StepError> {
    let with_targets: Vec<&DistillBatch> = batches.iter().filter(|it| !it.batch.trained.is_empty()).collect();
    let trained = || with_targets.iter().flat_map(|it| &it.batch.trained);
    let total: f32 = trained().map(|it| it.weight).sum();
    if total <= 0.0 {
        return Err(StepError::NothingTrained);
    }
    let (grads, losses) = gradients(learnable, with_targets.len(), |model, index| {
        let DistillBatch { batch, teacher } = with_targets[index];
        let (positions, _) = batch.positions_and_targets();
        let hidden = embed(model.forward(&batch.tokens, &batch.layout), &positions);
        let shares: Vec<f32> = batch.trained.iter().map(|it| it.weight / total).collect();
        let (loss, divergences) = distillation_loss(hidden, model.head(), teacher, &shares);
        (loss, divergences.iter().zip(&shares).map(|(it, share)| it * share).sum::<f32>())
    });
    let n_tokens = trained().count();
    let loss = losses.iter().sum();
    StepError::unless_finite("loss", loss)?;
    let grad_norm = adam.step(learnable, &grads, lr)?;
    Ok(SftStats { loss, n_tokens, grad_norm })
}
