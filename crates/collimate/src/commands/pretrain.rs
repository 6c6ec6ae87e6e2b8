//! `pretrain`: the base model of a world, from nothing.

use anyhow::Context;

use super::Exit;
use super::run_args::RunArgs;
use super::verify::is_finished;
use crate::device::On;
use crate::files::read_text;
use crate::progress::Progress;
use crate::recipes::pretrain::{Pretrain, base, pretrain, tiny};
use crate::{config, output};

/// Its configs.
pub(super) const NAMED: &config::Named<Pretrain> = &[("base", base), ("tiny", tiny)];

/// Trains, stores and measures it; prints its model card.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let cfg: Pretrain = config::resolve(&args.config, NAMED)?;
    let precision = args.settled("pretrain", "/precision", cfg.precision);
    let cfg = Pretrain { seed: args.seed.unwrap_or(cfg.seed), precision, ..cfg };
    cfg.check().with_context(|| format!("config {}", args.config))?;
    if args.dry_run && args.json {
        output::print_json(
            &serde_json::json!({ "recipe": "pretrain", "out": args.out_or("pretrain"), "config": cfg }),
        )?;
        return Ok(Exit::Ok);
    }
    if args.dry_run {
        let documents = cfg.steps * cfg.documents;
        output::print(&format!(
            "train    {} steps of {} documents ({documents} in all), checkpoint every {} steps\n\
             store    model/harbor-base, bf16, a Hugging Face directory\n\
             measure  {} held-out documents of each kind, sampled greedily",
            cfg.steps, cfg.documents, cfg.checkpoint_every, cfg.measured
        ))?;
        return Ok(Exit::Ok);
    }
    let folder = args.open("pretrain", "pretrain", &On { config: &cfg, device: args.device })?;
    is_finished(&folder, "README.md")?; // what was changed is an error, and not written over
    let accuracies = pretrain(&folder, &cfg, &args.device.device(), &Progress::new(args.quiet))?;
    if args.json {
        output::print_json(&accuracies.value)?;
    } else {
        output::print(&read_text(&folder.path().join("README.md"), "model card")?)?;
        output::note(&format!(
            "talk to it: collimate chat --model {}",
            folder.path().join("model/harbor-base").display()
        ));
    }
    Ok(Exit::Ok)
}
