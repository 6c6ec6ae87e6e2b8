//! The chat template: messages -> control tokens and text.
//!
//! The Jinja template travels with the checkpoint, so that Transformers and vLLM render what we render. For the model,
//! however, nothing is rendered to one string: [`Template`] walks the messages and returns control tokens and content as
//! separate [`Piece`]s, so content stays content. A Jinja template that would render ordinary conversations differently is
//! refused when a checkpoint is loaded.
//!
//! ```text
//! <|bos|><|system|> content<|end|><|user|> content<|end|><|assistant|>            the prompt
//! <|think|> thought<|answer|> answer<|end|>                                       the turn
//! ```

use collimate_schema::{Conversation, Message, Role, Turn};
use minijinja::{Environment, context};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Control;

/// A control token, or text that is only ever text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Written by the template.
    Control(Control),
    /// Content; one space stands before its first word, so that the word has the form it has inside a sentence.
    Text(String),
}

/// Why a Jinja chat template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Not Jinja, or it fails on an ordinary conversation.
    #[error("the chat template does not render: {0}")]
    Unrenderable(String),
    /// It renders something else than what the model is given.
    #[error(
        "the chat template renders `{rendered}` where this program gives the model `{expected}`: use the template of a checkpoint written by this program"
    )]
    Differs {
        /// By the Jinja template.
        rendered: String,
        /// By [`Template`].
        expected: String,
    },
}

/// How conversations and turns are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    jinja: String,
}

impl Default for Template {
    fn default() -> Template {
        Template { jinja: include_str!("chat_template.jinja").trim_end().to_owned() }
    }
}

impl Template {
    /// Accepts a checkpoint's Jinja template if it lays out conversations with every role, with and without thoughts, the
    /// way this program does.
    pub fn from_jinja(jinja: &str) -> Result<Template, TemplateError> {
        let template = Template { jinja: jinja.to_owned() };
        let roles = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool, Role::User];
        let probe =
            Conversation::new(roles.map(|role| Message::new(role, format!("a {} speaks", role.name()))).to_vec())
                .expect("the probe ends on a user turn");
        for thought in ["", "it thinks"] {
            let turn = Turn {
                thought: collimate_schema::Thought(thought.to_owned()),
                answer: collimate_schema::Answer("it answers".to_owned()),
            };
            for turn in [None, Some(&turn)] {
                let rendered = template.render(&probe, turn)?;
                let expected =
                    spell(&template.prompt(&probe)) + &turn.map_or(String::new(), |it| spell(&template.turn(it)));
                if rendered != expected {
                    return Err(TemplateError::Differs { rendered, expected });
                }
            }
        }
        Ok(template)
    }

    /// The Jinja text, as `tokenizer_config.json` carries it.
    pub fn jinja(&self) -> &str {
        &self.jinja
    }

    /// What the model is asked to continue.
    pub fn prompt(&self, conversation: &Conversation) -> Vec<Piece> {
        let mut pieces = vec![Piece::Control(Control::Bos)];
        for message in conversation.messages() {
            pieces.push(Piece::Control(Control::opens(message.role)));
            pieces.push(text(&message.content));
            pieces.push(Piece::Control(Control::End));
        }
        pieces.push(Piece::Control(Control::Assistant));
        pieces
    }

    /// What the model continues with. An empty thought leaves nothing between its two control tokens.
    pub fn turn(&self, turn: &Turn) -> Vec<Piece> {
        let mut pieces = vec![Piece::Control(Control::Think)];
        if !turn.thought.0.is_empty() {
            pieces.push(text(&turn.thought.0));
        }
        pieces.extend([Piece::Control(Control::Answer), text(&turn.answer.0), Piece::Control(Control::End)]);
        pieces
    }

    /// What the Jinja template renders for a conversation and, if given, the turn that follows it: for people and for other
    /// programs. The model is never given this text.
    pub fn render(&self, conversation: &Conversation, turn: Option<&Turn>) -> Result<String, TemplateError> {
        let mut messages: Vec<Value> = conversation.messages().iter().map(to_json).collect();
        messages
            .extend(turn.map(|turn| json!({ "role": "assistant", "thought": turn.thought, "content": turn.answer })));
        let failed = |error: minijinja::Error| TemplateError::Unrenderable(error.to_string());
        Environment::new()
            .render_str(
                &self.jinja,
                context! { messages, bos_token => Control::Bos.text(), add_generation_prompt => turn.is_none() },
            )
            .map_err(failed)
    }
}

fn text(content: &str) -> Piece {
    Piece::Text(format!(" {content}"))
}

fn to_json(message: &impl Serialize) -> Value {
    serde_json::to_value(message).expect("a message serialises to JSON")
}

/// The pieces as one string; only for comparison with what a Jinja template renders.
fn spell(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Control(control) => control.text(),
            Piece::Text(text) => text,
        })
        .collect()
}
