//! `sample`: one answer, or several, to each prompt.

use std::io::{BufRead, IsTerminal};

use collimate_schema::Conversation;
use serde_json::json;

use super::Exit;
use super::talk::{Speaker, shown};
use crate::cli::SampleArgs;
use crate::output;

/// Answers prompts from the arguments, or one per line of standard input.
pub fn run(args: &SampleArgs) -> anyhow::Result<Exit> {
    let prompts = if args.prompts.is_empty() { prompts_from_stdin()? } else { args.prompts.clone() };
    let speaker = Speaker::new(&args.model)?;
    let conversations: Vec<_> = prompts.iter().map(|it| Conversation::user(it.as_str())).collect();
    let completions = speaker.answer(&conversations, args.n_samples)?;
    for (index, completion) in completions.iter().enumerate() {
        let n = args.n_samples as usize;
        let (prompt, ordinal) = (&prompts[index / n], index % n);
        if args.json {
            output::print_json_line(&json!({
                "prompt": prompt, "ordinal": ordinal, "parsed": completion.parsed, "stop": completion.stop,
            }))?;
        } else {
            let heading =
                if completions.len() > 1 { format!("> {}\n", output::printable(prompt)) } else { String::new() };
            output::print(&format!("{heading}{}", shown(&completion.parsed)));
        }
    }
    Ok(Exit::Ok)
}

fn prompts_from_stdin() -> anyhow::Result<Vec<String>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::note("one prompt per line, end with Ctrl-D");
    }
    let lines = stdin.lock().lines().collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|it| !it.trim().is_empty()).collect())
}
