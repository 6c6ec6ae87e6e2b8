//! What an evaluation is.

use serde::Serialize;

use super::id::SuiteId;
use super::observation::{Asked, Found, Observation};
use crate::stats::{Answers, Cell, Measure, Statistic, Value};

/// What the card says of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// What is put to the model.
    pub asks: &'static str,
    /// What the number is.
    pub measures: &'static str,
    /// Why it is there.
    pub why: &'static str,
    /// What it does not tell.
    pub limits: &'static str,
}

/// One evaluation: what it asks, how an answer is read, how observations become a number, and what the card says of it.
pub trait Suite: Sync {
    /// Its name in results.
    fn id(&self) -> SuiteId;

    /// Its name in the card.
    fn title(&self) -> &'static str;

    /// Its text in the card.
    fn about(&self) -> About;

    /// Whether it reads answers to the questions of `suite`. Most suites read those to their own.
    fn reads(&self, suite: &SuiteId) -> bool {
        *suite == self.id()
    }

    /// What such an answer is worth, from what was found out about it; `None` if it tells nothing.
    fn read(&self, found: &Found) -> Option<Value>;

    /// Whether it counts the observations of `suite`: its own, and those of its parts if it is a total.
    fn counts(&self, suite: &SuiteId) -> bool {
        *suite == self.id()
    }

    /// How observations become a number.
    fn statistic(&self) -> Statistic {
        Statistic::Average
    }

    /// The number over several models trained alike with different seeds, or over one; it picks the observations that it counts.
    fn measure(&self, runs: &[&[Observation]]) -> Measure {
        self.statistic().of(&self.cells(runs))
    }

    /// What every group of questions scored with every seed.
    fn answers(&self, runs: &[&[Observation]]) -> Answers {
        self.statistic().answers(&self.cells(runs))
    }

    /// The observations that it counts.
    fn cells<'a>(&self, runs: &[&'a [Observation]]) -> Vec<Vec<Cell<'a>>> {
        let counted = |run: &&'a [Observation]| {
            run.iter().filter(|it| self.counts(&it.suite)).map(|it| (&it.group, &it.value)).collect()
        };
        runs.iter().map(counted).collect()
    }
}

/// What an answer to `asked` shows to each of `suites`, in their order.
pub fn observe(suites: &[&dyn Suite], asked: &Asked, found: &Found) -> Vec<Observation> {
    let observation = |suite: &&dyn Suite| {
        Some(Observation {
            question: asked.question.clone(),
            group: asked.group.clone(),
            suite: suite.id(),
            technique: asked.technique.clone(),
            value: suite.read(found)?,
        })
    };
    suites.iter().filter(|it| it.reads(&asked.suite)).filter_map(observation).collect()
}
