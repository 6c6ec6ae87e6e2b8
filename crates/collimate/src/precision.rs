//! The precision switch of recipes and of the command line.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operands of matrix products are rounded to; weights, sums and everything else stay f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all: the reference
    #[default]
    F32,
    /// To bf16: twice as fast where the processor multiplies bf16 faster
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        })
    }
}

impl From<Precision> for collimate_model::Precision {
    fn from(it: Precision) -> Self {
        match it {
            Precision::F32 => collimate_model::Precision::F32,
            Precision::Bf16 => collimate_model::Precision::Bf16,
        }
    }
}
