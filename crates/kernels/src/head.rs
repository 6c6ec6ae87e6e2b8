//! The language-model head with its loss: logits z = hidden tableᵀ, then the negative log-likelihood of the target and the
//! entropy of the whole distribution. On Flex the logits of a micro-batch, [n, V], never exist together: forward, parts of a
//! row are reduced to their [`Sums`]; backward, logits are computed again for [`PART`] columns of the vocabulary at a time.

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
use crate::lanes::{exp, simd};
use crate::linear::Panels;
use crate::packed::{PANEL, Part, TASK_ROWS};
use crate::softmax::{Norm, PART, Sums};
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

/// Hidden states, the table, and what each row must predict.
#[derive(Clone, Debug)]
struct Head {
    hidden: FlexTensor,
    weight: FlexTensor,
    panels: Arc<Panels>,
    targets: Arc<[u32]>,
}

impl Head {
    fn new(hidden: FlexTensor, weight: FlexTensor, panels: Arc<Panels>, targets: Arc<[u32]>) -> Head {
        Head { hidden: hidden.to_contiguous(), weight: weight.to_contiguous(), panels, targets }
    }

    /// [n, 2] with the norm of each row.
    fn forward(&self) -> (FlexTensor, Vec<Norm>) {
        let [n_tokens, width] = self.hidden.layout().shape().dims();
        let (hidden, table) = (self.hidden.storage::<f32>(), self.panels.forward(&self.weight));
        let n_parts = table.n_panels().div_ceil(PART / PANEL);
        // Task by task: some rows with one part of the vocabulary.
        let tasks = (0..n_tokens.div_ceil(TASK_ROWS) * n_parts).into_par_iter();
        let parts: Vec<Vec<(Sums, Option<f32>)>> = tasks
            .map_init(Vec::new, |logits, task| {
                let (rows, part) = (task / n_parts * TASK_ROWS, task % n_parts);
                let rows = rows..(rows + TASK_ROWS).min(n_tokens);
                let panels = part * PART / PANEL..((part + 1) * PART / PANEL).min(table.n_panels());
                let columns = table.columns(&panels);
                logits.resize(rows.len() * columns.len(), 0.0);
                let hidden = &hidden[rows.start * width..rows.end * width];
                table.multiply(Part { inner: 0..width, panels }, hidden, logits, false);
                let rows = logits.chunks_exact(columns.len()).zip(&self.targets[rows]);
                let mut of_rows = Vec::with_capacity(rows.len());
                simd(
                    #[inline(always)]
                    || {
                        for (row, target) in rows {
                            let target = (*target as usize).checked_sub(columns.start).and_then(|it| row.get(it));
                            of_rows.push((Sums::of_part(row), target.copied()));
                        }
                    },
                );
                of_rows
            })
            .collect();
        let mut norms = Vec::with_capacity(n_tokens);
        let mut out = Vec::with_capacity(2 * n_tokens);
        for row in 0..n_tokens {
            let of_row = parts[row / TASK_ROWS * n_parts..][..n_parts].iter().map(|it| it[row % TASK_ROWS]);
            let (sums, target) =
                of_row.reduce(|all, part| (all.0.plus(part.0), all.1.or(part.1))).expect("a vocabulary");
            let norm = sums.norm();
            out.extend([-norm.logprob(target.expect("targets are in the vocabulary")), sums.entropy()]);
            norms.push(norm);
        }
        (tensor(out, [n_tokens, 2]), norms)
    }

    /// Gradients of the hidden states [n, D] and of the table [V, D]. With p = softmax(z): d nll / dz_j = p_j - [j = target];
    /// d entropy / dz_j = -p_j (log p_j + entropy). `scores` is the forward's output, `grad` the gradient of it.
    fn backward(&self, grad: &FlexTensor, scores: &FlexTensor, norms: &[Norm]) -> (FlexTensor, FlexTensor) {
        let ([n_tokens, width], [n_vocab, _]) =
            (self.hidden.layout().shape().dims(), self.weight.layout().shape().dims::<2>());
        let (grad, scores) = (grad.storage::<f32>(), scores.storage::<f32>());
        let slope = |row: usize| Slope {
            nll: grad[2 * row],
            entropy: grad[2 * row + 1],
            at_entropy: scores[2 * row + 1],
            norm: norms[row],
            target: self.targets[row] as usize,
        };
        // A row that nothing depends on costs nothing.
        let active: Vec<usize> = (0..n_tokens).filter(|row| grad[2 * row] != 0.0 || grad[2 * row + 1] != 0.0).collect();
        let slopes: Vec<Slope> = active.iter().map(|row| slope(*row)).collect();
        let all = self.hidden.storage::<f32>();
        let hidden: Vec<f32> = active.iter().flat_map(|row| &all[row * width..][..width]).copied().collect();

        let mut d_active = vec![0.0_f32; hidden.len()];
        let mut d_table = vec![0.0_f32; n_vocab * width];
        if !active.is_empty() {
            let inputs = self.panels.by_rows(&hidden, width);
            let mut logits = Vec::new();
            for first in (0..n_vocab).step_by(PART) {
                let columns = first..(first + PART).min(n_vocab);
                let part = columns.start * width..columns.end * width;
                // Both arrangements of the whole table would be the most memory that a step needs.
                let table = &self.weight.storage::<f32>()[part.clone()];
                let (forward, backward) = (self.panels.by_columns(table, width), self.panels.by_rows(table, width));
                logits.resize(active.len() * columns.len(), 0.0);
                let tasks = logits.par_chunks_mut(TASK_ROWS * columns.len()).zip(slopes.par_chunks(TASK_ROWS));
                let rows = hidden.par_chunks(TASK_ROWS * width).zip(d_active.par_chunks_mut(TASK_ROWS * width));
                tasks.zip(rows).for_each(|((logits, slopes), (hidden, d_hidden))| {
                    forward.multiply(forward.whole(), hidden, logits, false);
                    simd(
                        #[inline(always)]
                        || {
                            for (row, slope) in logits.chunks_exact_mut(columns.len()).zip(slopes) {
                                slope.replace(row, columns.start);
                            }
                        },
                    );
                    backward.multiply(backward.whole(), logits, d_hidden, first > 0);
                });
                inputs.outer(&logits, &mut d_table[part]);
            }
        }
        let mut d_hidden = vec![0.0_f32; n_tokens * width];
        for (row, from) in active.iter().zip(d_active.chunks_exact(width)) {
            d_hidden[row * width..][..width].copy_from_slice(from);
        }
        (tensor(d_hidden, [n_tokens, width]), tensor(d_table, [n_vocab, width]))
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
        Head::new(hidden, weight, panels, targets).forward().0
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
        let head = Head::new(hidden, weight, panels, targets);
        let (scores, norms) = head.forward();
        match Score.prepare::<C>([hidden_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((head, scores.clone(), norms), scores),
            OpsKind::UnTracked(prep) => prep.finish(scores),
        }
    }
}
