//! The codec: the one place where conversations become tokens and sampled tokens become turns, for training and sampling
//! alike.
//!
//! What a model is given is laid out in pieces: tokens that the template writes, and content that is only ever text. A
//! [`Codec`] says how one family of models lays out conversations and reads its turns back; everything above it, the engine
//! and the mask proof too, knows no control token by name.

use collimate_schema::{Conversation, Example, Parsed, Stop, Turn};

use crate::chat::tokenizer::Tokenizer;

/// A part of a prompt or a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Tokens that the template writes, control tokens among them.
    Template(Vec<u32>),
    /// Text that is only ever text: whatever it spells, it becomes no control token.
    Content(String),
}

/// A turn in pieces, stop token included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnPieces {
    /// Everything before the answer's first word.
    pub before_answer: Vec<Piece>,
    /// The answer and the stop token.
    pub answer: Vec<Piece>,
}

/// How a model writes what it thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoughts {
    /// Not at all: a turn is its answer.
    None,
    /// Between tags, before the answer.
    Tags,
}

/// A conversation or a turn that a template does not lay out, in the template's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chat template does not lay it out: {0}")]
pub struct Unrenderable(pub String);

/// How a family of models writes conversations and turns as tokens, and how its turns are read back.
pub trait Codec: Send + Sync {
    /// Text <-> ids.
    fn tokenizer(&self) -> &Tokenizer;

    /// The token that begins every sequence, once, if there is one.
    fn bos(&self) -> Option<u32>;

    /// The tokens that end a turn; the first is the one that [`Codec::turn`] writes.
    fn stops(&self) -> &[u32];

    /// What the model is asked to continue: one token at least.
    fn prompt(&self, conversation: &Conversation) -> Result<Vec<Piece>, Unrenderable>;

    /// What the model continues with, up to its stop token.
    fn turn(&self, turn: &Turn) -> Result<TurnPieces, Unrenderable>;

    /// Reads what was sampled after a prompt, stop token included if that is what ended it. Undoes [`Codec::turn`].
    fn parse(&self, sampled: &[u32], stop: Stop) -> Parsed;

    /// How its models think.
    fn thought(&self) -> Thoughts;

    /// Tokens of the thought that is open at the end of `sampled`; `None` where none is.
    fn open_thought(&self, sampled: &[u32]) -> Option<usize>;

    /// The answer that `sampled` has so far; `None` before it begins.
    fn answer_so_far(&self, sampled: &[u32]) -> Option<String>;

    /// What ends an open thought and begins the answer.
    fn ends_thought(&self) -> &[u32];

    /// Tokens other than [`Codec::stops`] that no answer of a well-formed turn holds.
    fn never_in_answer(&self) -> &[u32];

    /// The bytes that make it this codec and no other: part of a checkpoint's content address.
    fn identity(&self) -> Vec<&[u8]>;

    /// Its files in a checkpoint directory, by name, for a model of `n_positions`.
    fn files(&self, n_positions: usize) -> Vec<(&'static str, String)>;
}

/// A turn as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedTurn {
    /// Stop token included.
    pub tokens: Vec<u32>,
    /// How many of them stand before the answer.
    pub n_before_answer: usize,
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

impl dyn Codec + '_ {
    /// The tokens of [`Codec::prompt`].
    pub fn encode_prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, Unrenderable> {
        Ok(self.encode_pieces(&self.prompt(conversation)?))
    }

    /// The tokens of [`Codec::turn`].
    pub fn encode_turn(&self, turn: &Turn) -> Result<EncodedTurn, Unrenderable> {
        let TurnPieces { before_answer, answer } = self.turn(turn)?;
        let mut tokens = self.encode_pieces(&before_answer);
        let n_before_answer = tokens.len();
        tokens.extend(self.encode_pieces(&answer));
        Ok(EncodedTurn { tokens, n_before_answer })
    }

    /// A context that is not trained on and the turn that is, stop token included.
    pub fn encode_target(&self, context: &Conversation, target: &Turn) -> Result<Encoded, Unrenderable> {
        let mut tokens = self.encode_prompt(context)?;
        let n_context = tokens.len();
        tokens.extend(self.encode_turn(target)?.tokens);
        let trained = (0..tokens.len()).map(|index| index >= n_context).collect();
        Ok(Encoded { tokens, trained })
    }

    /// The context and the target of an example of a dataset, as [`encode_target`](#method.encode_target) has them.
    pub fn encode_example(&self, example: &Example) -> Result<Encoded, Unrenderable> {
        self.encode_target(&example.context, &example.target)
    }

    /// The template's tokens as they are, content as text.
    pub fn encode_pieces(&self, pieces: &[Piece]) -> Vec<u32> {
        let mut tokens = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Template(written) => tokens.extend(written),
                Piece::Content(text) => tokens.extend(self.tokenizer().encode(text)),
            }
        }
        tokens
    }
}
