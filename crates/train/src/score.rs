//! What a model says of the tokens that a batch trains, without gradients.

use collimate_kernels::{TokenScore, embed, head_scores};
use collimate_model::Transformer;

use crate::batch::Batch;

/// Log-probability of each trained token of `batch` under `model`, in its order: the old and reference policies of an RL step,
/// validation losses.
pub fn score(model: &Transformer, batch: &Batch) -> Vec<f32> {
    scores(model, batch).into_iter().map(|it| it.logprob).collect()
}

/// The same with the entropy of the distribution that each token is of.
pub(crate) fn scores(model: &Transformer, batch: &Batch) -> Vec<TokenScore> {
    if batch.trained.is_empty() {
        return Vec::new();
    }
    let (positions, targets) = batch.positions_and_targets();
    let hidden = embed(model.forward(&batch.tokens, &batch.layout), &positions);
    head_scores(hidden, model.head(), &targets)
}
