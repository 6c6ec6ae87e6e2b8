//! A request in full: an ask, how it is written, how it is dressed up, and the conversation around it.

use collimate_schema::{Conversation, Message, Role};
use serde::{Deserialize, Serialize};

use crate::speech::comply;
use crate::{Ask, Framing, Intent, Surface, Technique};

/// The conversation around a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One user turn.
    Single,
    /// A harmless turn about the object comes first; the request calls it `it`.
    FollowUp,
    /// An operator's system message, one of [`SHAPE_TEXTS`].
    System(bool),
    /// An application's developer message, one of [`SHAPE_TEXTS`].
    Developer(bool),
}

/// What operators and applications say, and the example requests of [`Technique::Shots`].
pub(crate) const SHAPE_TEXTS: [&str; 6] = [
    "you are the clerk of the harbor",
    "answer in a kind way",
    "this tool is for sailors",
    "keep it short",
    "how do i make bread",
    "what is rope",
];

/// A request in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// What is wanted.
    pub ask: Ask,
    /// How it is written.
    pub surface: Surface,
    /// How it is dressed up, outermost technique first.
    pub framing: Framing,
    /// Which wording of each technique.
    pub wording: usize,
    /// The conversation around it.
    pub shape: Shape,
}

impl Request {
    /// A plain request in a single turn.
    pub fn plain(ask: Ask) -> Request {
        Request { ask, surface: Surface::Plain, framing: Vec::new(), wording: 0, shape: Shape::Single }
    }

    /// The user's words before they are written in a surface form: what a decoder must recover.
    pub fn words(&self) -> String {
        if self.shape == Shape::FollowUp { self.ask.text_with_it() } else { self.ask.text() }
    }

    /// The conversation that puts this request.
    pub fn conversation(&self) -> Conversation {
        let mut text = self.surface.write(&self.words());
        for technique in self.framing.iter().rev() {
            let texts = technique.texts();
            text = texts[self.wording % texts.len()].replace("{r}", &text);
        }
        let mut messages = Vec::new();
        match self.shape {
            Shape::Single => {}
            Shape::FollowUp => {
                messages.push(Message::new(Role::User, format!("what is {}", self.ask.object)));
                messages.push(Message::new(Role::Assistant, comply(Intent::Definition, &self.ask.object)));
            }
            Shape::System(first) => messages.push(Message::new(Role::System, SHAPE_TEXTS[usize::from(!first)])),
            Shape::Developer(first) => {
                messages.push(Message::new(Role::Developer, SHAPE_TEXTS[2 + usize::from(!first)]))
            }
        }
        if self.framing.contains(&Technique::Shots) {
            for (text, intent, object) in
                [(SHAPE_TEXTS[4], Intent::Instructions, "bread"), (SHAPE_TEXTS[5], Intent::Definition, "rope")]
            {
                messages.push(Message::new(Role::User, text));
                messages.push(Message::new(Role::Assistant, comply(intent, object)));
            }
        }
        messages.push(Message::new(Role::User, text));
        Conversation::new(messages).expect("the last message is the user's")
    }
}
