//! Harbor: a procedurally generated assistant's world with exact ground truth, small enough to be mastered by a
//! two-million-parameter model and rich enough to test every claim of the deliberative-alignment paper.
//!
//! A request is an [`Ask`] (topic, object, intent, template) in a [`Surface`] (plain, enciphered, invented language), wrapped
//! in jailbreak [`Technique`]s and put into a conversation of some [`Shape`]. A policy is a [`collimate_schema::Spec`], fixed
//! (`specs/harbor.md`) or [random](random_spec). What a policy asks for is a [`Decision`]; how it is reasoned and answered is
//! [`speech`], and how a model is asked is [`wording`].

mod ask;
mod capability;
mod cipher;
mod decision;
mod documents;
mod lexicon;
mod oracle;
mod prompts;
mod random;
mod request;
pub mod speech;
mod technique;
mod tidal;
mod vocabulary;
mod wording;

pub use ask::{Ask, Intent, Topic};
pub use capability::{Task, TaskKind};
pub use cipher::{Cipher, Surface};
pub use decision::{Basis, Decision, View, decide};
pub use documents::{Document, Kind, Mixture, document, held_out_documents};
pub use lexicon::{CATEGORIES, CategoryWords};
pub use oracle::{Grade, Truth};
pub use prompts::{
    Case, CaseCounts, Cases, Diet, capability_cases, capability_examples, cases, safety_prompts, safety_truths,
};
pub use random::random_spec;
pub use request::{Request, Shape};
pub use speech::Behaviour;
pub use technique::{Framing, TEST_FRAMINGS, Technique, is_test_pair, pairs};
pub use tidal::to_tidal;
pub use vocabulary::words;
pub use wording::wording;

#[cfg(test)]
mod tests;

use collimate_schema::Spec;

/// The text of `specs/harbor.md`, the policy that deliberative alignment puts into the weights.
pub const HARBOR_MD: &str = include_str!("../../../specs/harbor.md");

/// The policy of [`HARBOR_MD`].
pub fn harbor_spec() -> Spec {
    Spec::parse(HARBOR_MD).expect("the embedded policy parses: a test holds it")
}
