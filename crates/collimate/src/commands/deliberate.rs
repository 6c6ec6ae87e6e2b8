//! `deliberate` and `quickstart`: the same recipe, full and small.

use anyhow::Context;
use collimate_run::RunFolder;
use collimate_schema::Hash;
use serde::Serialize;

use super::Exit;
use super::run_args::RunArgs;
use crate::device::On;
use crate::material::Roles;
use crate::progress::Progress;
use crate::recipes::deliberate::{Deliberate, base, deliberate, quickstart, tiny};
use crate::recipes::{RESULTS, TABLE};
use crate::worlds::harbor;
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
    cfg.check()?;
    let materials = harbor::materials(&cfg);
    if args.dry_run {
        output::print(&cfg.plan(&materials));
        return Ok(Exit::Ok);
    }
    let base = embedded::harbor_base(&args.device.device())?;
    let engine = base.engine();
    let roles = Roles { teacher: &engine, filter: &engine, reward: &engine };
    let spec = materials.first().map(|it| Hash::of_json(&it.spec));
    let identity = Identity { recipe: &cfg, base: base.hash(), spec: spec.context("a run has a seed")? };
    let folder = RunFolder::open(args.out_or(command), "deliberate", &On { config: identity, device: args.device })?;
    let table = folder.path().join(TABLE);
    let finished = folder.lineage().iter().any(|it| it.id.name == TABLE) && table.exists();
    if !finished {
        let stages = cfg.stages(&materials);
        let progress = Progress::new(args.quiet).with_plan(stages.iter().map(|(name, cost)| (name.as_str(), *cost)));
        deliberate(&folder, &cfg, &materials, &roles, &base, &progress)?;
    }
    if args.json {
        output::print(&std::fs::read_to_string(folder.path().join(RESULTS))?);
    } else {
        let card = folder.path().join("card.html");
        output::print(&format!("{}\n{}", std::fs::read_to_string(table)?, card.display()));
    }
    Ok(Exit::Ok)
}
