//! `sample`: one answer, or several, to each prompt.

use clap::Args;
use std::io::{BufRead, IsTerminal};

use collimate_schema::Conversation;
use serde_json::json;

use super::Exit;
use super::talk::{ModelArgs, Speaker, shown};
use crate::output;

/// Arguments of `sample`.
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// Prompts; without any, one per line of standard input
    #[arg(value_name = "PROMPT")]
    pub prompts: Vec<String>,
    /// Answers per prompt
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    pub n_samples: u32,
    /// One JSON object per answer
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub model: ModelArgs,
}

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
