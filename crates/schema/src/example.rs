//! Training examples: a context that is not trained on, and a turn that is.

use serde::{Deserialize, Serialize};

use crate::conversation::{Conversation, Prompt, PromptId};
use crate::rollout::Turn;

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

impl Example {
    /// The prompt alone, for a step that samples its own answers.
    pub fn question(&self) -> Prompt {
        Prompt { id: self.prompt.clone(), conversation: self.context.clone(), category: None, label: None }
    }
}
