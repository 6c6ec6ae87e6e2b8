//! `spec check` and `spec brief`.

use clap::Subcommand;
use std::path::Path;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use collimate_schema::{Citation, ClauseId, File, Lint, Severity, Spec, check as lint};
use serde::Deserialize;

use super::Exit;
use crate::files::read_text;
use crate::output;

/// The verbs of `spec`.
#[derive(Clone, Debug, Subcommand)]
pub enum SpecCommand {
    /// Find mistakes in a policy, with line numbers
    Check {
        /// The policy: a Markdown file, or `harbor`
        file: PathBuf,
        /// JSON lines of prompts (`category`, optional `clause`) to check against it
        #[arg(long, value_name = "FILE")]
        prompts: Option<PathBuf>,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a model is shown for a category
    Brief {
        /// The policy: a Markdown file, or `harbor`
        file: PathBuf,
        /// The category shown in full
        category: String,
    },
}

/// Does what the verb says.
pub fn run(verb: &SpecCommand) -> anyhow::Result<Exit> {
    match verb {
        SpecCommand::Check { file, prompts, json } => check(file, prompts.as_deref(), *json),
        SpecCommand::Brief { file, category } => brief(file, category),
    }
}

/// Lists what is wrong with a policy, and with the prompts that are to be used with it.
fn check(file: &Path, prompts: Option<&Path>, json: bool) -> anyhow::Result<Exit> {
    let markdown = markdown(file)?;
    let citations = prompts.map(citations).transpose()?;
    let lints = lint(&markdown, citations.as_deref());
    if json {
        output::print_json(&lints)?;
    } else {
        output::print(&report(&lints, file, prompts.unwrap_or(Path::new("prompts"))))?;
    }
    let is_sound = lints.iter().all(|it| it.severity == Severity::Warning);
    Ok(if is_sound { Exit::Ok } else { Exit::Failure })
}

fn report(lints: &[Lint], spec: &Path, prompts: &Path) -> String {
    let mut text = String::new();
    for Lint { file, line, severity, problem } in lints {
        let file = if *file == File::Spec { spec } else { prompts };
        let severity = if *severity == Severity::Error { "error" } else { "warning" };
        text.push_str(&format!("{}:{line}: {severity}: {}\n", file.display(), problem));
    }
    let n_errors = lints.iter().filter(|it| it.severity == Severity::Error).count();
    let n_warnings = lints.len() - n_errors;
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    text + &format!("{}: {}, {}\n", spec.display(), count(n_errors, "error"), count(n_warnings, "warning"))
}

/// Prints what a model is shown for a category.
fn brief(file: &Path, category: &str) -> anyhow::Result<Exit> {
    output::print(&brief_of(file, Some(category))?.0)?;
    Ok(Exit::Ok)
}

/// The brief for a category, or the summaries of all.
pub(super) fn brief_of(file: &Path, category: Option<&str>) -> anyhow::Result<collimate_schema::Brief> {
    let spec = read(file)?;
    let Some(category) = category else { return Ok(spec.summaries()) };
    spec.brief(category).ok_or_else(|| {
        let names: Vec<_> = spec.categories.iter().map(|it| it.name.as_str()).collect();
        anyhow!("{} has no category `{category}`: choose from {}", file.display(), names.join(", "))
    })
}

fn read(file: &Path) -> anyhow::Result<Spec> {
    Spec::parse(&markdown(file)?).map_err(|errors| {
        let all = errors.iter().map(|it| format!("{}:{}: {}", file.display(), it.line, it.problem));
        anyhow!("{}", all.collect::<Vec<_>>().join("\n  "))
    })
}

/// The text of a policy file, or of the embedded one.
fn markdown(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("harbor") && !file.exists() {
        return Ok(collimate_world::HARBOR_MD.to_owned());
    }
    read_text(file, "policy")
}

/// What a line of a prompts file must hold to be checked.
#[derive(Deserialize)]
struct Cited {
    category: Option<String>,
    clause: Option<ClauseId>,
}

fn citations(path: &Path) -> anyhow::Result<Vec<Citation>> {
    let text = read_text(path, "prompts")?;
    let mut citations = Vec::new();
    for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = index + 1;
        match serde_json::from_str(text) {
            Ok(Cited { category: Some(category), clause }) => citations.push(Citation { line, category, clause }),
            Ok(Cited { category: None, .. }) => {} // belongs to no category
            Err(error) => bail!("{}:{line}: not a prompt: {error}", path.display()),
        }
    }
    Ok(citations)
}
