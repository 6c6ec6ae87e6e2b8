//! The system card: a pure function of evaluations and the artefacts around them. Every number names the hashes of its
//! evidence, and a card whose evidence is not at hand does not build.

mod html;

use std::collections::BTreeSet;

use collimate_schema::{Conversation, Hash, Parsed, PromptId};
use serde::{Deserialize, Serialize};

use crate::{Claim, Evaluation, FilterReport, arms, claims, judge::Confusion};

/// A value with the hash of the artefact it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidenced<T> {
    /// Hash of the artefact.
    pub evidence: Hash,
    /// What it says.
    pub value: T,
}

/// Something with a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// What it is, for readers.
    pub name: String,
    /// Its hash.
    pub hash: Hash,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The recipe, as the command line names it.
    pub recipe: String,
    /// Hash of its configuration.
    pub config: Hash,
    /// Training seeds.
    pub seeds: Vec<u64>,
    /// The policy.
    pub spec: Named,
    /// Every checkpoint, the base model first.
    pub checkpoints: Vec<Named>,
}

/// How many of something went into a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataCount {
    /// The stage, such as `SFT`.
    pub stage: String,
    /// What was counted, such as `prompts`.
    pub what: String,
    /// How many.
    pub n: u64,
}

/// One step of reinforcement learning; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RlPoint {
    /// Optimizer steps taken.
    pub step: u64,
    /// Mean reward of the scored rollouts, in [0, 1].
    pub reward: Option<f64>,
    /// KL divergence from the policy's start, nats per token.
    pub kl: Option<f64>,
    /// Entropy, nats per token.
    pub entropy: Option<f64>,
    /// Mean length of a rollout, tokens.
    pub length: Option<f64>,
    /// Share of rollouts that were truncated.
    pub truncated: Option<f64>,
    /// Share of groups without two different scores.
    pub degenerate: Option<f64>,
}

/// Reinforcement learning over its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RlCurve {
    /// The arm that was trained.
    pub arm: String,
    /// The training seed.
    pub seed: u64,
    /// Hash of the metrics file.
    pub evidence: Hash,
    /// In order of steps.
    pub points: Vec<RlPoint>,
}

/// The evaluation of a policy in the middle of its reinforcement learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waypoint {
    /// Optimizer steps taken.
    pub step: u64,
    /// What it scored, over all training seeds; its arm is the one being trained.
    pub evaluation: Evaluation,
}

/// One arm's reply to a sampled prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The arm.
    pub arm: String,
    /// What it said.
    pub parsed: Parsed,
    /// Whether that did what the prompt's suite asks; `None` if nothing graded it.
    pub pass: Option<bool>,
}

/// A prompt to read, with every arm's reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// How long a stage took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage.
    pub stage: String,
    /// Wall clock, seconds.
    pub seconds: f64,
}

/// Everything a card is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// The card's title.
    pub title: String,
    /// What was run.
    pub run: RunFacts,
    /// One per arm, in the order of tables and plots.
    pub evaluations: Vec<Evaluation>,
    /// Policies on their way through reinforcement learning, in order of steps.
    pub waypoints: Vec<Waypoint>,
    /// What went into the stages.
    pub data: Vec<Evidenced<DataCount>>,
    /// What the filter did, for each training seed.
    pub filters: Vec<Evidenced<FilterReport>>,
    /// Judges against the ground truth.
    pub confusions: Vec<Evidenced<Confusion>>,
    /// Reinforcement learning over its steps.
    pub curves: Vec<RlCurve>,
    /// Prompts to read.
    pub samples: Vec<Sample>,
    /// What this run does not show, a sentence each.
    pub limits: Vec<String>,
    /// How long it took; outside the card's hash.
    pub times: Vec<StageTime>,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemCard {
    #[serde(flatten)]
    contents: Contents,
    claims: Vec<Claim>,
}

/// Why a card may not be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleCard {
    /// A number rests on an artefact that is not there, or has changed.
    #[error(
        "{what} rests on evidence `{hash}`, which the run folder does not hold: run the recipe again to build the card anew"
    )]
    Evidence {
        /// What rests on it.
        what: String,
        /// The hash that is missing.
        hash: Hash,
    },
    /// The claims do not follow from the numbers.
    #[error("the card's claims do not follow from its numbers: run the recipe again to build the card anew")]
    Claims,
}

impl SystemCard {
    /// Builds the card, and refuses if some number's evidence is not among the hashes `present` in the run folder.
    pub fn new(contents: Contents, present: &BTreeSet<Hash>) -> Result<SystemCard, StaleCard> {
        let claims = claims(&contents.evaluations);
        let card = SystemCard { contents, claims };
        card.verify(present)?;
        Ok(card)
    }

    /// Refuses a card, loaded from a file perhaps, whose evidence is not `present` or whose claims do not follow from its
    /// numbers.
    pub fn verify(&self, present: &BTreeSet<Hash>) -> Result<(), StaleCard> {
        if let Some((what, hash)) = self.evidence().into_iter().find(|(_, hash)| !present.contains(hash)) {
            return Err(StaleCard::Evidence { what, hash: hash.clone() });
        }
        if self.claims == claims(&self.contents.evaluations) { Ok(()) } else { Err(StaleCard::Claims) }
    }

    /// What it was made from.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The paper's claims, decided.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Content address; how long the stages took does not matter to it.
    pub fn hash(&self) -> Hash {
        Hash::of_json(&SystemCard {
            contents: Contents { times: Vec::new(), ..self.contents.clone() },
            claims: self.claims.clone(),
        })
    }

    /// The text of `card.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a card is plain data");
        text.push('\n');
        text
    }

    /// The text of `card.html`: one file without scripts or links to anything outside it.
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// Every artefact that some number rests on, with what rests on it.
    pub fn evidence(&self) -> Vec<(String, &Hash)> {
        let Contents { evaluations, waypoints, data, filters, confusions, curves, samples, .. } = &self.contents;
        let mut all = Vec::new();
        for evaluation in evaluations {
            for source in &evaluation.sources {
                let what = format!("evaluation of `{}`, seed {}", arms::label(&evaluation.arm), source.seed);
                all.push((what, &source.evidence));
            }
        }
        for Waypoint { step, evaluation } in waypoints {
            let what = format!("evaluation of `{}` at step {step}", arms::label(&evaluation.arm));
            all.extend(evaluation.evidence().map(|hash| (what.clone(), hash)));
        }
        all.extend(data.iter().map(|it| (format!("{}: {}", it.value.stage, it.value.what), &it.evidence)));
        all.extend(filters.iter().map(|it| ("filter report".to_owned(), &it.evidence)));
        all.extend(confusions.iter().map(|it| (format!("confusion of `{}`", it.value.judge), &it.evidence)));
        all.extend(
            curves.iter().map(|it| (format!("curve of `{}`, seed {}", arms::label(&it.arm), it.seed), &it.evidence)),
        );
        all.extend(samples.iter().map(|it| (format!("sample `{}`", it.prompt), &it.evidence)));
        all
    }
}

#[cfg(test)]
mod tests;
