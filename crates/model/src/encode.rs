//! Conversations and turns -> tokens, and sampled tokens -> a turn.

use collimate_schema::{Answer, Conversation, Example, Malformed, Parsed, Seed, Stop, Thought, Turn};
use rand::seq::SliceRandom;

use crate::{Control, Controls, Piece, Template, Tokenizer};

/// A tokenizer with its chat template: the one place where conversations become tokens, for training and sampling alike.
#[derive(Clone)]
pub struct Codec {
    /// Text <-> ids.
    pub tokenizer: Tokenizer,
    /// Messages -> pieces.
    pub template: Template,
}

/// A sequence to train on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, `[T]`.
    pub tokens: Vec<u32>,
    /// `[T]`; `trained[t]` says that the loss of predicting `tokens[t]` from `tokens[..t]` counts.
    pub trained: Vec<bool>,
}

impl Encoded {
    /// Length, tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Tokens whose loss counts.
    pub fn n_trained(&self) -> usize {
        self.trained.iter().filter(|it| **it).count()
    }
}

impl Codec {
    /// The tokenizer with the template of this program.
    pub fn new(tokenizer: Tokenizer) -> Codec {
        Codec { tokenizer, template: Template::default() }
    }

    /// What the model is asked to continue: from `<|bos|>` to `<|assistant|>`.
    pub fn encode_prompt(&self, conversation: &Conversation) -> Vec<u32> {
        self.encode_pieces(&self.template.prompt(conversation))
    }

    /// A turn as the model writes it: from `<|think|>` to `<|end|>`.
    pub fn encode_turn(&self, turn: &Turn) -> Vec<u32> {
        self.encode_pieces(&self.template.turn(turn))
    }

    /// A context that is not trained on and the turn that is, stop token included.
    pub fn encode_target(&self, context: &Conversation, target: &Turn) -> Encoded {
        let mut tokens = self.encode_prompt(context);
        let n_context = tokens.len();
        tokens.extend(self.encode_turn(target));
        let trained = (0..tokens.len()).map(|index| index >= n_context).collect();
        Encoded { tokens, trained }
    }

    /// [`Codec::encode_target`] of an example of a dataset.
    pub fn encode_example(&self, example: &Example) -> Encoded {
        self.encode_target(&example.context, &example.target)
    }

    /// Control tokens by id, text as content.
    pub fn encode_pieces(&self, pieces: &[Piece]) -> Vec<u32> {
        let mut tokens = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Control(control) => tokens.push(self.tokenizer.control(*control)),
                Piece::Text(text) => tokens.extend(self.tokenizer.encode_text(text)),
            }
        }
        tokens
    }

    /// Reads what was sampled after `<|assistant|>`, stop token included, if it is what ended it. Undoes [`Codec::encode_turn`].
    pub fn parse_continuation(&self, sampled: &[u32], stop: Stop) -> Parsed {
        match self.parse_turn(sampled, stop) {
            Ok(turn) => Parsed::Turn(turn),
            Err(malformed) => Parsed::Malformed(malformed),
        }
    }

    fn parse_turn(&self, sampled: &[u32], stop: Stop) -> Result<Turn, Malformed> {
        let [think, answer, end] = [Control::Think, Control::Answer, Control::End].map(|it| self.tokenizer.control(it));
        let body = match (stop, sampled) {
            (Stop::EndOfTurn, [body @ .., last]) if *last == end => body,
            (Stop::Text, body) => body,
            _ => return Err(Malformed::Truncated),
        };
        let body = body.strip_prefix(&[think]).ok_or(Malformed::UnclosedThought)?;
        let is_control = |id: &u32| self.tokenizer.as_control(*id).is_some();
        let close = body.iter().position(is_control).ok_or(Malformed::UnclosedThought)?;
        let (thought, rest) = body.split_at(close);
        let answer = rest.strip_prefix(&[answer]).ok_or(Malformed::StrayControl)?;
        if answer.iter().any(is_control) {
            return Err(Malformed::StrayControl);
        }
        let [thought, answer] = [thought, answer].map(|it| self.content(it));
        if answer.trim().is_empty() {
            return Err(Malformed::EmptyAnswer);
        }
        Ok(Turn { thought: Thought(thought), answer: Answer(answer) })
    }

    /// The answer that `sampled` has so far; `None` before it begins.
    pub(crate) fn answer_so_far(&self, sampled: &[u32]) -> Option<String> {
        let answer = self.tokenizer.control(Control::Answer);
        let at = sampled.iter().position(|it| *it == answer)?;
        Some(self.content(&sampled[at + 1..]))
    }

    /// Decodes one text piece without the space that the template put before it.
    fn content(&self, tokens: &[u32]) -> String {
        let text = self.tokenizer.decode(tokens, Controls::Skip);
        text.strip_prefix(' ').map(str::to_owned).unwrap_or(text)
    }
}

/// Sequences sorted into batches of similar length.
#[derive(Clone, Debug, PartialEq)]
pub struct Batches {
    /// Indices into the sequences; each stands in exactly one batch.
    pub batches: Vec<Vec<usize>>,
    /// Share of the batches' positions that hold padding, 0 to 1.
    pub padding_share: f64,
}

impl Batches {
    /// Batches of at most `rows` sequences: shuffled, sorted by length within windows of 32 batches, and the batches
    /// shuffled again, all by `seed`. `lengths[i]` is the length of sequence i, tokens.
    pub fn by_length(lengths: &[usize], rows: usize, seed: Seed) -> Batches {
        const WINDOW: usize = 32; // batches: wide enough that padding is rare, narrow enough that a pass stays mixed
        let mut rng = seed.child("batches").rng();
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.shuffle(&mut rng);
        let mut batches = Vec::new();
        for window in order.chunks_mut(rows.max(1) * WINDOW) {
            window.sort_by_key(|index| lengths[*index]);
            batches.extend(window.chunks(rows.max(1)).map(<[usize]>::to_vec));
        }
        batches.shuffle(&mut rng);
        let positions: usize =
            batches.iter().map(|batch| batch.len() * batch.iter().map(|it| lengths[*it]).max().unwrap_or(0)).sum();
        let tokens: usize = lengths.iter().sum();
        let padding_share = if positions == 0 { 0.0 } else { (positions - tokens) as f64 / positions as f64 };
        Batches { batches, padding_share }
    }
}
