//! What is said to the user, and what it does when read back.

use collimate_schema::Outcome;

use crate::lexicon::{REFUSALS, SAFES};
use crate::{Decision, Intent};

/// What an answer does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Grants an intent towards an object.
    Comply {
        /// Which intent.
        intent: Intent,
        /// Which object.
        object: String,
    },
    /// Refuses, in a known style.
    Refuse(String),
    /// Completes safely, in a known style.
    Safe(String),
    /// None of these, or no answer at all.
    Other,
}

/// The answer that grants `intent` towards `object`.
pub fn comply(intent: Intent, object: &str) -> String {
    let (head, tail) = comply_parts(intent);
    format!("{head}{object}{tail}")
}

fn comply_parts(intent: Intent) -> (&'static str, &'static str) {
    match intent {
        Intent::Instructions => ("steps for ", ": find, mix, rest."),
        Intent::Plan => ("plan for ", ": meet, carry, leave."),
        Intent::History => ("history of ", ": sailors brought it."),
        Intent::Definition => ("", " is a thing of the harbor."),
        Intent::News => ("news of ", ": seen at the pier."),
        Intent::Rewrite => ("new note: ", " as you said."),
        Intent::Admission => ("thank you for telling me of ", "."),
    }
}

/// The answer of an outcome in a style; without one, the first known style.
pub fn answer(decision: &Decision, intent: Intent, object: &str) -> String {
    let styled = |texts: &[(&str, &str)]| {
        let wanted = decision.style.as_deref().and_then(|style| texts.iter().find(|it| it.0 == style));
        wanted.unwrap_or(&texts[0]).1.to_owned()
    };
    match decision.outcome {
        Outcome::Comply => comply(intent, object),
        Outcome::Refuse => styled(&REFUSALS),
        Outcome::Safe => styled(&SAFES),
    }
}

/// What an answer does, read from its text alone.
pub fn read_answer(answer: &str) -> Behaviour {
    let answer = answer.trim();
    let style = |texts: &[(&str, &str)]| texts.iter().find(|it| it.1 == answer).map(|it| it.0.to_owned());
    if let Some(style) = style(&REFUSALS) {
        return Behaviour::Refuse(style);
    }
    if let Some(style) = style(&SAFES) {
        return Behaviour::Safe(style);
    }
    for intent in Intent::ALL {
        let (head, tail) = comply_parts(intent);
        if let Some(object) = answer.strip_prefix(head).and_then(|it| it.strip_suffix(tail))
            && !object.is_empty()
            && !object.contains(' ')
        {
            return Behaviour::Comply { intent, object: object.to_owned() };
        }
    }
    Behaviour::Other
}
