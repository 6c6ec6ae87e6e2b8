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
    /// Draw among the k likeliest tokens only; 0 is all.
    #[serde(default)]
    pub top_k: u32,
    /// Draw among the likeliest tokens only whose probabilities reach this sum; 1 is all.
    #[serde(default = "Sampling::everything")]
    pub top_p: f32,
    /// Draw only among tokens that are at least this times as likely as the likeliest; 0 is all.
    #[serde(default)]
    pub min_p: f32,
    /// Tokens of thought after which the answer is begun for the model; `None` lets it think. The forced token is in the
    /// trace, so such rollouts are not the policy's own: measure with them, do not train on them.
    #[serde(default)]
    pub thought_budget: Option<u32>,
}

impl Sampling {
    /// From the whole distribution at `temperature`, without a thought budget.
    pub const fn at(temperature: f32, max_tokens: u32) -> Sampling {
        Sampling { temperature, max_tokens, top_k: 0, top_p: 1.0, min_p: 0.0, thought_budget: None }
    }

    /// The likeliest token each time.
    pub const fn greedy(max_tokens: u32) -> Sampling {
        Sampling::at(0.0, max_tokens)
    }

    /// Whether what is sampled is drawn from the policy itself, so that recorded log-probabilities are those it was drawn with.
    pub fn is_on_policy(&self) -> bool {
        *self == Sampling::at(1.0, self.max_tokens)
    }

    const fn everything() -> f32 {
        1.0
    }
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
    /// Texts that end the continuation where its answer first says one of them; the turn ends before it.
    pub stop: Vec<String>,
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
