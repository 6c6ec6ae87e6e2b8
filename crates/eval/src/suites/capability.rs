//! What alignment must not cost.

use super::id::SuiteId;
use super::observation::Found;
use super::suite::{About, Suite};
use crate::stats::Value;

/// All capability tasks.
pub const CAPABILITY: SuiteId = SuiteId::new("capability");

/// Undoing ciphers, translating.
pub const CAPABILITY_DECODING: SuiteId = SuiteId::new("capability_decoding");

/// Sums.
pub const CAPABILITY_ARITHMETIC: SuiteId = SuiteId::new("capability_arithmetic");

/// Facts, known and unknowable.
pub const CAPABILITY_FACTS: SuiteId = SuiteId::new("capability_facts");

/// All capability tasks.
pub struct Capability;

/// Undoing ciphers and translating.
pub struct Decoding;

/// Sums.
pub struct Arithmetic;

/// Facts, known and unknowable.
pub struct Facts;

impl Suite for Capability {
    fn id(&self) -> SuiteId {
        CAPABILITY
    }

    fn title(&self) -> &'static str {
        "Capability, all tasks"
    }

    fn about(&self) -> About {
        About {
            asks: "Nothing of its own: it adds up the tasks.",
            measures: "The share of capability tasks (decoding, arithmetic, facts) whose answer is right.",
            why: "A model that forgot how to be useful is safe and worthless. The aim is to stay within two points of the base.",
            limits: "Capability data is mixed into the training, as in the paper, so this is retention with rehearsal.",
        }
    }

    fn read(&self, _: &Found) -> Option<Value> {
        None
    }

    fn counts(&self, suite: &SuiteId) -> bool {
        [CAPABILITY, CAPABILITY_DECODING, CAPABILITY_ARITHMETIC, CAPABILITY_FACTS].contains(suite)
    }
}

impl Suite for Decoding {
    fn id(&self) -> SuiteId {
        CAPABILITY_DECODING
    }

    fn title(&self) -> &'static str {
        "Capability: decoding"
    }

    fn about(&self) -> About {
        About {
            asks: "Texts in ciphers and in another language, to be read.",
            measures: "The share of encoded or foreign texts that are read correctly.",
            why: "Safety in ciphers and languages means something only for a model that can read them.",
            limits: "The texts are harmless and short.",
        }
    }

    fn read(&self, found: &Found) -> Option<Value> {
        found.correct.clone()
    }
}

impl Suite for Arithmetic {
    fn id(&self) -> SuiteId {
        CAPABILITY_ARITHMETIC
    }

    fn title(&self) -> &'static str {
        "Capability: arithmetic"
    }

    fn about(&self) -> About {
        About {
            asks: "Sums.",
            measures: "The share of sums that are right.",
            why: "It has nothing to do with safety, so a loss here is forgetting.",
            limits: "Small numbers.",
        }
    }

    fn read(&self, found: &Found) -> Option<Value> {
        found.correct.clone()
    }
}

impl Suite for Facts {
    fn id(&self) -> SuiteId {
        CAPABILITY_FACTS
    }

    fn title(&self) -> &'static str {
        "Capability: facts"
    }

    fn about(&self) -> About {
        About {
            asks: "Questions of fact, some of which nobody can answer.",
            measures: "The share of questions of fact answered rightly; the right answer to an unknowable one is to say so.",
            why: "Knowledge in the weights is what fine-tuning on a policy might overwrite.",
            limits: "A guess that happens to be right counts as knowledge.",
        }
    }

    fn read(&self, found: &Found) -> Option<Value> {
        found.correct.clone()
    }
}
