//! `deliberate` and `quickstart`: the same recipe, full and small.

use collimate_schema::{Hash, RunFolder};
use serde::Serialize;

use super::{Exit, RESULTS, TABLE};
use crate::cli::RunArgs;
use crate::device::On;
use crate::progress::Progress;
use crate::recipes::deliberate::{Deliberate, base, deliberate, quickstart, tiny};
use crate::recipes::harbor::Harbor;
use crate::recipes::world::World;
use crate::{config, embedded, output};

/// The full recipe.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    run_named(args, "deliberate", &[("base", base), ("quickstart", quickstart), ("tiny", tiny)])
}

/// What the run folder must agree with to be resumed.
#[derive(Serialize)]
struct Identity<'a> {
    recipe: &'a Deliberate,
    base: Hash,
    spec: Hash,
}

pub(super) fn run_named(args: &RunArgs, command: &str, named: &config::Named<Deliberate>) -> anyhow::Result<Exit> {
    let cfg: Deliberate = config::resolve(&args.config, named)?;
    let cfg = match args.seed {
        Some(seed) => Deliberate { seeds: vec![seed], ..cfg },
        None => cfg,
    };
    if args.dry_run {
        output::print(&cfg.plan());
        return Ok(Exit::Ok);
    }
    let model = embedded::harbor_base(&args.device.device())?;
    let world = Harbor::default();
    let identity = Identity { recipe: &cfg, base: model.hash(), spec: Hash::of_json(world.spec()) };
    let folder = RunFolder::open(args.out_or(command), "deliberate", &On { config: identity, device: args.device })?;
    let table = folder.path().join(TABLE);
    let finished = folder.lineage().iter().any(|it| it.id.name == TABLE) && table.exists();
    if !finished {
        let stages = cfg.stages();
        let progress = Progress::new(args.quiet).with_plan(stages.iter().map(|(name, cost)| (name.as_str(), *cost)));
        deliberate(&folder, &cfg, &world, &model, &progress)?;
    }
    if args.json {
        output::print(&std::fs::read_to_string(folder.path().join(RESULTS))?);
    } else {
        let card = folder.path().join("card.html");
        output::print(&format!("{}\n{}", std::fs::read_to_string(table)?, card.display()));
    }
    Ok(Exit::Ok)
}
