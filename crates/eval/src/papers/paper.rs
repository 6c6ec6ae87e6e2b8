//! What a paper measures and claims, as a value.

use serde::{Deserialize, Serialize};

use crate::suites::{Suite, SuiteId};

/// A paper: what is measured on which arms, and what is claimed of them.
pub struct Paper {
    /// Its name in cards.
    pub key: &'static str,
    /// Its name and where it is, for readers.
    pub title: &'static str,
    /// Its method, for readers of a card.
    pub method: &'static str,
    /// Its evaluations, in the order of the card.
    pub suites: &'static [&'static dyn Suite],
    /// Its arms; their order gives them their colours.
    pub arms: &'static [Arm],
    /// What it claims.
    pub claims: &'static [Assertion],
    /// The suites of the printed table, with their short names.
    pub columns: &'static [(SuiteId, &'static str)],
    /// The suites of the card's first table and of its bars, with their short names.
    pub headline: &'static [(SuiteId, &'static str)],
    /// What is said under the bars.
    pub figure: &'static str,
    /// What is held against each other in the card's first plot.
    pub tradeoff: &'static Tradeoff,
}

/// What is compared: a model, and what it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Arm {
    /// Its name in configs and results.
    pub key: &'static str,
    /// What readers call it.
    pub label: &'static str,
}

/// Two suites held against each other, a point for each arm.
pub struct Tradeoff {
    /// What the plot shows.
    pub title: &'static str,
    /// What is said under it.
    pub caption: &'static str,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
}

/// An axis of a plot.
pub struct Axis {
    /// What is measured along it.
    pub suite: SuiteId,
    /// Its short name.
    pub name: &'static str,
    /// What is written beside it.
    pub title: &'static str,
}

/// A claim before there are numbers.
pub struct Assertion {
    /// Short name.
    pub key: &'static str,
    /// The claim.
    pub statement: &'static str,
    /// What the paper reported.
    pub paper: &'static str,
    /// When we say that it held: if all `tests` do.
    pub rule: &'static str,
    /// What is compared.
    pub tests: &'static [Test],
}

/// A comparison before there are numbers.
#[derive(Clone, Debug)]
pub struct Test {
    /// Measured by which suite.
    pub suite: SuiteId,
    /// The arm in question.
    pub arm: &'static str,
    /// The arm that it is held against; `None` against a fixed bar.
    pub than: Option<&'static str>,
    /// What is asked.
    pub question: Question,
}

/// What one comparison asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The difference is above 0.
    Better,
    /// The difference is above minus this margin.
    NoWorseBy(f64),
    /// The value is above this bar.
    AtLeast(f64),
    /// The difference is above 0; if it is surely below this margin, there is no effect to speak of.
    Effect(f64),
    /// The difference exceeds that on another suite.
    WiderThanOn(SuiteId),
}

impl Paper {
    /// The evaluation of this name, if it is one of the paper's.
    pub fn suite(&self, id: &SuiteId) -> Option<&'static dyn Suite> {
        self.suites.iter().copied().find(|it| it.id() == *id)
    }

    /// What readers call an evaluation; its name if it is none of the paper's.
    pub fn suite_title<'a>(&self, id: &'a SuiteId) -> &'a str {
        self.suite(id).map_or(id.name(), |it| it.title())
    }

    /// What readers call an arm; its key if it is none of the paper's.
    pub fn label<'a>(&self, arm: &'a str) -> &'a str {
        self.arms.iter().find(|it| it.key == arm).map_or(arm, |it| it.label)
    }
}

impl Assertion {
    /// The arms that it needs, each once, in order.
    pub fn arms(&self) -> Vec<&'static str> {
        let mut arms = Vec::new();
        for arm in self.tests.iter().flat_map(|it| [Some(it.arm), it.than]).flatten() {
            if !arms.contains(&arm) {
                arms.push(arm);
            }
        }
        arms
    }
}

impl Test {
    /// Asks `question` about `arm` against `than`.
    pub const fn of(suite: SuiteId, arm: &'static str, than: &'static str, question: Question) -> Test {
        Test { suite, arm, than: Some(than), question }
    }

    /// Whether `arm` is better than `than`.
    pub const fn better(suite: SuiteId, arm: &'static str, than: &'static str) -> Test {
        Test::of(suite, arm, than, Question::Better)
    }
}

// Two papers of one key are the same paper: its texts are code, and a card keeps only its key.
impl PartialEq for Paper {
    fn eq(&self, other: &Paper) -> bool {
        self.key == other.key
    }
}

impl std::fmt::Debug for Paper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Paper").field(&self.key).finish()
    }
}
