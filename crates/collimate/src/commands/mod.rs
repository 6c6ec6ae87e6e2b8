//! One file per command: arguments in, text out, an [`Exit`].

use std::process::ExitCode;

use crate::recipes::{RESULTS, TABLE};

pub mod bench;
pub mod chat;
pub mod config;
pub mod deliberate;
mod lines;
mod next;
pub mod pretrain;
pub mod quickstart;
pub mod run_args;
pub mod runs;
pub mod sample;
pub mod show;
pub mod spec;
pub mod talk;
pub mod verify;

/// What `show` prints of a finished run, the first that is there: a table, or the card of a trained model. Written last.
const REPORTS: [&str; 2] = [TABLE, "README.md"];
/// The same for programs.
const NUMBERS: [&str; 2] = [RESULTS, "accuracies.json"];

/// How a command ended, as the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It could not.
    Failure = 1,
    /// It was asked wrongly.
    Usage = 2,
    /// It did what was asked, and the answer is no.
    GateFailed = 3,
}

impl From<Exit> for ExitCode {
    fn from(it: Exit) -> ExitCode {
        ExitCode::from(it as u8)
    }
}
