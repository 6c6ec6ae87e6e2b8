//! The nouns of collimate, in the order they flow: `Spec -> Prompt -> Rollout -> Graded -> Dataset`, the seam through which
//! everything above tokens talks to a model ([`Sampler`]), named seeds, and run folders. No tensors.

mod case;
mod conversation;
mod dataset;
mod hash;
mod journal;
mod lint;
mod metrics;
mod rollout;
mod run;
mod sampler;
mod scripted;
mod seed;
mod spec;
mod verdict;
mod whole;

pub use case::judge_case;
pub use conversation::{Conversation, ConversationError, Message, NoisyLabel, Prompt, PromptId, Role, Split};
pub use dataset::{Dataset, Example, Source};
pub use hash::Hash;
pub use journal::Journal;
pub use lint::{Citation, File, Lint, Severity, check};
pub use metrics::{Metrics, Row};
pub use rollout::{Answer, By, Malformed, Parsed, Rollout, Sampled, Stop, Thought, Trace, Turn};
pub use run::{Artifact, ArtifactId, Lineage, RunError, RunFolder, RunSummary};
pub use sampler::{Completion, Completions, Request, RequestId, SampleError, Sampler, Sampling};
pub use scripted::Scripted;
pub use seed::Seed;
pub use spec::{Brief, Category, Clause, ClauseId, Outcome, Spec, SpecError, Style};
pub use verdict::{Graded, Score, Unscored, Verdict};
pub use whole::write_whole;
