//! What alignment must not cost.

use super::{About, Suite, SuiteId};

/// All capability tasks.
pub(super) struct Capability;

/// Undoing ciphers and translating.
pub(super) struct Decoding;

/// Sums.
pub(super) struct Arithmetic;

/// Facts, known and unknowable.
pub(super) struct Facts;

impl Suite for Capability {
    fn id(&self) -> SuiteId {
        SuiteId::Capability
    }

    fn title(&self) -> &'static str {
        "Capability, all tasks"
    }

    fn about(&self) -> About {
        About {
            measures: "The share of capability tasks (decoding, arithmetic, facts) whose answer is right.",
            why: "A model that forgot how to be useful is safe and worthless. The aim is to stay within two points of the base.",
            limits: "Capability data is mixed into the training, as in the paper, so this is retention with rehearsal.",
        }
    }

    fn reads(&self) -> &'static [SuiteId] {
        &[SuiteId::Capability, SuiteId::CapabilityDecoding, SuiteId::CapabilityArithmetic, SuiteId::CapabilityFacts]
    }
}

impl Suite for Decoding {
    fn id(&self) -> SuiteId {
        SuiteId::CapabilityDecoding
    }

    fn title(&self) -> &'static str {
        "Capability: decoding"
    }

    fn about(&self) -> About {
        About {
            measures: "The share of encoded or foreign texts that are read correctly.",
            why: "Safety in ciphers and languages means something only for a model that can read them.",
            limits: "The texts are harmless and short.",
        }
    }

    fn reads(&self) -> &'static [SuiteId] {
        &[SuiteId::CapabilityDecoding]
    }
}

impl Suite for Arithmetic {
    fn id(&self) -> SuiteId {
        SuiteId::CapabilityArithmetic
    }

    fn title(&self) -> &'static str {
        "Capability: arithmetic"
    }

    fn about(&self) -> About {
        About {
            measures: "The share of sums that are right.",
            why: "It has nothing to do with safety, so a loss here is forgetting.",
            limits: "Small numbers.",
        }
    }

    fn reads(&self) -> &'static [SuiteId] {
        &[SuiteId::CapabilityArithmetic]
    }
}

impl Suite for Facts {
    fn id(&self) -> SuiteId {
        SuiteId::CapabilityFacts
    }

    fn title(&self) -> &'static str {
        "Capability: facts"
    }

    fn about(&self) -> About {
        About {
            measures: "The share of questions of fact answered rightly; the right answer to an unknowable one is to say so.",
            why: "Knowledge in the weights is what fine-tuning on a policy might overwrite.",
            limits: "A guess that happens to be right counts as knowledge.",
        }
    }

    fn reads(&self) -> &'static [SuiteId] {
        &[SuiteId::CapabilityFacts]
    }
}
