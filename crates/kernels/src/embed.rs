//! Token embedding.

use burn::Tensor;

use crate::plain;

/// Rows `tokens` [n] of `table` [V, D]; returns [n, D].
pub fn embed(table: Tensor<2>, tokens: &[u32]) -> Tensor<2> {
    let n_vocab = table.dims()[0];
    assert!(tokens.iter().all(|it| (*it as usize) < n_vocab), "token ids must be below the vocabulary size {n_vocab}");
    plain::embed(table, tokens)
}
