//! What a policy asks for: the one place where a request's topic and intent meet a spec.

use collimate_schema::{Category, ClauseId, Outcome, Spec, Style};
use serde::{Deserialize, Serialize};

use crate::{Intent, Topic};

/// The part of a spec that is in force: what a reader of a brief sees, or everything.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    spec: &'a Spec,
    section: Section<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Section<'a> {
    All,
    One(&'a str),
    Summaries,
}

impl<'a> View<'a> {
    /// The whole spec: what its author means, and the oracle grades by.
    pub fn whole(spec: &'a Spec) -> View<'a> {
        View { spec, section: Section::All }
    }

    /// What `spec.brief(category)` shows.
    pub fn brief(spec: &'a Spec, category: &'a str) -> View<'a> {
        View { spec, section: Section::One(category) }
    }

    /// What `spec.summaries()` shows.
    pub fn summaries(spec: &'a Spec) -> View<'a> {
        View { spec, section: Section::Summaries }
    }

    fn details(&self, category: &Category) -> bool {
        match self.section {
            Section::All => true,
            Section::One(name) => category.name == name,
            Section::Summaries => false,
        }
    }
}

/// Which words of the policy decide.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A clause.
    Clause(ClauseId),
    /// A category's stance, its clauses not being shown.
    Stance(Outcome),
    /// Nothing: the policy does not speak of it.
    Nothing,
}

/// What is to be done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// What to do.
    pub outcome: Outcome,
    /// Why.
    pub basis: Basis,
    /// The style the policy asks of an output of this outcome, if it says.
    pub style: Option<String>,
}

/// What the policy in `view` asks for.
pub fn decide(view: View<'_>, topic: Topic, intent: Intent) -> Decision {
    let nothing = Decision { outcome: Outcome::Comply, basis: Basis::Nothing, style: None };
    let Some(category) = view.spec.category(topic.name()) else { return nothing };
    let (outcome, basis) = if view.details(category) {
        match category.clauses.iter().find(|it| it.text == intent.word()) {
            Some(clause) => (clause.outcome, Basis::Clause(clause.id.clone())),
            None => return nothing,
        }
    } else {
        let outcome = if intent.acts() { category.stance } else { Outcome::Comply };
        (outcome, Basis::Stance(category.stance))
    };
    let own: &[Style] = if view.details(category) { &category.styles } else { &[] };
    let style = own.iter().chain(&view.spec.styles).find(|it| it.outcome == outcome).map(|it| it.text.clone());
    Decision { outcome, basis, style }
}
