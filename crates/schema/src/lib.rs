//! The nouns of collimate, in the order they flow: `Spec -> Prompt -> Rollout -> Graded -> Dataset`, the seam through which
//! everything above tokens talks to a model ([`Sampler`]), named seeds, and run folders. No tensors.

mod conversation;
mod dataset;
mod hash;
mod rollout;
mod sampler;
mod scripted;
mod seed;
mod spec;
mod verdict;

pub use conversation::{Conversation, ConversationError, Message, NoisyLabel, Prompt, PromptId, Role, Split};
pub use dataset::{Dataset, Example, Source};
pub use hash::Hash;
pub use rollout::{Answer, By, Malformed, Parsed, Rollout, Sampled, Stop, Thought, Trace, Turn};
pub use sampler::{Completion, Completions, Request, RequestId, SampleError, Sampler, Sampling};
pub use scripted::Scripted;
pub use seed::Seed;
pub use spec::{Brief, Category, Clause, ClauseId, Outcome, Spec, SpecError, Style};
pub use verdict::{Graded, Score, Unscored, Verdict};
