//! The precision switch of recipes and of the command line.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the operands of matrix products are rounded to; weights, sums and everything else stay f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all: the reference
    #[default]
    F32,
    /// To bf16: twice as fast where the processor multiplies bf16 faster
    Bf16,
}

impl From<Precision> for collimate_model::Precision {
    fn from(it: Precision) -> Self {
        match it {
            Precision::F32 => collimate_model::Precision::F32,
            Precision::Bf16 => collimate_model::Precision::Bf16,
        }
    }
}
