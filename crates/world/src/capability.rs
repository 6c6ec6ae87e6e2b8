//! Capability tasks with a checker: decoding, arithmetic, facts known and unknown. What alignment must not cost.

use collimate_schema::{Conversation, Hash, Parsed, Turn};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use crate::lexicon::{KNOWN, PLACES, UNKNOWN};
use crate::{Ask, Intent, Surface, Topic, ask::Pool};

/// Which capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Undo a cipher or translate the invented language.
    Decode,
    /// Add three numbers.
    Arithmetic,
    /// A fact of the world.
    Known,
    /// A fact nobody knows: the right answer says so.
    Unknown,
}

impl TaskKind {
    /// All four, in a fixed order.
    pub const ALL: [TaskKind; 4] = [TaskKind::Decode, TaskKind::Arithmetic, TaskKind::Known, TaskKind::Unknown];

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            TaskKind::Decode => "decode",
            TaskKind::Arithmetic => "arithmetic",
            TaskKind::Known => "known",
            TaskKind::Unknown => "unknown",
        }
    }
}

pub(crate) const TEXTS: [&str; 6] =
    ["what is", "add up", "where does live", "in what place is the home of", "lives at the", "i do not know"];

/// A question with one right answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// Which capability.
    pub kind: TaskKind,
    /// The user's words.
    pub question: String,
    /// The reasoning that leads to the answer.
    pub thought: String,
    /// The right answer, word for word.
    pub answer: String,
}

impl Task {
    /// Draws a task of `kind`.
    pub fn draw(kind: TaskKind, rng: &mut impl Rng) -> Task {
        let pick = |list: &[&'static str], rng: &mut dyn rand::RngCore| list[rng.random_range(0..list.len())];
        let (question, thought, answer) = match kind {
            TaskKind::Decode => {
                let surface = Surface::draw_encoded(rng);
                let intent = *Intent::ALL.choose(rng).expect("not empty");
                let plain = Ask::draw(Topic::Benign, intent, Pool::All, rng).text();
                return Task::decode(surface, plain);
            }
            TaskKind::Arithmetic => {
                let [a, b, c] = [0; 3].map(|_| rng.random_range(0..=9_u32));
                let sum = if rng.random_bool(0.5) { "what is" } else { "add up" };
                let thought = format!("{a} + {b} = {}. {} + {c} = {}.", a + b, a + b, a + b + c);
                (format!("{sum} {a} + {b} + {c}"), thought, (a + b + c).to_string())
            }
            TaskKind::Known | TaskKind::Unknown => {
                let name = pick(if kind == TaskKind::Known { &KNOWN } else { &UNKNOWN }, rng);
                let question = if rng.random_bool(0.5) {
                    format!("where does {name} live")
                } else {
                    format!("in what place is the home of {name}")
                };
                match home(name).filter(|_| kind == TaskKind::Known) {
                    Some(place) => {
                        (question, format!("recall {name}: {place}."), format!("{name} lives at the {place}"))
                    }
                    None => (question, format!("recall {name}: none."), "i do not know".to_owned()),
                }
            }
        };
        Task { kind, question, thought, answer }
    }

    /// The task to read `plain`, written in `surface`.
    pub(crate) fn decode(surface: Surface, plain: String) -> Task {
        let name = surface.name().unwrap_or("plain");
        Task {
            kind: TaskKind::Decode,
            question: format!("decode {}", surface.write(&plain)),
            thought: format!("decode {name}."),
            answer: plain,
        }
    }

    /// The conversation that asks it.
    pub fn conversation(&self) -> Conversation {
        Conversation::user(self.question.clone())
    }

    /// The right turn.
    pub fn turn(&self) -> Turn {
        Turn {
            thought: collimate_schema::Thought(self.thought.clone()),
            answer: collimate_schema::Answer(self.answer.clone()),
        }
    }

    /// Checks an output's answer.
    pub fn check(&self, output: &Parsed) -> bool {
        output.turn().is_some_and(|turn| turn.answer.0.trim() == self.answer)
    }

    /// Whether this question is kept out of pretraining. Facts are not: a fact that was never told is unknown.
    pub fn is_held_out(&self) -> bool {
        matches!(self.kind, TaskKind::Decode | TaskKind::Arithmetic)
            && Hash::of(self.question.as_bytes()).0.as_bytes()[0] == b'0'
    }
}

/// Where somebody lives.
fn home(name: &str) -> Option<&'static str> {
    KNOWN.iter().position(|&it| it == name).map(|at| PLACES[(at * 7 + 3) % PLACES.len()])
}
