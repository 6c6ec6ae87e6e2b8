//! Token sequences packed one after the other, with the positions that are trained: nothing is computed for padding, nor twice
//! for a beginning that sequences have in common.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::HashMap;

use collimate_model::{Encoded, Layout};

/// One trained token: the hidden state at `at` must predict `token`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Index into the batch's N positions; always the position before the token's own. Tokens that follow one beginning share it.
    pub at: u32,
    /// The token to predict.
    pub token: u32,
    /// Its share of the loss, 1 for all tokens of a plain mean.
    pub weight: f32,
}

/// Sequences that pass through the model together: a batch of a step, or one of its micro-batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Token ids [N] of the positions that are computed: each sequence without its last token, which predicts nothing.
    pub tokens: Vec<u32>,
    /// How they make up the sequences, in order.
    pub layout: Layout,
    /// The trained tokens, sequence by sequence.
    pub trained: Vec<Trained>,
}

/// Fewest tokens of a common beginning that is computed once.
const COMMON: usize = 8;
/// Where less than one position in so many is saved, nothing is shared: positions are copied for it.
const WORTH: usize = 8;

impl Batch {
    /// Packs sequences; every token marked as trained weighs 1. A first token cannot be trained: nothing predicts it.
    /// Sequences have at least two tokens.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a Encoded>) -> Batch {
        let sequences: Vec<&Encoded> = sequences.into_iter().collect();
        let inputs: Vec<&[u32]> = sequences.iter().map(|it| &it.tokens[..it.tokens.len() - 1]).collect();
        let beginnings = common_beginnings(&inputs);
        let (mut tokens, mut computed, mut starts, mut trained) =
            (Vec::new(), Vec::<u32>::new(), Vec::new(), Vec::new());
        for ((sequence, inputs), (of, n_common)) in sequences.iter().zip(&inputs).zip(beginnings) {
            assert!(sequence.tokens.len() > 1 && !sequence.trained[0], "nothing predicts a first token");
            let start = computed.len();
            starts.push(start);
            computed.extend_from_within(starts[of]..starts[of] + n_common);
            computed.extend((tokens.len() as u32..).take(inputs.len() - n_common));
            tokens.extend_from_slice(&inputs[n_common..]);
            let targets = sequence.tokens[1..].iter().zip(&sequence.trained[1..]).zip(&computed[start..]);
            let is_trained = targets.filter(|((_, is_trained), _)| **is_trained);
            trained.extend(is_trained.map(|((token, _), at)| Trained { at: *at, token: *token, weight: 1.0 }));
        }
        let lengths: Vec<usize> = inputs.iter().map(|it| it.len()).collect();
        Batch { tokens, layout: Layout::sharing(&lengths, &computed), trained }
    }

    /// Micro-batches of `sequences`, as [`pack`] puts them together. A step over them equals a step over one batch of all.
    pub fn split<S: Borrow<Encoded>>(sequences: &[S], max_positions: usize) -> Vec<Batch> {
        let groups = pack(sequences, max_positions);
        groups.into_iter().map(|group| Batch::new(group.into_iter().map(|it| sequences[it].borrow()))).collect()
    }

    /// Positions whose hidden state is scored, and the tokens they must predict.
    pub(crate) fn positions_and_targets(&self) -> (Vec<u32>, Vec<u32>) {
        self.trained.iter().map(|it| (it.at, it.token)).unzip()
    }
}

/// For each sequence, which one it shares its beginning with, itself or one before it, and how many tokens.
fn common_beginnings(sequences: &[&[u32]]) -> Vec<(usize, usize)> {
    let mut latest: HashMap<&[u32], usize> = HashMap::new(); // of those that begin with these tokens
    let mut beginnings = Vec::with_capacity(sequences.len());
    for (index, sequence) in sequences.iter().enumerate() {
        let before = sequence.get(..COMMON).and_then(|it| latest.insert(it, index));
        let n_common = |of: usize| sequence.iter().zip(sequences[of]).take_while(|(a, b)| a == b).count();
        beginnings.push(before.map_or((index, 0), |of| (of, n_common(of))));
    }
    let n_saved: usize = beginnings.iter().map(|it| it.1).sum();
    let n_all: usize = sequences.iter().map(|it| it.len()).sum();
    if n_saved * WORTH < n_all {
        beginnings.iter_mut().for_each(|it| it.1 = 0);
    }
    beginnings
}

/// Which of `sequences` go together: groups of at most `max_positions` positions (or one sequence), as few and as equal as
/// taking the longest first and putting each where there is most room makes them.
pub fn pack<S: Borrow<Encoded>>(sequences: &[S], max_positions: usize) -> Vec<Vec<usize>> {
    let length = |index: &usize| sequences[*index].borrow().tokens.len() - 1;
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
