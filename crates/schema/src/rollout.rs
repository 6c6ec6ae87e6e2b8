//! What a model did: a rollout is one sampled continuation with its provenance.

use serde::{Deserialize, Serialize};

use crate::conversation::PromptId;
use crate::hash::Hash;

/// The chain of thought. Judged by the filter, never by the reward.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Thought(pub String);

/// The visible answer. The only part of a rollout that a reward may read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer(pub String);

/// A well-formed assistant turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// The reasoning before the answer; empty for a model that answers at once.
    pub thought: Thought,
    /// What the user sees.
    pub answer: Answer,
}

/// Why a continuation is not a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// The token budget ended before the stop token.
    Truncated,
    /// No thought was opened, or it was never closed.
    UnclosedThought,
    /// A second thought was opened, or a control token stands inside the text.
    StrayControl,
    /// Nothing follows the thought.
    EmptyAnswer,
}

/// A continuation, read: a turn, or the reason it is none. Both are behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parsed {
    /// Thought and answer.
    Turn(Turn),
    /// Not a turn.
    Malformed(Malformed),
}

impl Parsed {
    /// A well-formed turn, for scripts and tests.
    pub fn of(thought: &str, answer: &str) -> Parsed {
        Parsed::Turn(Turn { thought: Thought(thought.to_owned()), answer: Answer(answer.to_owned()) })
    }

    /// The turn, if the continuation is one.
    pub fn turn(&self) -> Option<&Turn> {
        match self {
            Parsed::Turn(turn) => Some(turn),
            Parsed::Malformed(_) => None,
        }
    }
}

/// Why sampling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The stop token was sampled.
    EndOfTurn,
    /// The answer said one of the request's stop texts.
    Text,
    /// `max_tokens` were sampled.
    Length,
}

/// Who sampled a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A checkpoint, by the hash of its contents.
    Checkpoint(Hash),
    /// A policy in the middle of training.
    Step {
        /// Of the training's name, its config and everything it started from.
        training: Hash,
        /// Optimizer steps taken before sampling.
        step: u64,
    },
    /// A remote endpoint or a scripted double, by name.
    Named(String),
}

/// One sampled token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Token id.
    pub token: u32,
    /// Log-probability under the distribution it was sampled from at temperature 1, natural logarithm.
    pub logprob: f32,
}

/// The sampled continuation in the finest form its sampler has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// Token by token, stop token included; what an RL step needs.
    Tokens {
        /// The rendered prompt, token ids.
        prompt: Vec<u32>,
        /// The continuation.
        sampled: Vec<Sampled>,
    },
    /// Text only (endpoints).
    Text(String),
}

/// One sampled continuation of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Which prompt.
    pub prompt: PromptId,
    /// Which of the samples of that prompt, from 0.
    pub ordinal: u32,
    /// Who sampled it.
    pub by: By,
    /// What was sampled.
    pub trace: Trace,
    /// What it reads as.
    pub parsed: Parsed,
    /// Why it ended.
    pub stop: Stop,
}
