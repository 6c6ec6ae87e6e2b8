//! `deliberate`.

use super::Exit;
use crate::cli::RunArgs;

/// Not wired to its recipe yet.
pub fn run(_: &RunArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("the recipe is not part of this build")
}
