//! The precision switch of recipes and of the command line.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::DeviceName;

/// What the operands of matrix products are rounded to; weights, sums and everything else stay f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all: the reference
    #[default]
    F32,
    /// To bf16: several times as fast on a processor with matrix tiles (AMX), slower on others
    Bf16,
    /// The faster of the two on this processor; a run records which one that was, and goes on with it
    Auto,
}

impl Precision {
    /// Which of the two `auto` is: what was `recorded`, or the faster on `device`.
    pub fn settled(self, device: DeviceName, recorded: Option<Precision>) -> Precision {
        match self {
            Precision::Auto => recorded.unwrap_or(match device.is_cpu() {
                true => collimate_model::Precision::fastest().into(),
                false => Precision::F32, // GPUs multiply in f32
            }),
            exact => exact,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Auto => "auto",
        })
    }
}

impl From<Precision> for collimate_model::Precision {
    fn from(it: Precision) -> Self {
        match it {
            Precision::F32 => collimate_model::Precision::F32,
            Precision::Bf16 => collimate_model::Precision::Bf16,
            Precision::Auto => collimate_model::Precision::fastest(),
        }
    }
}

impl From<collimate_model::Precision> for Precision {
    fn from(it: collimate_model::Precision) -> Self {
        match it {
            collimate_model::Precision::F32 => Precision::F32,
            collimate_model::Precision::Bf16 => Precision::Bf16,
        }
    }
}
