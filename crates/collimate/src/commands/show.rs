//! `show`: the table of a finished run, how far an unfinished one is, or an artefact.

use clap::Args;
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, bail};
use collimate_run::{Fault, RunSummary, Verified, verify};

use super::next::next_steps;
use super::runs::state;
use super::verify::report;
use super::{Exit, NUMBERS, REPORTS};
use crate::output;

/// Arguments of `show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The run folder
    pub run: PathBuf,
    /// An artefact of the run, such as `seed-1/data/graded.jsonl`; without it, the results
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
    let is_finished = run.artifacts.iter().chain(&run.missing).any(|it| REPORTS.contains(&it.as_str()));
    let verified = if is_finished { verify(path)? } else { Verified::default() };
    let has = |name: &&str| run.artifacts.iter().any(|it| it == name);
    let wanted = match &args.artifact {
        Some(name) if run.artifacts.iter().any(|it| is_of(name, it)) => Some(name.as_str()),
        Some(name) => {
            let made = if run.artifacts.is_empty() { "nothing yet".to_owned() } else { run.artifacts.join(", ") };
            bail!("{} has no artefact `{name}`: it made {made}", path.display());
        }
        None => if args.json { NUMBERS } else { REPORTS }.into_iter().find(has),
    };
    let is_changed =
        |it: &Fault| matches!((it, wanted), (Fault::Changed { name, .. }, Some(wanted)) if is_of(wanted, name));
    if !verified.faults.is_empty() {
        output::note(&report(path, &verified));
    }
    match wanted {
        Some(name) if verified.faults.iter().any(is_changed) => {
            bail!("{name} is not what the run wrote, and is not shown: {}", path.join(name).display())
        }
        Some(name) => output::print(&content(&path.join(name))?)?,
        None if args.json => output::print_json(&run)?,
        None => output::print(&summary(&run))?,
    }
    if args.artifact.is_none() && !args.json && is_finished {
        next_steps(path).iter().for_each(|it| output::note(it));
    }
    Ok(if verified.faults.is_empty() { Exit::Ok } else { Exit::GateFailed })
}

/// Whether `path` is the artefact `name`, or something in it.
fn is_of(path: &str, name: &str) -> bool {
    let inside = path.strip_prefix(name);
    inside.is_some_and(|it| it.is_empty() || it.starts_with('/')) && !path.split('/').any(|it| it == "..")
}

/// A text, or the files of a folder.
fn content(path: &Path) -> anyhow::Result<String> {
    let doing = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        anyhow::ensure!(path.is_file(), "cannot read {}: it is not a regular file", path.display());
        let bytes = std::fs::read(path).with_context(doing)?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
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
