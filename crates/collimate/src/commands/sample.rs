//! `sample`: prompts in, answers out.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::rc::Rc;

use clap::Args;
use collimate_schema::{Completion, Conversation, Failure, RequestId};
use serde_json::json;

use super::Exit;
use super::lines::{Line, lines};
use super::talk::{ModelArgs, Speaker, show};
use crate::output;

/// Arguments of `sample`.
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// What is asked; without it, one prompt per line of standard input
    #[arg(value_name = "PROMPT")]
    pub prompts: Vec<String>,
    /// Answers per prompt
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub n_samples: u32,
    /// One JSON object per answer
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub model: ModelArgs,
}

/// Requests that are under way together. Standard input is read, and answers are printed, so many at a time.
const AT_ONCE: usize = 1024;

/// What came of a prompt: an answer, or why there is none.
type Told = Result<Completion, String>;

/// A prompt, or why there is none.
struct Asked {
    /// From 0, over all prompts.
    index: usize,
    /// `standard input:3` or `prompt 3`.
    place: String,
    prompt: Result<String, String>,
}

/// Answers prompts from the arguments, or one per line of standard input. A prompt that cannot be answered is named, and does not
/// keep the others from being answered.
pub fn run(args: &SampleArgs) -> anyhow::Result<Exit> {
    let speaker = Speaker::new(&args.model)?;
    let mut prompts: Box<dyn Iterator<Item = Asked>> = match &args.prompts[..] {
        [] => Box::new(from_stdin()),
        given => Box::new(given.iter().enumerate().map(|(index, prompt)| {
            let place = format!("prompt {}", index + 1);
            Asked { index, place, prompt: Ok(prompt.clone()) }
        })),
    };
    let first: Vec<Asked> = prompts.by_ref().take(2).collect();
    let is_one = first.len() == 1 && args.n_samples == 1;
    let mut samples = first.into_iter().chain(prompts).flat_map(|asked| {
        let n = if asked.prompt.is_ok() { args.n_samples } else { 1 };
        let asked = Rc::new(asked);
        (0..n).map(move |ordinal| (asked.clone(), ordinal))
    });
    let (mut n_prompts, mut n_failed) = (0, 0);
    loop {
        let group: Vec<(Rc<Asked>, u32)> = samples.by_ref().take(AT_ONCE).collect();
        if group.is_empty() {
            break;
        }
        answer(&speaker, &group, &mut |asked, ordinal, reply| {
            n_prompts += usize::from(ordinal == 0);
            let problem = match reply {
                Ok(completion) => return said(args, is_one, (asked, ordinal), &completion),
                Err(problem) => problem,
            };
            if ordinal == 0 {
                n_failed += 1;
                output::note(&format!("{}: {problem}", asked.place));
            }
            if args.json {
                let prompt = asked.prompt.as_ref().ok();
                let place = &asked.place;
                output::print_json_line(
                    &json!({ "prompt": prompt, "ordinal": ordinal, "place": place, "error": problem }),
                )?;
            }
            Ok(())
        })?;
    }
    if n_failed > 0 {
        output::note(&format!("{n_failed} of {n_prompts} prompts could not be answered"));
    }
    Ok(if n_failed == 0 { Exit::Ok } else { Exit::Failure })
}

/// Tells `each` what came of every prompt of `group`, in order, as soon as those before it are told.
fn answer(
    speaker: &Speaker,
    group: &[(Rc<Asked>, u32)],
    each: &mut dyn FnMut(&Asked, u32, Told) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut places: BTreeMap<RequestId, usize> = BTreeMap::new();
    let mut replies: Vec<Option<Told>> = Vec::new();
    let mut requests = Vec::new();
    for (place, (asked, ordinal)) in group.iter().enumerate() {
        replies.push(match &asked.prompt {
            Ok(prompt) => {
                let request = speaker.request(asked.index, *ordinal, &Conversation::user(prompt.as_str()));
                places.insert(request.id.clone(), place);
                requests.push(request);
                None
            }
            Err(problem) => Some(Err(problem.clone())),
        });
    }
    let mut told = 0;
    let mut tell = |replies: &mut Vec<Option<Told>>| {
        while let Some(reply) = replies.get_mut(told).and_then(Option::take) {
            let (asked, ordinal) = &group[told];
            each(asked, *ordinal, reply)?;
            told += 1;
        }
        anyhow::Ok(())
    };
    tell(&mut replies)?;
    for (id, reply) in speaker.sample(requests)? {
        replies[places[&id]] = Some(reply.map_err(|it: Failure| it.to_string()));
        tell(&mut replies)?;
    }
    Ok(())
}

fn said(
    args: &SampleArgs,
    is_one: bool,
    (asked, ordinal): (&Asked, u32),
    completion: &Completion,
) -> anyhow::Result<()> {
    let prompt = asked.prompt.as_deref().unwrap_or_default();
    if args.json {
        return output::print_json_line(&json!({
            "prompt": prompt, "ordinal": ordinal, "parsed": completion.parsed, "stop": completion.stop,
        }));
    }
    if !is_one {
        output::print(&format!("> {prompt}"))?;
    }
    show(&completion.parsed)
}

fn from_stdin() -> impl Iterator<Item = Asked> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::note("one prompt per line, end with Ctrl-D");
    }
    let is_empty = |line: &Line| line.text.as_ref().is_ok_and(|it| it.trim().is_empty());
    lines(stdin.lock()).filter(move |it| !is_empty(it)).enumerate().map(|(index, line)| {
        let place = format!("standard input:{}", line.number);
        Asked { index, place, prompt: line.text }
    })
}
