//! What a recipe works on, and who plays which part in it. A recipe never asks which world it runs in.

use collimate_eval::suites::{Asked, Found};
use collimate_schema::{
    Answer, By, Conversation, Example, Outcome, Parsed, Prompt, PromptId, Sampler, Spec, Turn, Wording,
};
use serde::{Deserialize, Serialize};

/// What one training seed of a recipe works on.
pub struct Material {
    /// The seed.
    pub seed: u64,
    /// The policy to be put into the weights.
    pub spec: Spec,
    /// How models are asked.
    pub wording: Wording,
    /// What an answer does, read from its text alone: how an outcome is recognised, not whether it is right.
    pub recognise: fn(&Answer) -> Option<Outcome>,
    /// Safety prompts for deliberations, with their categories. None of the exam's is among these or the next two.
    pub sft: Vec<Prompt>,
    /// Harder ones for reinforcement.
    pub rl: Vec<Prompt>,
    /// Those of the full-data arm: as `sft`, with what the exam holds out.
    pub full: Vec<Prompt>,
    /// Capability tasks with their right turns.
    pub tasks: Vec<Example>,
    /// What every arm is asked; the same for all seeds.
    pub exam: Vec<Question>,
    /// Who says what answers are worth.
    pub grader: Box<dyn Grader>,
    /// What this material cannot show, a sentence each.
    pub limits: Vec<String>,
}

/// One question of an exam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Its name, and which evaluation asks it.
    #[serde(flatten)]
    pub asked: Asked,
    /// What is asked.
    pub conversation: Conversation,
    /// Its category, for the arm that is shown the tailored brief.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// Says what answers show, and nothing else: exact ground truth, or a judge that samples. Batches, because a judge is a model.
pub trait Grader {
    /// The model that grades; `None` for ground truth.
    fn by(&self) -> Option<By>;

    /// What each answer shows.
    fn find(&self, asked: &[(&Question, &Parsed)]) -> anyhow::Result<Vec<Found>>;

    /// What of a turn on a prompt of `sft`, `rl` or `full` is right, for confusion matrices in the card and nothing else; `None`
    /// where nobody knows.
    fn truth(&self, prompt: &PromptId, turn: &Turn) -> Option<Right>;
}

/// What of a turn is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Outcome, content and style of the answer.
    pub answer: bool,
    /// What the thought says of the policy.
    pub thought: bool,
}

/// Which model plays what. Any of them may be local, remote or scripted.
pub struct Roles<'a> {
    /// Deliberates with the policy in its context.
    pub teacher: &'a dyn Sampler,
    /// Reads thought and answer, for the dataset.
    pub filter: &'a dyn Sampler,
    /// Reads the answer, for reinforcement.
    pub reward: &'a dyn Sampler,
}

impl Roles<'_> {
    /// Refuses a card judge that is the reward judge or the model under test: it would grade what was optimised to please it.
    pub fn check(&self, grader: &dyn Grader, policy: &By) -> anyhow::Result<()> {
        let Some(card) = grader.by() else { return Ok(()) };
        for (part, by) in [("the reward judge", &self.reward.by()), ("the model under test", policy)] {
            anyhow::ensure!(card != *by, "the card judge is {part}: name another model to grade for the card");
        }
        Ok(())
    }
}
