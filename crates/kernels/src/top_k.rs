//! What is stored of a teacher's distributions.

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
        if k == 0 || tokens.len() != logprobs.len() || !tokens.len().is_multiple_of(k) {
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

    /// The tokens of all positions, [n, k].
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
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
    fn rows_are_sorted() {
        let stored = TopK::new(2, &[5, 1, 2, 9], &[-1.0, -2.0, -3.0, -4.0]).expect("fits");
        assert_eq!(stored.at(0), (&[1, 5][..], &[-2.0, -1.0][..]));
        assert_eq!(stored.at(1), (&[2, 9][..], &[-3.0, -4.0][..]));
        assert_eq!((stored.n_positions(), stored.n_each()), (2, 2));
    }
}
