//! `show`: the table of a finished run, how far an unfinished one is, or an artefact.

use clap::Args;
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use collimate_run::RunSummary;

use super::runs::state;
use super::{Exit, NUMBERS, REPORTS};
use crate::output;

/// Arguments of `show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The run folder
    pub run: PathBuf,
    /// An artefact of the run, such as `prompts.jsonl`; without it, the results
    pub artifact: Option<String>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints what a run made.
pub fn run(args: &ShowArgs) -> anyhow::Result<Exit> {
    let path = &args.run;
    let Some(run) = RunSummary::read(path)? else {
        bail!("{} is not a run folder: `collimate runs` lists those there are", path.display());
    };
    let has = |name: &&str| run.artifacts.iter().any(|it| it == name);
    let wanted = match &args.artifact {
        Some(name) if has(&name.as_str()) => Some(name.as_str()),
        Some(name) => {
            let made = if run.artifacts.is_empty() { "nothing yet".to_owned() } else { run.artifacts.join(", ") };
            bail!("{} has no artefact `{name}`: it made {made}", path.display());
        }
        None => if args.json { NUMBERS } else { REPORTS }.into_iter().find(has),
    };
    match wanted {
        Some(name) => output::print(&content(&path.join(name))?),
        None if args.json => output::print_json(&run)?,
        None => output::print(&summary(&run)),
    }
    Ok(Exit::Ok)
}

/// A text, or the files of a folder.
fn content(path: &Path) -> anyhow::Result<String> {
    let doing = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        let bytes = std::fs::read(path).with_context(doing)?;
        return Ok(output::printable(&String::from_utf8_lossy(&bytes)));
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        names.push(format!("{}  {} bytes\n", entry.path().display(), entry.metadata().with_context(doing)?.len()));
    }
    names.sort();
    Ok(names.concat())
}

fn summary(run: &RunSummary) -> String {
    let mut rows = vec![
        vec!["run".to_owned(), run.path.display().to_string()],
        vec!["recipe".to_owned(), run.recipe.clone()],
        vec!["config".to_owned(), run.hash.to_string()],
        vec!["state".to_owned(), state(run)],
    ];
    rows.extend(run.artifacts.iter().map(|it| vec!["made".to_owned(), it.clone()]));
    rows.extend(run.journals.iter().map(|(stage, n)| vec!["journal".to_owned(), format!("{stage}, {n} done")]));
    output::columns(&rows)
}
