//! The language-model head with its loss: logits z = hidden tableᵀ, then the log-probability of the target and the entropy of
//! the whole distribution. A loss is a function of these two alone, so that one pass serves supervised training, policy
//! gradients and divergences: it asks for the loss's slopes by them as soon as they are known.

use burn::Tensor;
use burn::tensor::TensorData;

use crate::device::on_flex;
use crate::given::given;
use crate::lanes::exp;
use crate::logits::{Ask, Logits, Slope};
use crate::softmax::{Norm, Sums};
use crate::{Linear, plain};

/// What the head says of one target token; or a loss's slopes by both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenScore {
    /// Log-probability of the target, natural logarithm.
    pub logprob: f32,
    /// Entropy of the distribution it was drawn from, nats.
    pub entropy: f32,
}

/// Scores of `targets` [n] under the head: `hidden` is [n, D], `table` [V, D]. No autodiff.
pub fn head_scores(hidden: Tensor<2>, table: &Linear, targets: &[u32]) -> Vec<TokenScore> {
    check(&hidden, table, targets);
    if !on_flex(&hidden) {
        return scores_of(plain::token_scores(table.apply(hidden), targets));
    }
    let head = Head { targets, slope: |_: usize, _: TokenScore| TokenScore::default(), scores: Vec::new() };
    Logits::new(&hidden, table).reduce(&head).into_iter().map(|of| score(of).0).collect()
}

/// A loss over tokens, [1], and their scores: `slope` gets the index and the score of each and says the derivatives of the
/// loss by both. The returned value is the sum of slopes times scores, which is the loss itself where that is linear, as the
/// weighted log-likelihood is; its gradient by `hidden` [n, D] and `table` [V, D] is the loss's in any case. A token with no
/// slope costs no backward pass.
pub fn token_loss(
    hidden: Tensor<2>,
    table: &Linear,
    targets: &[u32],
    slope: impl Fn(usize, TokenScore) -> TokenScore + Sync,
) -> (Tensor<1>, Vec<TokenScore>) {
    check(&hidden, table, targets);
    assert!(hidden.is_autodiff(), "a loss is for training");
    if on_flex(&hidden) {
        let mut head = Head { targets, slope, scores: Vec::new() };
        let (d_hidden, d_table) = Logits::new(&hidden, table).descend(&mut head);
        let value = head.scores.iter().enumerate().map(|(at, score)| {
            let slope = (head.slope)(at, *score);
            f64::from(slope.logprob * score.logprob + slope.entropy * score.entropy)
        });
        return (given(value.sum::<f64>() as f32, [&hidden, table.weight()], [d_hidden, d_table]), head.scores);
    }
    let both = plain::token_scores(table.apply(hidden), targets); // [n, 2]
    let scores = scores_of(both.clone().inner());
    let slopes = scores.iter().enumerate().map(|(at, score)| slope(at, *score));
    let slopes: Vec<f32> = slopes.flat_map(|it| [it.logprob, it.entropy]).collect();
    let slopes = Tensor::<2>::from_data(TensorData::new(slopes, both.dims()), &both.device().inner()).autodiff();
    ((both * slopes).sum(), scores)
}

fn check(hidden: &Tensor<2>, table: &Linear, targets: &[u32]) {
    let ([n_tokens, width], [n_vocab, table_width]) = (hidden.dims(), table.weight().dims());
    assert_eq!(width, table_width, "the hidden states' width must be the table's");
    assert_eq!(n_tokens, targets.len(), "one target per hidden state");
    assert!(targets.iter().all(|it| (*it as usize) < n_vocab), "targets must be below the vocabulary size {n_vocab}");
}

fn scores_of(both: Tensor<2>) -> Vec<TokenScore> {
    let both: Vec<f32> = both.into_data().try_into_vec().expect("scores are f32");
    both.chunks_exact(2).map(|it| TokenScore { logprob: it[0], entropy: it[1] }).collect()
}

/// What each row must predict, and what depends on it.
struct Head<'a, F> {
    targets: &'a [u32],
    slope: F,
    scores: Vec<TokenScore>,
}

/// Sums over a row's logits, and the target's where it is among them.
type OfRow = (Sums, Option<f32>);

fn score((sums, target): OfRow) -> (TokenScore, Norm) {
    let norm = sums.norm();
    let logprob = norm.logprob(target.expect("targets are in the vocabulary"));
    (TokenScore { logprob, entropy: sums.entropy() }, norm)
}

impl<F: Sync> Ask for Head<'_, F> {
    type Of = OfRow;

    #[inline(always)]
    fn of_part(&self, row: usize, logits: &mut [f32], first: usize) -> OfRow {
        let target = (self.targets[row] as usize).checked_sub(first).and_then(|it| logits.get(it));
        (Sums::of_part(logits), target.copied())
    }

    fn plus(&self, all: OfRow, part: OfRow) -> OfRow {
        (all.0.plus(part.0), all.1.or(part.1))
    }
}

impl<F: Fn(usize, TokenScore) -> TokenScore + Sync> Slope for Head<'_, F> {
    type At = (TokenScore, Norm, f32);

    fn at(&mut self, row: usize, of: OfRow) -> Option<Self::At> {
        let (score, norm) = score(of);
        self.scores.push(score);
        let slope = (self.slope)(row, score);
        (slope != TokenScore::default()).then_some((slope, norm, score.entropy))
    }

    /// With p = softmax(z): d logprob / dz_j = [j = target] - p_j; d entropy / dz_j = -p_j (log p_j + entropy).
    #[inline(always)]
    fn replace(&self, row: usize, (slope, norm, entropy): &Self::At, logits: &mut [f32], first: usize) {
        for z in logits.iter_mut() {
            let logprob = norm.logprob(*z);
            *z = -exp(logprob) * (slope.logprob + slope.entropy * (logprob + entropy));
        }
        if let Some(z) = (self.targets[row] as usize).checked_sub(first).and_then(|it| logits.get_mut(it)) {
            *z += slope.logprob;
        }
    }
}
