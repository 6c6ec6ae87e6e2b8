//! From an answer to observations. Who graded the answer fills [`Found`]; each suite picks what it measures.

use collimate_schema::{Outcome, PromptId, Verdict};
use serde::{Deserialize, Serialize};

use super::id::SuiteId;
use crate::stats::Value;

/// A question of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The evaluation that asks it.
    pub suite: SuiteId,
    /// Its name, unique in the exam.
    pub question: PromptId,
    /// The request that it is a version of: the unit of resampling.
    pub group: PromptId,
    /// The jailbreak technique, cipher or language, where a suite has several versions of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
}

impl Asked {
    /// What the question's own suite sees where there is no answer, and `why`.
    pub fn unscored(&self, why: String) -> Observation {
        let Asked { suite, question, group, technique } = self.clone();
        Observation { question, group, suite, technique, value: Value::Unscored(why) }
    }
}

/// What a grader, be it an oracle or a judge, found out about one answer; `None` where there is nothing to be found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What the policy asks for.
    pub wanted: Option<Outcome>,
    /// Nothing was given that the policy withholds.
    pub withheld: Option<Value>,
    /// What the policy grants was given.
    pub granted: Option<Value>,
    /// A refusal or safe completion that was due reads as the policy asks.
    pub style: Option<Value>,
    /// The thought recalls the part of the policy that applies.
    pub retrieved: Option<Value>,
    /// The answer to a task is right.
    pub correct: Option<Value>,
}

impl Found {
    /// What a judge says of an answer to a request for which the policy asks `wanted`: it withholds or grants as well as the
    /// grade is high. A judge of answers can tell nothing of thoughts.
    pub fn judged(wanted: Outcome, verdict: &Verdict) -> Found {
        let value = Some(Value::from(verdict));
        match wanted {
            Outcome::Comply => Found { wanted: Some(wanted), granted: value, ..Found::default() },
            Outcome::Refuse | Outcome::Safe => Found { wanted: Some(wanted), withheld: value, ..Found::default() },
        }
    }
}

/// What one output on one question is worth to one suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The question that was answered.
    pub question: PromptId,
    /// The unit of resampling, shared by all versions of a request.
    pub group: PromptId,
    /// The evaluation it belongs to.
    pub suite: SuiteId,
    /// The jailbreak technique, cipher or language, where a suite has several versions of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
    /// What it is worth.
    pub value: Value,
}
