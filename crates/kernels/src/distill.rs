//! Distillation from a teacher's stored log-probabilities: at each position its k likeliest tokens, all others counting as one
//! outcome. With q the teacher's probabilities, p the student's, r and s what each leaves to the others:
//! KL = sum over the k of q (log q - log p) + r (log r - log s), which is zero where the two agree and needs no [n, V].

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

/// A teacher's k likeliest tokens at n positions.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    k: usize,
    /// [n, k], ascending in each row.
    tokens: Vec<u32>,
    /// [n, k], natural logarithm.
    logprobs: Vec<f32>,
}

/// Why numbers are no [`TopK`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TopKError {
    /// Not [n, k].
    #[error(
        "{tokens} tokens and {logprobs} log-probabilities do not make rows of {k}: give as many of each, k per position"
    )]
    Shape {
        /// Tokens given.
        tokens: usize,
        /// Log-probabilities given.
        logprobs: usize,
        /// Of each row.
        k: usize,
    },
    /// Twice the same.
    #[error("position {row}: token {token} stands twice: keep each of the likeliest once")]
    Twice {
        /// Which position.
        row: usize,
        /// Which token.
        token: u32,
    },
    /// Not the logarithms of a part of a distribution.
    #[error("position {row}: the probabilities add up to {sum}: store natural logarithms of at most 1 in all")]
    Mass {
        /// Which position.
        row: usize,
        /// Their sum.
        sum: f32,
    },
}

/// How much more than 1 rounding may leave.
const SLACK: f32 = 1e-3;

impl TopK {
    /// `k` tokens with their log-probabilities at each position, in any order: both are [n, k] row by row.
    pub fn new(k: usize, tokens: &[u32], logprobs: &[f32]) -> Result<TopK, TopKError> {
        if k == 0 || tokens.len() != logprobs.len() || tokens.len() % k != 0 {
            return Err(TopKError::Shape { tokens: tokens.len(), logprobs: logprobs.len(), k });
        }
        let mut sorted =
            TopK { k, tokens: Vec::with_capacity(tokens.len()), logprobs: Vec::with_capacity(tokens.len()) };
        for (row, (tokens, logprobs)) in tokens.chunks_exact(k).zip(logprobs.chunks_exact(k)).enumerate() {
            let mut pairs: Vec<(u32, f32)> = tokens.iter().copied().zip(logprobs.iter().copied()).collect();
            pairs.sort_unstable_by_key(|it| it.0);
            if let Some(two) = pairs.windows(2).find(|it| it[0].0 == it[1].0) {
                return Err(TopKError::Twice { row, token: two[0].0 });
            }
            let sum: f32 = logprobs.iter().map(|it| it.exp()).sum();
            if sum.is_nan() || sum > 1.0 + SLACK {
                return Err(TopKError::Mass { row, sum });
            }
            sorted.tokens.extend(pairs.iter().map(|it| it.0));
            sorted.logprobs.extend(pairs.iter().map(|it| it.1));
        }
        Ok(sorted)
    }

    /// n.
    pub fn n_positions(&self) -> usize {
        self.tokens.len() / self.k
    }

    /// k.
    pub fn n_each(&self) -> usize {
        self.k
    }

    /// Tokens, ascending, and their log-probabilities at `position`.
    pub fn at(&self, position: usize) -> (&[u32], &[f32]) {
        let of = position * self.k..(position + 1) * self.k;
        (&self.tokens[of.clone()], &self.logprobs[of])
    }

    /// The rows `positions`, in that order.
    pub fn select(&self, positions: impl IntoIterator<Item = usize>) -> TopK {
        let mut some = TopK { k: self.k, tokens: Vec::new(), logprobs: Vec::new() };
        for position in positions {
            let (tokens, logprobs) = self.at(position);
            some.tokens.extend(tokens);
            some.logprobs.extend(logprobs);
        }
        some
    }

    /// What the teacher leaves to the tokens that are not among the k at `position`.
    pub(crate) fn others(&self, position: usize) -> f32 {
        (1.0 - self.at(position).1.iter().map(|it| it.exp()).sum::<f32>()).max(0.0)
    }

    /// sum q log q over the k + 1 outcomes at `position`.
    pub(crate) fn negentropy(&self, position: usize) -> f32 {
        let part = |log: f32| if log == f32::NEG_INFINITY { 0.0 } else { log.exp() * log };
        self.at(position).1.iter().map(|it| part(*it)).sum::<f32>() + part(self.others(position).ln())
    }
}

