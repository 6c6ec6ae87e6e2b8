//! `runs`: which run folders there are, and how far each is.

use clap::Args;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use collimate_run::RunSummary;

use super::{Exit, REPORTS};
use crate::output;

/// Arguments of `runs`.
#[derive(Args, Clone, Debug)]
pub struct RunsArgs {
    /// A folder of run folders, or one run folder
    #[arg(value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// Lists the run folders in a folder.
pub fn run(args: &RunsArgs) -> anyhow::Result<Exit> {
    let runs = find(&args.dir)?;
    if args.json {
        output::print_json(&runs)?;
    } else if runs.is_empty() {
        output::note(&format!("no runs in {}: `collimate quickstart` makes one", args.dir.display()));
    } else {
        let heads = ["run", "recipe", "state", "artefacts", "newest"].map(str::to_owned).to_vec();
        let rows = runs.iter().map(|it| {
            let newest = it.artifacts.last().cloned().unwrap_or_default();
            vec![it.path.display().to_string(), it.recipe.clone(), state(it), it.artifacts.len().to_string(), newest]
        });
        output::print(&output::columns(&std::iter::once(heads).chain(rows).collect::<Vec<_>>()))?;
    }
    Ok(Exit::Ok)
}

/// `running (process 12)`, `finished`, `2 missing` or `stopped`.
pub(super) fn state(run: &RunSummary) -> String {
    match &run.holder {
        Some(holder) => format!("running ({holder})"),
        None if !run.missing.is_empty() => format!("{} missing", run.missing.len()),
        None if run.artifacts.iter().any(|it| REPORTS.contains(&it.as_str())) => "finished".to_owned(),
        None => "stopped".to_owned(),
    }
}

fn find(dir: &Path) -> anyhow::Result<Vec<RunSummary>> {
    if let Some(run) = RunSummary::read(dir)? {
        return Ok(vec![run]);
    }
    if !dir.exists() && dir == Path::new("runs") {
        return Ok(Vec::new()); // nothing was run here yet
    }
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut runs = Vec::new();
    for entry in entries.flatten().filter(|it| it.path().is_dir()) {
        match RunSummary::read(&entry.path()) {
            Ok(run) => runs.extend(run),
            Err(error) => output::note(&error.to_string()), // the others are listed all the same
        }
    }
    runs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(runs)
}
