//! The seam: everything above tokens talks to models through [`Sampler`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conversation::{Conversation, PromptId};
use crate::hash::Hash;
use crate::rollout::{By, Parsed, Stop, Trace};
use crate::seed::Seed;

/// A request's name, unique within a batch: what is asked for, of which prompt, which sample of it, which reading of that
/// sample. It prints itself, as `filter/p7/2/0`, to draw seeds by and for people to read; nothing parses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId {
    /// What is asked for, such as `deliberate` or `filter`.
    pub what: String,
    /// Of which prompt.
    pub prompt: PromptId,
    /// Which sample, from 0, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// Which reading of the sample, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<u32>,
}

impl RequestId {
    /// The only request for `what` of `prompt`.
    pub fn new(what: impl Into<String>, prompt: &PromptId) -> RequestId {
        RequestId { what: what.into(), prompt: prompt.clone(), sample: None, reading: None }
    }

    /// The request for this sample of it.
    pub fn sample(self, sample: u32) -> RequestId {
        RequestId { sample: Some(sample), ..self }
    }

    /// The request for this reading of it.
    pub fn reading(self, reading: u32) -> RequestId {
        RequestId { reading: Some(reading), ..self }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.what, self.prompt)?;
        [self.sample, self.reading].into_iter().flatten().try_for_each(|it| write!(f, "/{it}"))
    }
}

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Softmax temperature; 0 is greedy.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub temperature: f32,
    /// Most tokens to sample, stop token included.
    #[schemars(range(min = 1, max = 1_000_000), extend("unit" = "tokens"))]
    pub max_tokens: u32,
    /// Draw among the k likeliest tokens only; 0 is all.
    #[serde(default)]
    #[schemars(extend("unit" = "tokens"))]
    pub top_k: u32,
    /// Draw among the likeliest tokens only whose probabilities reach this sum; 1 is all.
    #[serde(default = "Sampling::everything")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub top_p: f32,
    /// Draw only among tokens that are at least this times as likely as the likeliest; 0 is all.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_p: f32,
    /// Tokens of thought after which the answer is begun for the model; left out, it thinks as long as it will. The forced token is in the
    /// trace, so such rollouts are not the policy's own: measure with them, do not train on them.
    #[serde(default)]
    #[schemars(extend("unit" = "tokens"))]
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

impl Request {
    /// A request without stop texts, whose randomness is the child of `seed` by its name.
    pub fn new(id: RequestId, conversation: Conversation, sampling: Sampling, seed: Seed) -> Request {
        let seed = seed.child(&id.to_string());
        Request { id, conversation, sampling, seed, stop: Vec::new() }
    }

    /// Content address of what `by` is asked; its name is no part of it. Equal hashes have the same answer.
    pub fn hash(&self, by: &By) -> Hash {
        Hash::of_json(&(by, &self.conversation, &self.sampling, self.seed, &self.stop))
    }
}

/// Tokens read and written, as a bill counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of the prompt.
    pub read: u64,
    /// Sampled, stop token included.
    pub written: u64,
}

/// A finished continuation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// What was sampled.
    pub trace: Trace,
    /// What it reads as.
    pub parsed: Parsed,
    /// Why it ended.
    pub stop: Stop,
    /// What it cost; `None` where the sampler does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Why a request got no continuation. It says nothing about how the model behaves, and is counted, never scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Whoever runs the model declined to have it answered.
    #[error("the request was refused: {0}")]
    Refused(String),
    /// The model could not be reached, or broke off. Asking again may help.
    #[error("the model is unavailable: {0}")]
    Unavailable(String),
    /// This sampler cannot do what the request asks for.
    #[error("this sampler cannot {0}")]
    Unsupported(String),
    /// What the model computes is no longer a number: its weights are broken, or training diverged.
    #[error("the model's probabilities are not finite: its weights are broken, or its training diverged")]
    NotFinite,
    /// The rendered prompt leaves no room for the answer.
    #[error(
        "the prompt is {tokens} tokens long; with {max_tokens} more it exceeds the context of {context}: shorten it or lower max_tokens"
    )]
    TooLong {
        /// Rendered length, tokens.
        tokens: usize,
        /// Tokens to be sampled.
        max_tokens: u32,
        /// The model's context, tokens.
        context: usize,
    },
}

impl Failure {
    /// Whether the stage that asks must end, and its other requests with it: another time, or another model, may do better.
    pub fn ends_the_stage(&self) -> bool {
        matches!(self, Failure::Unavailable(_) | Failure::NotFinite)
    }
}

/// Finished continuations, in the order they finish; dropping it cancels the rest.
pub type Completions<'a> = Box<dyn Iterator<Item = (RequestId, Result<Completion, Failure>)> + Send + 'a>;

/// Why a batch could not be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Two requests of one name.
    #[error("request `{0}` stands twice in the batch: give it another id")]
    Twice(RequestId),
}

impl SampleError {
    /// Refuses a batch in which a name stands twice.
    pub fn check(batch: &[Request]) -> Result<(), SampleError> {
        let mut ids = std::collections::BTreeSet::new();
        match batch.iter().find(|it| !ids.insert(&it.id)) {
            Some(twice) => Err(SampleError::Twice(twice.id.clone())),
            None => Ok(()),
        }
    }
}

/// A model as seen from above tokens.
pub trait Sampler: Send + Sync {
    /// Who is sampling, for provenance.
    fn by(&self) -> By;

    /// Continues every conversation of `batch`; ids must be unique. A request that fails does not end the others.
    fn sample(&self, batch: Vec<Request>) -> Result<Completions<'_>, SampleError>;

    /// Natural-log probability of each of `choices`, as the continuation of the rendered `context` (summed over its tokens).
    fn score(&self, context: &Conversation, choices: &[String]) -> Result<Vec<f64>, Failure>;
}
