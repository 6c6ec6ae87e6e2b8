//! Conversations and prompts: what a model is asked.

use serde::{Deserialize, Serialize};

use crate::spec::Outcome;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's standing instructions; where a brief is put.
    System,
    /// The application's instructions.
    Developer,
    /// The person asking.
    User,
    /// The model's earlier turns.
    Assistant,
    /// A tool's output.
    Tool,
}

impl Role {
    /// Lower-case name, as chat templates and JSON spell it.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One message of a conversation. Content is data: it never encodes to a control token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role` saying `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message { role, content: content.into() }
    }
}

/// A conversation that ends on a user turn, or on what a tool gave back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Message>", into = "Vec<Message>")]
pub struct Conversation(Vec<Message>);

/// Why a list of messages is not a conversation a model can be asked to continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    /// No messages at all.
    #[error("a conversation needs at least one message")]
    Empty,
    /// The last message is neither the user's nor a tool's.
    #[error("a conversation must end on a user turn or a tool's output, this one ends on `{0}`")]
    EndsOn(&'static str),
}

impl Conversation {
    /// Checks that `messages` ends on a user turn or a tool's output.
    pub fn new(messages: Vec<Message>) -> Result<Conversation, ConversationError> {
        match messages.last() {
            None => Err(ConversationError::Empty),
            Some(last) if !matches!(last.role, Role::User | Role::Tool) => {
                Err(ConversationError::EndsOn(last.role.name()))
            }
            Some(_) => Ok(Conversation(messages)),
        }
    }

    /// A single user turn.
    pub fn user(content: impl Into<String>) -> Conversation {
        Conversation(vec![Message::new(Role::User, content)])
    }

    /// The messages, in order.
    pub fn messages(&self) -> &[Message] {
        &self.0
    }

    /// The content of the last user turn; of the last message, if the user said nothing.
    pub fn last_user(&self) -> &str {
        let user = self.0.iter().rfind(|it| it.role == Role::User);
        user.or(self.0.last()).map_or("", |it| it.content.as_str())
    }

    /// This conversation with a system message of `content` put before everything else.
    pub fn with_system(&self, content: impl Into<String>) -> Conversation {
        let mut messages = vec![Message::new(Role::System, content)];
        messages.extend(self.0.iter().cloned());
        Conversation(messages)
    }
}

impl TryFrom<Vec<Message>> for Conversation {
    type Error = ConversationError;
    fn try_from(messages: Vec<Message>) -> Result<Conversation, ConversationError> {
        Conversation::new(messages)
    }
}

impl From<Conversation> for Vec<Message> {
    fn from(it: Conversation) -> Vec<Message> {
        it.0
    }
}

/// A prompt's name, unique within a run; artefacts are written sorted by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PromptId(pub String);

impl std::fmt::Display for PromptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A label of unknown reliability, passed to the filter judge as another AI's opinion (section 3.2 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NoisyLabel(pub Outcome);

/// A conversation to be answered, with the safety category that selects its brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Unique name.
    pub id: PromptId,
    /// The conversation, without any spec.
    pub conversation: Conversation,
    /// Name of a category of the spec, or `None` for a prompt that belongs to none (capability data).
    pub category: Option<String>,
    /// Another AI's opinion, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<NoisyLabel>,
}
