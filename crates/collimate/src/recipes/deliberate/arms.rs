//! The arms: which model is asked, and what it is shown.

use collimate_eval::papers::deliberative_alignment as key;
use schemars::{Schema, SchemaGenerator, json_schema};

/// Which trained model an arm asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Fine-tuned on capability data only.
    NoSafety,
    /// Fine-tuned on deliberations.
    Sft,
    /// As `NoSafety`, then rewarded by the judge.
    Rl,
    /// The method.
    SftRl,
    /// Fine-tuned on the same data, thoughts removed.
    AnswersOnly,
    /// The method on safety data with ciphers and the invented language.
    FullData,
}

/// What of the spec stands in the context at inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nothing: what the method is for.
    Nothing,
    /// Summaries of all categories.
    Summaries,
    /// The brief of the right category: an upper bound, since no deployment knows it.
    Brief,
}

/// One arm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm {
    /// Its name in configs and results.
    pub key: &'static str,
    /// Which model.
    pub asked: Asked,
    /// Shown what.
    pub shown: Shown,
}

/// The paper's ablation (figure 14), its data arms (table 3) and ours, in the order of the card.
pub(crate) const ALL: [Arm; 8] = [
    Arm { key: key::NO_SAFETY, asked: Asked::NoSafety, shown: Shown::Nothing },
    Arm { key: key::SFT, asked: Asked::Sft, shown: Shown::Nothing },
    Arm { key: key::RL, asked: Asked::Rl, shown: Shown::Nothing },
    Arm { key: key::SFT_RL, asked: Asked::SftRl, shown: Shown::Nothing },
    Arm { key: key::SPEC_SUMMARIES, asked: Asked::NoSafety, shown: Shown::Summaries },
    Arm { key: key::SPEC_TAILORED, asked: Asked::NoSafety, shown: Shown::Brief },
    Arm { key: key::ANSWERS_ONLY, asked: Asked::AnswersOnly, shown: Shown::Nothing },
    Arm { key: key::FULL_DATA, asked: Asked::FullData, shown: Shown::Nothing },
];

/// What a list of arms in a config may be.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "enum": ALL.map(|it| it.key) },
        "minItems": 1,
        "uniqueItems": true,
    })
}
