//! How a policy and a case are put to a model: the augmented prompt of section 3.1 and the judge's case of section 3.2.
//!
//! Untrusted text is quoted: a line break inside it becomes a line that begins with `| `, so no text can forge a field.

use serde::{Deserialize, Serialize};

use crate::conversation::{Conversation, Message, NoisyLabel, Role};
use crate::rollout::{Answer, Thought};
use crate::spec::Brief;

/// The words in which a world puts policies and cases to its models. A model is asked in the words it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wording {
    /// Stands after the brief, where a model is to deliberate over it.
    pub deliberate: String,
    /// The first line of a judge's case.
    pub judge: String,
    /// Stands before the outcome that another AI is for.
    pub opinion: String,
}

impl Wording {
    /// The augmented prompt: `conversation` with the brief, and the instruction to deliberate over it, in a system message.
    pub fn deliberation(&self, conversation: &Conversation, brief: &Brief) -> Conversation {
        conversation.with_system(format!("{}\n{}", brief.0, self.deliberate))
    }

    /// The case a judge reads: the brief, the conversation, the thought (filter only), the answer and another AI's opinion,
    /// if any.
    pub fn case(
        &self,
        brief: &Brief,
        conversation: &Conversation,
        thought: Option<&Thought>,
        answer: &Answer,
        opinion: Option<NoisyLabel>,
    ) -> Conversation {
        let mut case = self.judge.clone();
        let mut field = |name: &str, text: &str| {
            case.push('\n');
            case.push_str(name);
            case.push_str(": ");
            case.push_str(&quoted(text));
        };
        for message in conversation.messages() {
            field(message.role.name(), &message.content);
        }
        if let Some(thought) = thought {
            field("thought", &thought.0);
        }
        field("answer", &answer.0);
        if let Some(NoisyLabel(outcome)) = opinion {
            field("opinion", &format!("{} {}", self.opinion, outcome.word()));
        }
        Conversation::new(vec![Message::new(Role::System, brief.0.clone()), Message::new(Role::User, case)])
            .expect("the last message is the user's")
    }
}

/// `text` with every kind of line break turned into a break and a bar.
fn quoted(text: &str) -> String {
    text.trim_matches(|it: char| it.is_whitespace() || breaks_line(it))
        .replace("\r\n", "\n")
        .split(breaks_line)
        .collect::<Vec<_>>()
        .join("\n| ")
}

/// Whether some reader takes `it` for the end of a line: Unicode's mandatory breaks, and the separators of ASCII, at which
/// Python splits lines or words. What is quoted for a judge and what a judge is read to say break at the same characters.
pub fn breaks_line(it: char) -> bool {
    matches!(it, '\n'..='\r' | '\x1c'..='\x1f' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
