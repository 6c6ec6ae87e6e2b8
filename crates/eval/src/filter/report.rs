//! Where every deliberation went, counted.

use std::collections::BTreeMap;

use collimate_schema::{Graded, Malformed, Prompt, Score, Unscored, Verdict};
use serde::{Deserialize, Serialize};

use super::fate::{Fate, decide};
use crate::stats::Rate;

/// Deliberations by fate; the fates add up to all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FateCounts {
    /// All of them.
    pub all: u32,
    /// Learnt from.
    pub kept: u32,
    /// No turn, by reason.
    pub malformed: BTreeMap<Malformed, u32>,
    /// Leaning on an absent context.
    pub leans_on_context: u32,
    /// Some reading graded it too low.
    pub below_threshold: u32,
    /// Some reading failed, by the first failure.
    pub unscored: BTreeMap<Unscored, u32>,
    /// Fit to be judged, and not judged.
    pub unjudged: u32,
}

impl FateCounts {
    fn add(&mut self, fate: &Fate) {
        self.all += 1;
        *match fate {
            Fate::Kept => &mut self.kept,
            Fate::Malformed(why) => self.malformed.entry(*why).or_default(),
            Fate::LeansOnContext(_) => &mut self.leans_on_context,
            Fate::BelowThreshold(_) => &mut self.below_threshold,
            Fate::Unscored(why) => self.unscored.entry(why.clone()).or_default(),
            Fate::Unjudged => &mut self.unjudged,
        } += 1;
    }

    /// What became of them, and what could be changed where it is not fit.
    pub fn in_words(&self) -> String {
        let sum = |counts: u32, what: &str, way_out: &str| (counts, format!("{counts} {what} ({way_out})"));
        let mut fates = [
            sum(self.n_malformed(), "are no turn", "raise data.sampling.max_tokens, or lower its temperature"),
            sum(self.leans_on_context, "lean on the context", "they are of no use without it"),
            sum(self.below_threshold, "are graded too low", "lower data.threshold"),
            sum(self.unscored.values().sum(), "could not be graded", "raise data.judge.max_tokens"),
            sum(self.unjudged, "were not judged", "raise data.readings"),
        ];
        fates.sort_by_key(|it| std::cmp::Reverse(it.0));
        let told: Vec<String> = fates.into_iter().filter(|it| it.0 > 0).map(|it| it.1).collect();
        if told.is_empty() { "every request failed".to_owned() } else { told.join(", ") }
    }

    /// No turns.
    pub fn n_malformed(&self) -> u32 {
        self.malformed.values().sum()
    }

    /// Some reading failed.
    pub fn n_unscored(&self) -> u32 {
        self.unscored.values().sum()
    }

    /// Kept, of all.
    pub fn yield_rate(&self) -> Rate {
        Rate::new(self.kept, self.all, 0).expect("the kept are some of all")
    }

    /// Leaning on an absent context, of the well-formed.
    pub fn leaning_rate(&self) -> Rate {
        Rate::new(self.leans_on_context, self.all - self.n_malformed(), 0).expect("only a turn can lean")
    }
}

/// How readings answered another AI's opinion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinions {
    /// Readings that agreed.
    pub agree: u32,
    /// Readings that disagreed.
    pub disagree: u32,
    /// Readings that were shown an opinion and did not answer it.
    pub silent: u32,
}

/// What the filter did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterReport {
    /// The lowest minimum score that is kept.
    pub threshold: Score,
    /// Everything.
    pub all: FateCounts,
    /// By category of the prompt; prompts of no category count only above.
    pub by_category: BTreeMap<String, FateCounts>,
    /// Other AIs' opinions, over the scored readings of prompts that carry a noisy label.
    pub opinions: Opinions,
}

impl FilterReport {
    /// Nothing filtered yet.
    pub fn new(threshold: Score) -> FilterReport {
        FilterReport {
            threshold,
            all: FateCounts::default(),
            by_category: BTreeMap::new(),
            opinions: Opinions::default(),
        }
    }

    /// Decides the fate of a deliberation on `prompt`, and counts it.
    pub fn decide(&mut self, prompt: &Prompt, graded: &Graded) -> Fate {
        let fate = decide(graded, self.threshold);
        self.all.add(&fate);
        if let Some(category) = &prompt.category {
            self.by_category.entry(category.clone()).or_default().add(&fate);
        }
        if prompt.label.is_some() {
            for verdict in &graded.verdicts {
                match verdict {
                    Verdict::Scored { agrees: Some(true), .. } => self.opinions.agree += 1,
                    Verdict::Scored { agrees: Some(false), .. } => self.opinions.disagree += 1,
                    Verdict::Scored { agrees: None, .. } => self.opinions.silent += 1,
                    Verdict::Unscored(_) => {}
                }
            }
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use collimate_schema::{Conversation, NoisyLabel, Outcome, Parsed, PromptId};
    use expect_test::expect;

    use super::*;
    use crate::filter::fate::tests::{graded, scored};

    #[test]
    fn fates_add_up() {
        let prompt = |category: Option<&str>, label| Prompt {
            id: PromptId("p".to_owned()),
            conversation: Conversation::user("x"),
            category: category.map(str::to_owned),
            label,
        };
        let mut report = FilterReport::new(Score::new(4).expect("1 to 5"));
        let labelled = prompt(Some("Contraband"), Some(NoisyLabel(Outcome::Refuse)));
        let fine = || Parsed::of("", "x");
        report.decide(&labelled, &graded(fine(), vec![scored(5, Some(true)), scored(4, Some(false)), scored(5, None)]));
        report.decide(&labelled, &graded(fine(), vec![scored(2, Some(true)), Verdict::Unscored(Unscored::Truncated)]));
        report.decide(&prompt(Some("Poison"), None), &graded(fine(), vec![scored(2, Some(true))]));
        report.decide(&prompt(Some("Poison"), None), &graded(Parsed::Malformed(Malformed::Truncated), vec![]));
        report.decide(&prompt(None, None), &graded(Parsed::of("see above", "x"), vec![]));
        assert_eq!(report.all.leaning_rate(), Rate::new(1, 4, 0).expect("possible"));
        assert_eq!(report.all.yield_rate(), Rate::new(1, 5, 0).expect("possible"));
        let by_category: u32 = report.by_category.values().map(|it| it.all).sum();
        assert_eq!((report.all.all, by_category), (5, 4));
        expect![[r#"{"threshold":4,"all":{"all":5,"kept":1,"malformed":{"truncated":1},"leans_on_context":1,"below_threshold":1,"unscored":{"truncated":1},"unjudged":0},"by_category":{"Contraband":{"all":2,"kept":1,"malformed":{},"leans_on_context":0,"below_threshold":0,"unscored":{"truncated":1},"unjudged":0},"Poison":{"all":2,"kept":0,"malformed":{"truncated":1},"leans_on_context":0,"below_threshold":1,"unscored":{},"unjudged":0}},"opinions":{"agree":2,"disagree":1,"silent":1}}"#]]
        .assert_eq(&serde_json::to_string(&report).expect("plain data"));
    }
}
