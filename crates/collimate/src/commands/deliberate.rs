//! `deliberate` and `quickstart`: the same recipe, full and small.

use std::path::PathBuf;

use anyhow::Context;
use collimate_model::{Compute, Model};
use collimate_schema::Hash;
use serde::Serialize;

use super::Exit;
use super::next::next_steps;
use super::run_args::RunArgs;
use super::verify::is_finished;
use crate::device::On;
use crate::files::read_text;
use crate::material::{Material, Roles};
use crate::progress::Progress;
use crate::recipes::deliberate::{Deliberate, base, deliberate, quickstart, tiny};
use crate::recipes::{RESULTS, TABLE};
use crate::worlds::harbor;
use crate::{config, embedded, output};

/// Its configs.
pub(super) const NAMED: &config::Named<Deliberate> = &[("base", base), ("quickstart", quickstart), ("tiny", tiny)];

/// The full recipe.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    run_named(args, "deliberate", NAMED)
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
    let cfg = Deliberate { precision: args.settled(command, "/recipe/precision", cfg.precision), ..cfg };
    let base = embedded::harbor_base(&args.device.device())?;
    let base = Model { compute: Compute { precision: cfg.precision.into(), recompute: false }, ..base };
    let context = base.weights.shape().n_positions;
    cfg.check().and_then(|()| cfg.check_room(context)).with_context(|| format!("config {}", args.config))?;
    let materials = harbor::materials(&cfg);
    if args.dry_run {
        if args.json {
            output::print_json(&Plan {
                recipe: "deliberate",
                out: args.out_or(command),
                config: &cfg,
                stages: stages(&cfg, &materials),
            })?;
        } else {
            output::print(&cfg.plan(&materials))?;
        }
        return Ok(Exit::Ok);
    }
    let engine = base.engine();
    let roles = Roles { teacher: &engine, filter: &engine, reward: &engine };
    let spec = materials.first().map(|it| Hash::of_json(&it.spec));
    let identity = Identity { recipe: &cfg, base: base.hash(), spec: spec.context("a run has a seed")? };
    let folder = args.open(command, "deliberate", &On { config: identity, device: args.device })?;
    if !is_finished(&folder, TABLE)? {
        let stages = cfg.stages(&materials);
        let progress = Progress::new(args.quiet).with_plan(stages.iter().map(|(name, cost)| (name.as_str(), *cost)));
        deliberate(&folder, &cfg, &materials, &roles, &base, &progress)?;
    }
    if args.json {
        output::print(&read_text(&folder.path().join(RESULTS), "results")?)?;
    } else {
        let table = read_text(&folder.path().join(TABLE), "table")?;
        output::print(&format!("{table}\n{}", next_steps(folder.path()).join("\n")))?;
    }
    Ok(Exit::Ok)
}

/// What a run would do, for programs.
#[derive(Serialize)]
struct Plan<'a> {
    recipe: &'a str,
    out: PathBuf,
    config: &'a Deliberate,
    stages: Vec<PlannedStage>,
}

#[derive(Serialize)]
struct PlannedStage {
    stage: String,
    /// On two cores, roughly.
    seconds: f64,
}

fn stages(cfg: &Deliberate, materials: &[Material]) -> Vec<PlannedStage> {
    let stages = cfg.stages(materials).into_iter();
    stages.map(|(stage, seconds)| PlannedStage { stage, seconds }).collect()
}
