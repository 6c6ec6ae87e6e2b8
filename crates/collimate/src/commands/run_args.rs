//! What the commands take that run a recipe.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use collimate_run::RunFolder;
use serde::Serialize;

use crate::device::DeviceName;
use crate::precision::Precision;

/// What every run takes.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// A named config (`base`, `tiny`), or a TOML file that says `base = "NAME"` and overrides fields
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "base")]
    pub config: String,
    /// Seed of everything random, instead of the config's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The run folder, made or resumed [default: runs/COMMAND]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda:N`, `vulkan`, `vulkan:N` or `metal`; a GPU needs a build with that feature
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: DeviceName,
    /// Go on in a run folder that has another config: what the change does not touch is kept, the rest is made again
    #[arg(long)]
    pub reconfigure: bool,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print results, or the plan, as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunArgs {
    /// The run folder, opened for `recipe` with this config.
    pub fn open(&self, command: &str, recipe: &str, config: &impl Serialize) -> anyhow::Result<RunFolder> {
        let open = if self.reconfigure { RunFolder::reconfigure } else { RunFolder::open };
        Ok(open(self.out_or(command), recipe, config)?)
    }

    /// What `precision` is in this run: where it is `auto` and the run folder is there, what that has at `place` of its config.
    pub fn settled(&self, command: &str, place: &str, precision: Precision) -> Precision {
        let recorded = RunFolder::recorded(self.out_or(command));
        let recorded = recorded.and_then(|it| serde_json::from_value(it.pointer(place)?.clone()).ok());
        precision.settled(self.device, recorded)
    }

    /// The run folder: `--out`, or `runs/<command>` in the current directory.
    pub fn out_or(&self, command: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(command))
    }
}

/// The worlds a recipe can run in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum World {
    /// The embedded one.
    Harbor,
}

/// A run in a world.
#[derive(Args, Clone, Debug)]
pub struct WorldRun {
    /// Which world
    #[arg(value_enum)]
    pub world: World,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub run: RunArgs,
}
