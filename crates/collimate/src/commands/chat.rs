//! `chat`: a conversation, turn by turn.

use clap::Args;
use std::io::IsTerminal;

use collimate_schema::{Conversation, Message, Role};

use super::Exit;
use super::lines::{Line, lines};
use super::talk::{ModelArgs, Speaker, show};
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
    let mut lines = lines(stdin.lock());
    loop {
        if is_terminal {
            output::ask("> ");
        }
        let Some(Line { number, text }) = lines.next() else { break };
        let said = match text {
            Ok(said) => said,
            Err(problem) => {
                output::note(&format!("standard input:{number}: {problem}"));
                continue;
            }
        };
        if said.trim().is_empty() {
            messages.clear();
            continue;
        }
        messages.push(Message::new(Role::User, said));
        let request = speaker.request(0, 0, &Conversation::new(messages.clone())?);
        for (_, reply) in speaker.sample(vec![request])? {
            let answer = match reply {
                Ok(completion) => {
                    show(&completion.parsed)?;
                    completion.parsed.turn().map(|it| it.answer.0.clone())
                }
                Err(failure) => {
                    output::note(&format!("standard input:{number}: {failure}"));
                    None
                }
            };
            match answer {
                Some(answer) => messages.push(Message::new(Role::Assistant, answer)),
                None => drop(messages.pop()), // as if it had not been asked
            }
        }
    }
    Ok(Exit::Ok)
}