/// The `k` likeliest tokens of each of `hidden` [n, D] under the head `table` [V, D], lower ids before equals. No autodiff.
pub fn head_top_k(hidden: Tensor<2>, table: &Linear, k: usize) -> TopK {
    let [n_vocab, width] = table.weight().dims();
    assert_eq!(hidden.dims()[1], width, "the hidden states' width must be the table's");
    assert!((1..n_vocab).contains(&k), "k must be at least 1 and below the vocabulary size {n_vocab}");
    let likeliest = |mut all: Vec<(u32, f32)>| {
        all.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    };
    let numbered = |logits: &[f32], first: usize| likeliest((first as u32..).zip(logits.iter().copied()).collect());
    let rows: Vec<(Sums, Vec<(u32, f32)>)> = if on_flex(&hidden) {
        let primitive = |it: Tensor<2>| it.try_into_primitive::<Flex>().expect("no autodiff");
        let logits = Logits::new(primitive(hidden), primitive(table.weight().clone()), table.panels().clone());
        let plus = |a: (Sums, Vec<_>), b: (Sums, Vec<_>)| (a.0.plus(b.0), likeliest([a.1, b.1].concat()));
        logits.reduce(|_, logits, first| (Sums::of_part(logits), numbered(logits, first)), plus)
    } else {
        let logits: Vec<f32> = table.apply(hidden).into_data().try_into_vec().expect("logits are f32");
        logits.chunks_exact(n_vocab).map(|it| (Sums::of(it), numbered(it, 0))).collect()
    };
    let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
    for (sums, likeliest) in rows {
        let norm = sums.norm();
        tokens.extend(likeliest.iter().map(|it| it.0));
        logprobs.extend(likeliest.iter().map(|it| norm.logprob(it.1)));
    }
    TopK::new(k, &tokens, &logprobs).expect("distinct tokens of one distribution")
}

/// Divergence of the head's distributions from the teacher's, KL(teacher, student) over the k tokens and the others as one, nats:
/// `hidden` is [n, D], `table` [V, D] with V above k; returns [n].
pub fn head_distillation(hidden: Tensor<2>, table: &Linear, teacher: &Arc<TopK>) -> Tensor<1> {
    let ([n_rows, width], [n_vocab, table_width]) = (hidden.dims(), table.weight().dims());
    assert_eq!(width, table_width, "the hidden states' width must be the table's");
    assert_eq!(n_rows, teacher.n_positions(), "the teacher's positions are the hidden states'");
    assert!(teacher.k < n_vocab, "k must be below the vocabulary size {n_vocab}");
    assert!(
        teacher.tokens.iter().all(|it| (*it as usize) < n_vocab),
        "tokens must be below the vocabulary size {n_vocab}"
    );
    if !on_flex(&hidden) {
        return plain::distillation(table.apply(hidden), teacher);
    }
    let (hidden, weight) = (hidden.into_dispatch(), table.weight().clone().into_dispatch());
    let loss: Tensor<2> =
        Tensor::from_dispatch(<Dispatch as Distill>::distill(hidden, weight, table.panels().clone(), teacher.clone()));
    loss.squeeze_dim(1)
}

#[backend_extension(Flex, Autodiff)]
trait Distill: Backend {
    fn distill(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        panels: Arc<Panels>,
        teacher: Arc<TopK>,
    ) -> FloatTensor<Self>;
}

/// The student's logits and what they are compared with.
#[derive(Clone, Debug)]
struct Student {
    logits: Logits,
    teacher: Arc<TopK>,
}

/// Norms of a row: of all its logits, and of those that are not among the k.
type Norms = (Norm, Norm);

impl Student {
    /// [n, 1] with the norms of each row.
    fn forward(&self) -> (FlexTensor, Vec<Norms>) {
        let rows = self.logits.reduce(
            #[inline(always)]
            |row, logits, first| {
                let (tokens, _) = self.teacher.at(row);
                let from = tokens.partition_point(|it| (*it as usize) < first);
                let n_logits = logits.len();
                let here = tokens[from..].iter().map(|it| *it as usize - first).take_while(|it| *it < n_logits);
                let of_k: Vec<f32> = here.map(|at| std::mem::replace(&mut logits[at], Sums::NOTHING)).collect();
                (Sums::of_part(logits), of_k)
            },
            |all, part| (all.0.plus(part.0), [all.1, part.1].concat()),
        );
        let (mut out, mut norms) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (row, (others, of_k)) in rows.into_iter().enumerate() {
            let all = of_k.iter().fold(others, |sums, z| sums.plus(Sums::of_part(&[*z]))).norm();
            let log_others = others.norm().log_sum() - all.log_sum();
            let cross: f32 = self.teacher.at(row).1.iter().zip(&of_k).map(|(q, z)| q.exp() * all.logprob(*z)).sum();
            let left = self.teacher.others(row);
            out.push(self.teacher.negentropy(row) - cross - if left > 0.0 { left * log_others } else { 0.0 });
            norms.push((all, others.norm()));
        }
        let n_rows = norms.len();
        (tensor(out, [n_rows, 1]), norms)
    }

