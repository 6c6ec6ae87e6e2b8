//! Training examples: a context that is not trained on, and a turn that is.

use serde::{Deserialize, Serialize};

use crate::{Conversation, Hash, PromptId, Turn};

/// Where an example comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A deliberation that passed the filter, its spec removed.
    Safety,
    /// Capability data, mixed in so that alignment costs nothing (section 3.3 of the paper).
    Capability,
}

/// One example: the loss is on `target` (thought, answer and stop token) only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The prompt it answers.
    pub prompt: PromptId,
    /// The untrained context: the original conversation, without the spec.
    pub context: Conversation,
    /// The trained turn; it may quote the spec.
    pub target: Turn,
    /// Where it comes from.
    pub source: Source,
}

/// Examples in the order of their prompts' ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The examples.
    pub examples: Vec<Example>,
}

impl Dataset {
    /// Content address.
    pub fn hash(&self) -> Hash {
        Hash::of_json(self)
    }
}
