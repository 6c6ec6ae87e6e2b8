//! `verify`: whether a run folder still is what the run wrote.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use collimate_run::{Fault, RunError, RunFolder, RunSummary, Verified, verify};

use super::Exit;
use crate::output;

/// Arguments of `verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The run folder
    pub run: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// Compares every file of a run with its record.
pub fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let summary = match RunSummary::read(&args.run) {
        Ok(Some(summary)) => Some(summary),
        Ok(None) => bail!("{} is not a run folder: `collimate runs` lists those there are", args.run.display()),
        Err(RunError::DamagedConfig { .. } | RunError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(holder) = summary.and_then(|it| it.holder) {
        output::note(&format!(
            "{} is being written by {holder}: what is under way may look missing",
            args.run.display()
        ));
    }
    let verified = verify(&args.run)?;
    if args.json {
        output::print_json(&verified)?;
    } else {
        output::print(&report(&args.run, &verified))?;
    }
    Ok(if verified.faults.is_empty() { Exit::Ok } else { Exit::GateFailed })
}

/// What was found, for people, with the ways out.
pub(super) fn report(run: &Path, verified: &Verified) -> String {
    let Verified { n_sound, faults, besides } = verified;
    let mut lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.extend(besides.iter().map(|it| format!("besides  {it}: not of this run, and left alone")));
    lines.push(match faults.len() {
        0 if *n_sound == 0 => format!("{}: nothing was made yet", run.display()),
        0 => format!("{}: {n_sound} artefacts, all as the run wrote them", run.display()),
        1 => format!("{}: {n_sound} artefacts as the run wrote them, 1 fault", run.display()),
        n => format!("{}: {n_sound} artefacts as the run wrote them, {n} faults", run.display()),
    });
    if faults.iter().any(|it| it.is_made_again()) {
        lines.push("what is missing or stale is made again by the command that made the run".to_owned());
    }
    if faults.iter().any(|it| !it.is_made_again()) {
        lines.push("restore what was changed, or delete it and give the command that made the run".to_owned());
    }
    lines.join("\n")
}

/// Whether the run made `last`, and everything is as it wrote it. What is missing is to be made again; what was changed is an error.
pub(super) fn is_finished(folder: &RunFolder, last: &str) -> anyhow::Result<bool> {
    if !folder.is_made(last) {
        return Ok(false);
    }
    let verified = folder.verify()?;
    anyhow::ensure!(
        verified.faults.iter().all(Fault::is_made_again),
        "this run is not what it wrote any more\n{}",
        report(folder.path(), &verified)
    );
    if !verified.faults.is_empty() {
        output::note(&report(folder.path(), &verified));
    }
    Ok(verified.faults.is_empty())
}