    /// Gradients of the hidden states [n, D] and of the table [V, D]: by a logit among the k it is p - q, by another
    /// p - r (p / s).
    fn backward(&self, grad: &FlexTensor, norms: &[Norms]) -> (FlexTensor, FlexTensor) {
        let grad = grad.storage::<f32>();
        let active: Vec<usize> = (0..norms.len()).filter(|row| grad[*row] != 0.0).collect();
        self.logits.pull_back(
            &active,
            #[inline(always)]
            |row, logits, first| {
                let ((all, others), slope, left) = (norms[row], grad[row], self.teacher.others(row));
                let (tokens, logprobs) = self.teacher.at(row);
                let from = tokens.partition_point(|it| (*it as usize) < first);
                let n = tokens[from..].partition_point(|it| (*it as usize) < first + logits.len());
                let here = || tokens[from..from + n].iter().map(|it| *it as usize - first);
                let kept: Vec<f32> = here().map(|at| logits[at]).collect();
                for z in logits.iter_mut() {
                    *z = slope * (exp(all.logprob(*z)) - left * exp(others.logprob(*z)));
                }
                for ((at, z), q) in here().zip(kept).zip(&logprobs[from..]) {
                    logits[at] = slope * (exp(all.logprob(z)) - q.exp());
                }
            },
        )
    }
}

impl Distill for Flex {
    fn distill(hidden: FlexTensor, weight: FlexTensor, panels: Arc<Panels>, teacher: Arc<TopK>) -> FlexTensor {
        Student { logits: Logits::new(hidden, weight, panels), teacher }.forward().0
    }
}

impl<C: CheckpointStrategy> Distill for Autodiff<Flex, C> {
    fn distill(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        panels: Arc<Panels>,
        teacher: Arc<TopK>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Diverge;
        impl Backward<Flex, 2> for Diverge {
            type State = (Student, Vec<Norms>);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (student, norms) = ops.state;
                let (d_hidden, d_table) = student.backward(&grad, &norms);
                for (node, grad) in ops.parents.into_iter().zip([d_hidden, d_table]) {
                    if let Some(node) = node {
                        grads.register::<Flex>(node.id, grad);
                    }
                }
            }
        }
        let ((hidden, hidden_node), (weight, weight_node)) = (hidden.into_parts(), weight.into_parts());
        let student = Student { logits: Logits::new(hidden, weight, panels), teacher };
        let (loss, norms) = student.forward();
        match Diverge.prepare::<C>([hidden_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((student, norms), loss),
            OpsKind::UnTracked(prep) => prep.finish(loss),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_distribution_is_refused() {
        let error =
            |k, tokens: &[u32], logprobs: &[f32]| TopK::new(k, tokens, logprobs).expect_err("refused").to_string();
        assert!(error(2, &[1, 2, 3], &[-1.0; 3]).starts_with("3 tokens and 3 log-probabilities do not make rows of 2"));
        assert!(error(0, &[], &[]).contains("rows of 0"));
        assert!(error(2, &[1, 2, 7, 7], &[-1.0; 4]).starts_with("position 1: token 7 stands twice"));
        assert!(error(2, &[1, 2], &[0.0, -1.0]).starts_with("position 0: the probabilities add up to 1.36"));
        assert!(error(1, &[1], &[f32::NAN]).starts_with("position 0: the probabilities add up to NaN"));
    }

    #[test]
    fn rows_are_sorted_and_selected() {
        let stored = TopK::new(2, &[5, 1, 2, 9], &[-1.0, -2.0, -3.0, -4.0]).expect("fits");
        assert_eq!(stored.at(0), (&[1, 5][..], &[-2.0, -1.0][..]));
        assert_eq!(stored.select([1]).at(0), (&[2, 9][..], &[-3.0, -4.0][..]));
        assert_eq!((stored.n_positions(), stored.n_each()), (2, 2));
    }
}
