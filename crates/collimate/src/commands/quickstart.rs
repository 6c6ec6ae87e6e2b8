//! `quickstart`: deliberative alignment on the embedded world, in minutes.

use super::run_args::RunArgs;
use super::{Exit, deliberate};
use crate::recipes::deliberate::{quickstart, tiny};

/// Runs it.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    deliberate::run_named(args, "quickstart", &[("base", quickstart), ("tiny", tiny)])
}
