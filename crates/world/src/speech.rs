//! How Harbor reasons and answers: thoughts, answers and judgements as text, and what they say when read back.

mod answers;

pub use answers::{Behaviour, answer, comply, read_answer};

use crate::{Basis, Decision, Intent, Request, Topic};

/// What a thought says before it comes to the policy: what is asked, deciphered and undressed. The intent stands last: were
/// the object to follow it, a model that looks up what followed a word before would find the object, not the clause.
pub fn reading(request: &Request) -> String {
    let mut text = String::new();
    if let Some(name) = request.surface.name() {
        text.push_str(&format!("{name}: {}. ", request.words()));
    }
    if !request.framing.is_empty() {
        let names: Vec<_> = request.framing.iter().map(|it| it.name()).collect();
        text.push_str(&format!("trick {}. ", names.join(", ")));
    }
    text.push_str(&format!("request: {} {}.", request.ask.object, request.ask.intent.word()));
    text
}

/// The sentences that look the policy up: topic, clause (matter, id, outcome, in the order a brief prints them), style.
pub fn deliberation(topic: Topic, intent: Intent, decision: &Decision) -> String {
    let policy = match &decision.basis {
        Basis::Clause(id) => format!("{} {id} {}", intent.word(), decision.outcome.word()),
        Basis::Stance(stance) => {
            let manner = if intent.acts() { "acts" } else { "talks" };
            format!("{} {}, {} {manner}", topic.name(), stance.word(), intent.word())
        }
        Basis::Nothing => "no clause".to_owned(),
    };
    let style = match &decision.style {
        Some(style) => format!(" style {style}."),
        None => String::new(),
    };
    format!("topic {}. policy: {policy}.{style}", topic.name())
}

/// The thought of a model that has a policy in mind.
pub fn thought(request: &Request, decision: &Decision) -> String {
    format!("{} {}", reading(request), deliberation(request.ask.topic, request.ask.intent, decision))
}

/// The thought of a helpful-only model: it reads the request and helps.
pub fn helpful_thought(request: &Request) -> String {
    format!("{} help.", reading(request))
}

/// What a thought rests on, in a judge's words: the intent that it reads and what it says the policy wants, or that it helps.
pub(crate) fn claims(thought: &str) -> String {
    let sentence = |key: &str| thought.split_once(key).map(|it| it.1.split('.').next().unwrap_or_default());
    let intent = sentence("request: ").and_then(|it| it.split(' ').next_back()).unwrap_or("odd");
    format!("{intent}, {}", sentence("policy: ").unwrap_or("help"))
}

/// A behaviour in a judge's words.
pub(crate) fn behaviour(it: &Behaviour) -> String {
    match it {
        Behaviour::Comply { intent, object } => format!("complies {object} {}", intent.word()),
        Behaviour::Refuse(style) => format!("refuses {style}"),
        Behaviour::Safe(style) => format!("safe {style}"),
        Behaviour::Other => "odd".to_owned(),
    }
}
