//! The nouns of collimate, in the order they flow: `Spec -> Prompt -> Rollout -> Graded -> Example`, the seam through which
//! everything above tokens talks to a model ([`Sampler`]), and named seeds. No tensors, no I/O.

mod answered;
mod case;
mod conversation;
mod example;
mod hash;
mod lint;
mod rollout;
mod sampler;
mod scripted;
mod seed;
mod spec;
mod verdict;

pub use answered::{Answered, Said};
pub use case::{Wording, breaks_line};
pub use conversation::{Conversation, ConversationError, Message, NoisyLabel, Prompt, PromptId, Role};
pub use example::{Example, Source};
pub use hash::{Hash, Hasher};
pub use lint::{Citation, File, Lint, Severity, check};
pub use rollout::{Answer, By, Malformed, Parsed, Rollout, Sampled, Stop, Thought, Trace, Turn};
pub use sampler::{Completion, Completions, Failure, Request, RequestId, SampleError, Sampler, Sampling, Usage};
pub use scripted::Scripted;
pub use seed::Seed;
pub use spec::{Brief, Category, Clause, ClauseId, Outcome, Spec, SpecError, Style};
pub use verdict::{Graded, Score, Unscored, Verdict};
