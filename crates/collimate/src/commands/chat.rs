//! `chat`: a conversation, turn by turn.

use clap::Args;
use std::io::{BufRead, IsTerminal};

use collimate_schema::{Conversation, Message, Parsed, Role};

use super::Exit;
use super::talk::{ModelArgs, Speaker, shown};
use crate::output;

/// Arguments of `chat`.
#[derive(Args, Clone, Debug)]
pub struct ChatArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub model: ModelArgs,
}

/// Reads what the user says line by line and answers with the conversation so far in the context; thoughts are shown, and
/// forgotten.
pub fn run(args: &ChatArgs) -> anyhow::Result<Exit> {
    let speaker = Speaker::new(&args.model)?;
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    if is_terminal {
        output::note("an empty line forgets the conversation, Ctrl-D ends it");
    }
    let mut messages: Vec<Message> = Vec::new();
    let mut lines = stdin.lock().lines();
    loop {
        if is_terminal {
            output::ask("> ");
        }
        let Some(line) = lines.next().transpose()? else { break };
        if line.trim().is_empty() {
            messages.clear();
            continue;
        }
        messages.push(Message::new(Role::User, line));
        for completion in speaker.answer(&[Conversation::new(messages.clone())?], 1)? {
            output::print(&shown(&completion.parsed));
            match completion.parsed {
                Parsed::Turn(turn) => messages.push(Message::new(Role::Assistant, turn.answer.0)),
                Parsed::Malformed(_) => drop(messages.pop()), // as if it had not been asked
            }
        }
    }
    Ok(Exit::Ok)
}
