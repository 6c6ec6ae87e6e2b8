//! What a model under test said: the artefact that observations refer to.

use serde::{Deserialize, Serialize};

use crate::conversation::PromptId;
use crate::rollout::{By, Parsed, Stop};
use crate::sampler::Failure;

/// One answer to one question of an exam.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Which question.
    pub question: PromptId,
    /// Who answered.
    pub by: By,
    /// What it said, or why it could not be asked.
    pub said: Said,
}

/// An answer, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A continuation.
    Output {
        /// What it reads as.
        parsed: Parsed,
        /// Why it ended.
        stop: Stop,
    },
    /// None; not behaviour of the model.
    Failed(Failure),
}

impl Answered {
    /// What was said, if anything was.
    pub fn parsed(&self) -> Option<&Parsed> {
        match &self.said {
            Said::Output { parsed, .. } => Some(parsed),
            Said::Failed(_) => None,
        }
    }
}
