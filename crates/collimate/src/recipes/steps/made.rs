//! When a run began, and by what.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use collimate_eval::card::Made;
use collimate_kernels::InstructionSet;
use collimate_run::{Artifact, COMMIT};
use jiff::Timestamp;

use super::site::Site;

/// Stays as it was when the run is resumed, on whatever machine.
pub(crate) fn made(site: Site<'_>) -> anyhow::Result<Artifact<Made>> {
    site.run.stage("made", &[], || {
        Ok(Made {
            date: now()?.strftime("%Y-%m-%d").to_string(),
            program: concat!("collimate ", env!("CARGO_PKG_VERSION")).to_owned(),
            commit: COMMIT.map(str::to_owned),
            processor: processor(),
            threads: rayon::current_num_threads(),
            instructions: InstructionSet::chosen().map_or_else(|it| it.to_string(), |it| it.to_string()),
        })
    })
}

/// The time, or what `SOURCE_DATE_EPOCH` says it is, which makes runs of different days the same to the byte.
#[expect(clippy::disallowed_methods, reason = "the day is a fact about the run, kept as an artefact of it")]
fn now() -> anyhow::Result<Timestamp> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(given) => given.parse().with_context(|| format!("SOURCE_DATE_EPOCH={given} is no number of seconds"))?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64,
    };
    Timestamp::from_second(seconds).with_context(|| format!("SOURCE_DATE_EPOCH={seconds} is no time"))
}

/// The processor's name, as the system tells it.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        told.lines().find_map(|it| it.strip_prefix("model name")?.split_once(':').map(|it| it.1.trim().to_owned()));
    name.unwrap_or_else(|| format!("{}, {}", std::env::consts::ARCH, std::env::consts::OS))
}
