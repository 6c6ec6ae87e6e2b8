//! `quickstart`: deliberative alignment on the embedded world, in minutes.

use super::{Exit, deliberate};
use crate::cli::RunArgs;
use crate::recipes::deliberate::{quickstart, tiny};

/// Runs it.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    deliberate::run_named(args, "quickstart", &[("base", quickstart), ("tiny", tiny)])
}
