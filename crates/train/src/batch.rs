//! Token sequences padded to one length, with the positions that are trained.

use collimate_model::Encoded;

/// One trained token: the hidden state at `at` must predict `token`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Index into the batch's [B*T] positions; always the position before the token's own.
    pub at: u32,
    /// The token to predict.
    pub token: u32,
    /// Its share of the loss, 1 for all tokens of a plain mean.
    pub weight: f32,
}

/// Sequences that pass through the model together: a batch of a step, or one of its micro-batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Token ids, [B, T] row by row, padded on the right.
    pub tokens: Vec<u32>,
    /// T, the length of the longest sequence without its last token (which predicts nothing).
    pub time: usize,
    /// The trained tokens, in order of `at`.
    pub trained: Vec<Trained>,
}

impl Batch {
    /// Pads sequences to the longest; every token marked as trained weighs 1. A first token cannot be trained: nothing
    /// predicts it. Sequences have at least two tokens.
    pub fn new(sequences: &[&Encoded]) -> Batch {
        let time = sequences.iter().map(|it| it.tokens.len() - 1).max().expect("a batch has at least one sequence");
        let mut tokens = vec![0; sequences.len() * time];
        let mut trained = Vec::new();
        for (index, sequence) in sequences.iter().enumerate() {
            assert!(sequence.tokens.len() > 1 && !sequence.trained[0], "nothing predicts a first token");
            let inputs = &sequence.tokens[..sequence.tokens.len() - 1];
            tokens[index * time..][..inputs.len()].copy_from_slice(inputs);
            for (before, (token, is_trained)) in sequence.tokens[1..].iter().zip(&sequence.trained[1..]).enumerate() {
                if *is_trained {
                    trained.push(Trained { at: (index * time + before) as u32, token: *token, weight: 1.0 });
                }
            }
        }
        Batch { tokens, time, trained }
    }

    /// Micro-batches of at most `max_positions` positions, padding included (but at least one sequence each), of sequences
    /// sorted by length, so that little is padded. A step over them equals a step over one batch of all.
    pub fn split(sequences: &[Encoded], max_positions: usize) -> Vec<Batch> {
        let mut sorted: Vec<&Encoded> = sequences.iter().collect();
        sorted.sort_by_key(|it| it.tokens.len());
        let mut batches = Vec::new();
        let mut rest = sorted.as_slice();
        while !rest.is_empty() {
            let fits = |n: &usize| n * (rest[n - 1].tokens.len() - 1) <= max_positions;
            let n = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
            batches.push(Batch::new(&rest[..n]));
            rest = &rest[n..];
        }
        batches
    }

    /// Positions whose hidden state is scored, and the tokens they must predict.
    pub(crate) fn positions_and_targets(&self) -> (Vec<u32>, Vec<u32>) {
        self.trained.iter().map(|it| (it.at, it.token)).unzip()
    }
}
