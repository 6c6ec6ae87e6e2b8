//! `quickstart`: deliberative alignment on the embedded world, in minutes.

use super::run_args::RunArgs;
use super::{Exit, deliberate};
use crate::config::Named;
use crate::recipes::deliberate::{Deliberate, quickstart, tiny};

/// Its configs.
pub(super) const NAMED: &Named<Deliberate> = &[("base", quickstart), ("tiny", tiny)];

/// Runs it.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    deliberate::run_named(args, "quickstart", NAMED)
}
