//! What a recipe needs of a world. It never asks which world it runs in.

use collimate_eval::suites::Observation;
use collimate_schema::{Answer, Conversation, Example, Outcome, Parsed, Prompt, PromptId, Seed, Spec, Turn};
use collimate_world::{CaseCounts, Diet};

/// A spec under test with prompts to train on and an exam to be measured by.
pub trait World {
    /// The policy to be put into the weights.
    fn spec(&self) -> &Spec;

    /// Safety prompts with their categories. None of the exam's is among them.
    fn prompts(&self, diet: Diet, n: usize, seed: Seed) -> Vec<Prompt>;

    /// Capability examples; their answers are right word for word.
    fn capability(&self, n: usize, seed: Seed) -> Vec<Example>;

    /// What an answer does, read from its text alone: how an outcome is recognised, not whether it is right.
    fn outcome(&self, answer: &Answer) -> Option<Outcome>;

    /// The questions that every arm is asked, with the key that grades them.
    fn exam(&self, counts: &CaseCounts, n_capability: usize, seed: Seed) -> Exam;

    /// For confusion matrices in the card, and nothing else: whether a turn on each of `prompts(diet, n, seed)` is as the spec
    /// asks, in outcome, content and style.
    fn audit(&self, diet: Diet, n: usize, seed: Seed) -> Audit;
}

/// One question of an exam.
#[derive(Clone, Debug)]
pub struct Question {
    /// Unique in the exam.
    pub id: PromptId,
    /// What is asked.
    pub conversation: Conversation,
    /// Its category, for the arm that is shown the tailored brief.
    pub category: Option<String>,
}

/// Questions and the key to them. The key turns outputs into observations and into nothing else.
pub struct Exam {
    /// In a fixed order.
    pub questions: Vec<Question>,
    /// What an output on the question of this index shows.
    pub observe: Key,
}

/// From a question's index and an output on it to observations.
pub type Key = Box<dyn Fn(usize, &Parsed) -> Vec<Observation>>;

/// Whether a turn on the prompt of this index is as the spec asks.
pub type Audit = Box<dyn Fn(usize, &Turn) -> bool>;
