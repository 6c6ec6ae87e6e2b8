//! What a suite found: a rate, a mean over prompts, or nothing.

use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, percent};
use super::goodness::ENOUGH_TECHNIQUES;
use super::rate::Rate;

/// A mean over prompts, with an interval over prompts and training seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean and its 95% interval.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Prompts it is over.
    pub n_prompts: u32,
    /// Prompts left out, because nothing of them that counts was scored.
    pub n_unscored: u32,
    /// Cells (prompt by technique) left out, because their outcome is missing.
    pub n_missing: u32,
    /// Prompts with fewer than [`ENOUGH_TECHNIQUES`] scored techniques; they count all the same.
    pub n_short: u32,
}

/// What a suite found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A share of samples.
    Rate(Rate),
    /// A mean over prompts.
    Mean(Mean),
    /// Nothing was scored.
    NoData {
        /// What was tried without being scored.
        unscored: u32,
    },
}

impl Measure {
    /// A rate, or no data if nothing was scored.
    pub fn of_rate(rate: Rate) -> Measure {
        if rate.scored() == 0 { Measure::NoData { unscored: rate.unscored() } } else { Measure::Rate(rate) }
    }

    /// How many answers a rate is over, and how many prompts a mean is.
    pub fn n(&self) -> u32 {
        match self {
            Measure::Rate(rate) => rate.scored(),
            Measure::Mean(mean) => mean.n_prompts,
            Measure::NoData { .. } => 0,
        }
    }

    /// The number with its 95% interval, in [0, 1].
    pub fn estimate(&self) -> Option<Estimate> {
        match self {
            Measure::Rate(rate) => rate.estimate(),
            Measure::Mean(mean) => Some(mean.estimate),
            Measure::NoData { .. } => None,
        }
    }
}

impl std::fmt::Display for Mean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [value, low, high] = [self.estimate.value(), self.estimate.low(), self.estimate.high()].map(percent);
        write!(f, "{value:.1}% [{low:.1}, {high:.1}] over {}", counted(self.n_prompts, "prompt"))?;
        if self.n_unscored > 0 {
            write!(f, ", {} unscored", self.n_unscored)?;
        }
        if self.n_missing > 0 {
            write!(f, ", {} missing", counted(self.n_missing, "cell"))?;
        }
        if self.n_short > 0 {
            write!(f, ", {} with fewer than {ENOUGH_TECHNIQUES} techniques", self.n_short)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Measure::Rate(rate) => rate.fmt(f),
            Measure::Mean(mean) => mean.fmt(f),
            Measure::NoData { unscored: 0 } => f.write_str("no data"),
            Measure::NoData { unscored } => write!(f, "no data, {unscored} unscored"),
        }
    }
}

fn counted(n: u32, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
