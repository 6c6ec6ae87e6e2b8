//! The language-model head with its loss: logits = hidden tableᵀ, then the negative log-likelihood of the target and the
//! entropy of the whole distribution, in one pass over each row of logits.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use rayon::prelude::*;

use crate::device::{on_flex, tensor};
use crate::lanes::{exp, max, simd, sum2};
use crate::{Linear, plain};

/// What the head says of each target token.
#[derive(Clone, Debug)]
pub struct TokenScores {
    /// Log-probability of the target, [n], natural logarithm.
    pub logprob: Tensor<1>,
    /// Entropy of the distribution it was drawn from, [n], nats.
    pub entropy: Tensor<1>,
}

/// Negative log-likelihood of `targets` [n] under the head: `hidden` is [n, D], `table` [V, D]; returns [n], nats.
pub fn head_loss(hidden: Tensor<2>, table: &Linear, targets: &[u32]) -> Tensor<1> {
    scores(hidden, table, targets).narrow(1, 0, 1).squeeze_dim(1)
}

/// Log-probability of `targets` [n] and entropy under the head, both differentiable: `hidden` is [n, D], `table` [V, D].
pub fn head_scores(hidden: Tensor<2>, table: &Linear, targets: &[u32]) -> TokenScores {
    let scores = scores(hidden, table, targets);
    TokenScores {
        logprob: -scores.clone().narrow(1, 0, 1).squeeze_dim(1),
        entropy: scores.narrow(1, 1, 1).squeeze_dim(1),
    }
}

/// [n, 2]: negative log-likelihood, entropy.
fn scores(hidden: Tensor<2>, table: &Linear, targets: &[u32]) -> Tensor<2> {
    let [n_tokens, _] = hidden.dims();
    let [n_vocab, _] = table.weight().dims();
    assert_eq!(n_tokens, targets.len(), "one target per hidden state");
    assert!(targets.iter().all(|it| (*it as usize) < n_vocab), "targets must be below the vocabulary size {n_vocab}");
    let logits = table.apply(hidden);
    if !on_flex(&logits) {
        return plain::token_scores(logits, targets);
    }
    Tensor::from_dispatch(<Dispatch as Scores>::token_scores(logits.into_dispatch(), targets.into()))
}

#[backend_extension(Flex, Autodiff)]
trait Scores: Backend {
    fn token_scores(logits: FloatTensor<Self>, targets: Arc<[u32]>) -> FloatTensor<Self>;
}

/// Negative log-likelihood and entropy of one row of logits.
#[inline(always)]
fn score_row(logits: &[f32], target: u32) -> [f32; 2] {
    let log_sum = log_sum_exp(logits);
    let mean = sum2(logits, logits, |z, _| exp(z - log_sum) * z);
    [log_sum - logits[target as usize], log_sum - mean]
}

#[inline(always)]
pub(crate) fn log_sum_exp(logits: &[f32]) -> f32 {
    let largest = max(logits);
    largest + sum2(logits, logits, |z, _| exp(z - largest)).ln()
}

const TOKENS_PER_TASK: usize = 16;

impl Scores for Flex {
    fn token_scores(logits: FlexTensor, targets: Arc<[u32]>) -> FlexTensor {
        let logits = logits.to_contiguous();
        let [n_tokens, n_vocab] = logits.layout().shape().dims();
        let mut out = vec![0.0_f32; n_tokens * 2];
        let rows = logits.storage::<f32>().par_chunks(n_vocab * TOKENS_PER_TASK);
        let tasks = rows.zip(targets.par_chunks(TOKENS_PER_TASK));
        out.par_chunks_mut(2 * TOKENS_PER_TASK).zip(tasks).for_each(|(out, (rows, targets))| {
            simd(
                #[inline(always)]
                || {
                    for (out, (row, target)) in out.chunks_exact_mut(2).zip(rows.chunks_exact(n_vocab).zip(targets)) {
                        out.copy_from_slice(&score_row(row, *target));
                    }
                },
            );
        });
        tensor(out, [n_tokens, 2])
    }
}

/// With p = softmax(z): d nll / dz_j = p_j - [j = target]; d entropy / dz_j = -p_j (log p_j + entropy). Written over the
/// logits where nothing else holds them. `scores` is the forward's output.
fn backward(grad: &FlexTensor, scores: &FlexTensor, mut logits: FlexTensor, targets: &[u32]) -> FlexTensor {
    let [_, n_vocab] = logits.layout().shape().dims();
    let grads = grad.storage::<f32>().par_chunks(2 * TOKENS_PER_TASK);
    let scores = scores.storage::<f32>().par_chunks(2 * TOKENS_PER_TASK);
    let rows = logits.storage_mut::<f32>().par_chunks_mut(n_vocab * TOKENS_PER_TASK);
    rows.zip(grads.zip(scores)).zip(targets.par_chunks(TOKENS_PER_TASK)).for_each(
        |((rows, (grads, scores)), targets)| {
            let rows = rows.chunks_exact_mut(n_vocab).zip(targets);
            let rows = rows.zip(grads.chunks_exact(2).zip(scores.chunks_exact(2)));
            simd(
                #[inline(always)]
                || {
                    for ((row, target), (grad, score)) in rows {
                        let (d_nll, d_entropy) = (grad[0], grad[1]);
                        let (log_sum, entropy) = (score[0] + row[*target as usize], score[1]);
                        for z in row.iter_mut() {
                            let logprob = *z - log_sum;
                            *z = exp(logprob) * (d_nll - d_entropy * (logprob + entropy));
                        }
                        row[*target as usize] -= d_nll;
                    }
                },
            );
        },
    );
    logits
}

impl<C: CheckpointStrategy> Scores for Autodiff<Flex, C> {
    fn token_scores(logits: FloatTensor<Self>, targets: Arc<[u32]>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Head;
        impl Backward<Flex, 1> for Head {
            type State = (FlexTensor, FlexTensor, Arc<[u32]>);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (logits, scores, targets) = ops.state;
                let [node] = ops.parents;
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, backward(&grad, &scores, logits, &targets));
                }
            }
        }
        let (logits, node) = logits.into_parts();
        let logits = logits.to_contiguous();
        let scores = Flex::token_scores(logits.clone(), targets.clone());
        match Head.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((logits, scores.clone(), targets), scores),
            OpsKind::UnTracked(prep) => prep.finish(scores),
        }
    }
}
