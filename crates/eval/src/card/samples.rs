//! Prompts to read, with every arm's reply.

use collimate_schema::{Conversation, Hash, Parsed, PromptId};
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::papers::Paper;
use crate::stats;

/// One arm's reply to a sampled prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The arm.
    pub arm: String,
    /// What it said.
    pub parsed: Parsed,
    /// What that is worth to the prompt's suite.
    pub value: stats::Value,
}

/// A prompt to read, with every arm's reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The prompt's name.
    pub prompt: PromptId,
    /// What kind of prompt it is, for readers.
    pub kind: String,
    /// What was asked.
    pub conversation: Conversation,
    /// In the order of the arms.
    pub replies: Vec<Reply>,
    /// Hash of the artefact with the rollouts.
    pub evidence: Hash,
}

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// A few.
    pub samples: Vec<Sample>,
}

impl Part for Samples {
    fn key(&self) -> &'static str {
        "samples"
    }

    fn name(&self) -> &'static str {
        "Samples"
    }

    fn evidence<'a>(&'a self, _: &'a Numbers) -> Vec<(String, &'a Hash)> {
        self.samples.iter().map(|it| (format!("sample `{}`", it.prompt), &it.evidence)).collect()
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let samples: Vec<Value> = self.samples.iter().map(|it| sample(page.numbers.paper, it)).collect();
        render(include_str!("samples.html"), context! { samples })
    }
}

fn sample(paper: &Paper, Sample { prompt, kind, conversation, replies, evidence }: &Sample) -> Value {
    let replies: Vec<Value> = replies.iter().map(|it| reply(paper, it)).collect();
    context! { prompt, kind, messages => conversation.messages(), replies, evidence }
}

fn reply(paper: &Paper, Reply { arm, parsed, value }: &Reply) -> Value {
    let turn = parsed.turn();
    let malformed = match parsed {
        Parsed::Malformed(why) => Some(Value::from_serialize(why).to_string().replace('_', " ")),
        Parsed::Turn(_) => None,
    };
    let value = match value {
        stats::Value::Pass(true) => context! { word => "pass", class => "held" },
        stats::Value::Pass(false) => context! { word => "fail", class => "not-held" },
        stats::Value::Score(score) => context! { word => format!("{:.2}", score.get()), class => "unclear" },
        stats::Value::Unscored(_) => context! { word => "ungraded", class => "not-tested" },
    };
    context! {
        label => paper.label(arm),
        thought => turn.map_or("", |it| &it.thought.0),
        answer => turn.map_or("", |it| &it.answer.0),
        malformed,
        value,
    }
}
