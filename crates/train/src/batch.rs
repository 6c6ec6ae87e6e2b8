//! Token sequences packed one after the other, with the positions that are trained: nothing is computed for padding.

use std::cmp::Reverse;

use collimate_model::Encoded;

/// One trained token: the hidden state at `at` must predict `token`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Index into the batch's N positions; always the position before the token's own.
    pub at: u32,
    /// The token to predict.
    pub token: u32,
    /// Its share of the loss, 1 for all tokens of a plain mean.
    pub weight: f32,
}

/// Sequences that pass through the model together: a batch of a step, or one of its micro-batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Token ids [N]: each sequence without its last token, which predicts nothing.
    pub tokens: Vec<u32>,
    /// How many of them belong to each sequence, in order.
    pub lengths: Vec<usize>,
    /// The trained tokens, in order of `at`.
    pub trained: Vec<Trained>,
}

impl Batch {
    /// Packs sequences; every token marked as trained weighs 1. A first token cannot be trained: nothing predicts it.
    /// Sequences have at least two tokens.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a Encoded>) -> Batch {
        let (mut tokens, mut lengths, mut trained) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in sequences {
            assert!(sequence.tokens.len() > 1 && !sequence.trained[0], "nothing predicts a first token");
            let targets = sequence.tokens[1..].iter().zip(&sequence.trained[1..]).zip(tokens.len() as u32..);
            let is_trained = targets.filter(|((_, is_trained), _)| **is_trained);
            trained.extend(is_trained.map(|((token, _), at)| Trained { at, token: *token, weight: 1.0 }));
            lengths.push(sequence.tokens.len() - 1);
            tokens.extend_from_slice(&sequence.tokens[..sequence.tokens.len() - 1]);
        }
        Batch { tokens, lengths, trained }
    }

    /// Micro-batches of `sequences`, as [`pack`] puts them together. A step over them equals a step over one batch of all.
    pub fn split(sequences: &[Encoded], max_positions: usize) -> Vec<Batch> {
        let groups = pack(sequences, max_positions);
        groups.into_iter().map(|group| Batch::new(group.into_iter().map(|it| &sequences[it]))).collect()
    }

    /// Positions whose hidden state is scored, and the tokens they must predict.
    pub(crate) fn positions_and_targets(&self) -> (Vec<u32>, Vec<u32>) {
        self.trained.iter().map(|it| (it.at, it.token)).unzip()
    }
}

/// Which of `sequences` go together: groups of at most `max_positions` positions (or one sequence), as few and as equal as
/// taking the longest first and putting each where there is most room makes them.
pub fn pack(sequences: &[Encoded], max_positions: usize) -> Vec<Vec<usize>> {
    let length = |index: &usize| sequences[*index].tokens.len() - 1;
    let mut longest_first: Vec<usize> = (0..sequences.len()).collect();
    longest_first.sort_by_key(|it| Reverse(length(it)));
    let n_positions: usize = longest_first.iter().map(|it| length(it).min(max_positions)).sum();
    let mut groups: Vec<(usize, Vec<usize>)> = vec![(0, Vec::new()); n_positions.div_ceil(max_positions)];
    for index in longest_first {
        let length = length(&index);
        let roomiest = groups.iter_mut().min_by_key(|it| it.0).expect("there are positions");
        if roomiest.1.is_empty() || roomiest.0 + length <= max_positions {
            roomiest.0 += length;
            roomiest.1.push(index);
        } else {
            groups.push((length, vec![index]));
        }
    }
    groups.into_iter().map(|it| it.1).collect()
}
