//! The seam: everything above tokens talks to models through [`Sampler`].

use serde::{Deserialize, Serialize};

use crate::{By, Conversation, Parsed, Seed, Stop, Trace};

/// A request's name, unique within a batch. Its order is the order of artefacts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub String);

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Softmax temperature; 0 is greedy.
    pub temperature: f32,
    /// Most tokens to sample, stop token included.
    pub max_tokens: u32,
}

/// A conversation to be continued.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Name within the batch.
    pub id: RequestId,
    /// What to continue.
    pub conversation: Conversation,
    /// How.
    pub sampling: Sampling,
    /// The request's own randomness, so that its sample does not depend on its neighbours' draws.
    pub seed: Seed,
}

/// A finished continuation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Which request.
    pub id: RequestId,
    /// What was sampled.
    pub trace: Trace,
    /// What it reads as.
    pub parsed: Parsed,
    /// Why it ended.
    pub stop: Stop,
}

/// Finished continuations, in the order they finish; dropping it cancels the rest.
pub type Completions<'a> = Box<dyn Iterator<Item = Result<Completion, SampleError>> + 'a>;

/// Why a sampler could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The rendered prompt leaves no room for the answer.
    #[error(
        "request `{id}` is {tokens} tokens long; with {max_tokens} more it exceeds the context of {context}: shorten it or lower max_tokens"
    )]
    TooLong {
        /// Which request.
        id: String,
        /// Rendered length, tokens.
        tokens: usize,
        /// Tokens to be sampled.
        max_tokens: u32,
        /// The model's context, tokens.
        context: usize,
    },
    /// This sampler cannot score given continuations.
    #[error("this sampler cannot score given continuations")]
    Unsupported,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A model as seen from above tokens.
pub trait Sampler {
    /// Who is sampling, for provenance.
    fn by(&self) -> By;

    /// Continues every conversation of `batch`; ids must be unique.
    fn sample(&self, batch: Vec<Request>) -> Result<Completions<'_>, SampleError>;

    /// Natural-log probability of each of `choices`, as the continuation of the rendered `context` (summed over its tokens).
    fn score(&self, context: &Conversation, choices: &[String]) -> Result<Vec<f64>, SampleError>;
}
