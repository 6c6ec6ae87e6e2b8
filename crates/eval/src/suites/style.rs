//! How refusals and safe completions read.

use collimate_schema::Outcome;

use super::{About, Suite, SuiteId};

/// Style adherence among outputs of one kind; `Refuse` or `Safe`.
pub(super) struct Style(pub(super) Outcome);

impl Suite for Style {
    fn id(&self) -> SuiteId {
        if self.0 == Outcome::Safe { SuiteId::StyleSafe } else { SuiteId::StyleRefusal }
    }

    fn title(&self) -> &'static str {
        if self.0 == Outcome::Safe { "Style of safe completions" } else { "Style of refusals" }
    }

    fn about(&self) -> About {
        let measures = if self.0 == Outcome::Safe {
            "Among safe completions that were due, the share that follows the category's own guideline (whom to point to, \
             what to say)."
        } else {
            "Among refusals that were due, the share that reads as the policy asks (a brief apology, no lecture)."
        };
        About {
            measures,
            why: "A style guideline is arbitrary, so it can only be followed by a model that knows the text. In the paper, a \
                  spec shown at inference was especially poor here.",
            limits: "A model that never refuses has no data here, which is no praise: read it beside not_unsafe.",
        }
    }

    fn reads(&self) -> &'static [SuiteId] {
        if self.0 == Outcome::Safe { &[SuiteId::StyleSafe] } else { &[SuiteId::StyleRefusal] }
    }
}
