//! The language-model head with its loss: logits z = hidden tableᵀ, then the negative log-likelihood of the target and the
//! entropy of the whole distribution. On Flex the logits of a micro-batch, [n, V], never exist together.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};

use crate::device::{on_flex, tensor};
use crate::lanes::exp;
use crate::linear::Panels;
use crate::logits::Logits;
use crate::softmax::{Norm, Sums};
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
    let ([n_tokens, width], [n_vocab, table_width]) = (hidden.dims(), table.weight().dims());
    assert_eq!(width, table_width, "the hidden states' width must be the table's");
    assert_eq!(n_tokens, targets.len(), "one target per hidden state");
    assert!(targets.iter().all(|it| (*it as usize) < n_vocab), "targets must be below the vocabulary size {n_vocab}");
    if !on_flex(&hidden) {
        return plain::token_scores(table.apply(hidden), targets);
    }
    let (hidden, weight) = (hidden.into_dispatch(), table.weight().clone().into_dispatch());
    let panels = table.panels().clone();
    Tensor::from_dispatch(<Dispatch as Scores>::token_scores(hidden, weight, panels, targets.into()))
}

#[backend_extension(Flex, Autodiff)]
trait Scores: Backend {
    fn token_scores(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        panels: Arc<Panels>,
        targets: Arc<[u32]>,
    ) -> FloatTensor<Self>;
}

/// The logits, and what each row must predict.
#[derive(Clone, Debug)]
struct Head {
    logits: Logits,
    targets: Arc<[u32]>,
}

impl Head {
    /// [n, 2] with the norm of each row.
    fn forward(&self) -> (FlexTensor, Vec<Norm>) {
        let rows = self.logits.reduce(
            #[inline(always)]
            |row, logits, first| {
                let target = (self.targets[row] as usize).checked_sub(first).and_then(|it| logits.get(it));
                (Sums::of_part(logits), target.copied())
            },
            |all, part| (all.0.plus(part.0), all.1.or(part.1)),
        );
        let mut norms = Vec::with_capacity(rows.len());
        let mut out = Vec::with_capacity(2 * rows.len());
        for (sums, target) in rows {
            let norm = sums.norm();
            out.extend([-norm.logprob(target.expect("targets are in the vocabulary")), sums.entropy()]);
            norms.push(norm);
        }
        let n_rows = norms.len();
        (tensor(out, [n_rows, 2]), norms)
    }

    /// Gradients of the hidden states [n, D] and of the table [V, D]. With p = softmax(z): d nll / dz_j = p_j - [j = target];
    /// d entropy / dz_j = -p_j (log p_j + entropy). `scores` is the forward's output, `grad` the gradient of it.
    fn backward(&self, grad: &FlexTensor, scores: &FlexTensor, norms: &[Norm]) -> (FlexTensor, FlexTensor) {
        let (grad, scores) = (grad.storage::<f32>(), scores.storage::<f32>());
        let active: Vec<usize> =
            (0..norms.len()).filter(|row| grad[2 * row] != 0.0 || grad[2 * row + 1] != 0.0).collect();
        self.logits.pull_back(
            &active,
            #[inline(always)]
            |row, logits, first| {
                let slope = Slope {
                    nll: grad[2 * row],
                    entropy: grad[2 * row + 1],
                    at_entropy: scores[2 * row + 1],
                    norm: norms[row],
                    target: self.targets[row] as usize,
                };
                slope.replace(logits, first);
            },
        )
    }
}

/// What a row's logits become in the backward pass.
struct Slope {
    nll: f32,
    entropy: f32,
    at_entropy: f32,
    norm: Norm,
    target: usize,
}

impl Slope {
    /// Turns logits, from column `first` on, into the loss's derivatives with respect to them.
    #[inline(always)]
    fn replace(&self, logits: &mut [f32], first: usize) {
        for z in logits.iter_mut() {
            let logprob = self.norm.logprob(*z);
            *z = exp(logprob) * (self.nll - self.entropy * (logprob + self.at_entropy));
        }
        if let Some(z) = self.target.checked_sub(first).and_then(|it| logits.get_mut(it)) {
            *z -= self.nll;
        }
    }
}

impl Scores for Flex {
    fn token_scores(hidden: FlexTensor, weight: FlexTensor, panels: Arc<Panels>, targets: Arc<[u32]>) -> FlexTensor {
        Head { logits: Logits::new(hidden, weight, panels), targets }.forward().0
    }
}

impl<C: CheckpointStrategy> Scores for Autodiff<Flex, C> {
    fn token_scores(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        panels: Arc<Panels>,
        targets: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Score;
        impl Backward<Flex, 2> for Score {
            type State = (Head, FlexTensor, Vec<Norm>);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (head, scores, norms) = ops.state;
                let (d_hidden, d_table) = head.backward(&grad, &scores, &norms);
                for (node, grad) in ops.parents.into_iter().zip([d_hidden, d_table]) {
                    if let Some(node) = node {
                        grads.register::<Flex>(node.id, grad);
                    }
                }
            }
        }
        let ((hidden, hidden_node), (weight, weight_node)) = (hidden.into_parts(), weight.into_parts());
        let head = Head { logits: Logits::new(hidden, weight, panels), targets };
        let (scores, norms) = head.forward();
        match Score.prepare::<C>([hidden_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((head, scores.clone(), norms), scores),
            OpsKind::UnTracked(prep) => prep.finish(scores),
        }
    }
}
