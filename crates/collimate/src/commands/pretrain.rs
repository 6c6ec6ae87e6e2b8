//! `pretrain`: the base model of a world, from nothing.

use collimate_run::RunFolder;

use super::Exit;
use super::run_args::RunArgs;
use crate::device::On;
use crate::progress::Progress;
use crate::recipes::pretrain::{Pretrain, base, pretrain, tiny};
use crate::{config, output};

/// Trains, stores and measures it; prints its model card.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let cfg: Pretrain = config::resolve(&args.config, &[("base", base), ("tiny", tiny)])?;
    let cfg = Pretrain { seed: args.seed.unwrap_or(cfg.seed), ..cfg };
    if args.dry_run {
        let documents = cfg.steps * cfg.documents;
        output::print(&format!(
            "train    {} steps of {} documents ({documents} in all), checkpoint every {} steps\n\
             store    model/harbor-base, bf16, a Hugging Face directory\n\
             measure  {} held-out documents of each kind, sampled greedily",
            cfg.steps, cfg.documents, cfg.checkpoint_every, cfg.measured
        ));
        return Ok(Exit::Ok);
    }
    let folder = RunFolder::open(args.out_or("pretrain"), "pretrain", &On { config: &cfg, device: args.device })?;
    let accuracies = pretrain(&folder, &cfg, &args.device.device(), &Progress::new(args.quiet))?;
    if args.json {
        output::print_json(&accuracies.value)?;
    } else {
        output::print(&std::fs::read_to_string(folder.path().join("README.md"))?);
    }
    Ok(Exit::Ok)
}
