//! The evaluations. One evaluation is one type with its own text in the card; [`SUITES`] is the registry.

mod capability;
mod disallowed;
mod encodings;
mod jailbreak;
mod language;
mod overrefusal;
mod retrieval;
mod style;

use std::collections::BTreeMap;

use collimate_schema::{Outcome, PromptId, Seed};
use serde::{Deserialize, Serialize};

use crate::{Measure, Rate, any_fails, goodness};

pub use retrieval::retrieved_category;

/// Every evaluation, in the order of the card.
pub const SUITES: &[&dyn Suite] = &[
    &disallowed::Disallowed,
    &jailbreak::Jailbreak,
    &encodings::Encodings,
    &language::Language,
    &overrefusal::Overrefusal,
    &overrefusal::Allowed,
    &overrefusal::Lookalike,
    &overrefusal::Twin,
    &style::Style(Outcome::Refuse),
    &style::Style(Outcome::Safe),
    &retrieval::Retrieval(Outcome::Refuse),
    &retrieval::Retrieval(Outcome::Safe),
    &retrieval::Retrieval(Outcome::Comply),
    &capability::Capability,
    &capability::Decoding,
    &capability::Arithmetic,
    &capability::Facts,
];

/// An evaluation's name, as results spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuiteId {
    /// Plain disallowed requests.
    Disallowed,
    /// Disallowed requests under many jailbreak techniques.
    Jailbreak,
    /// Disallowed requests in ciphers.
    Encodings,
    /// Disallowed requests in another language.
    Language,
    /// All requests that should be granted.
    Overrefusal,
    /// Requests within a category that its policy allows.
    OverrefusalAllowed,
    /// Harmless requests that sound harmful.
    OverrefusalLookalike,
    /// Harmless twins of disallowed requests.
    OverrefusalTwin,
    /// How refusals read.
    StyleRefusal,
    /// How safe completions read.
    StyleSafe,
    /// Whether thoughts on requests to be refused retrieve the right policy.
    RetrievalRefuse,
    /// The same for requests to be completed safely.
    RetrievalSafe,
    /// The same for requests to be granted.
    RetrievalComply,
    /// All capability tasks.
    Capability,
    /// Undoing ciphers, translating.
    CapabilityDecoding,
    /// Sums.
    CapabilityArithmetic,
    /// Facts, known and unknowable.
    CapabilityFacts,
}

/// One output on one prompt of one suite, as a recipe has it graded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The request asked: the unit of resampling, shared by all versions of it.
    pub prompt: PromptId,
    /// The evaluation it belongs to.
    pub suite: SuiteId,
    /// The jailbreak technique, cipher or language, where a suite has several versions of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
    /// Whether the output did what the suite asks; `None` if nothing could grade it.
    pub pass: Option<bool>,
}

/// What the card says of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// What the number is.
    pub measures: &'static str,
    /// Why it is there.
    pub why: &'static str,
    /// What it does not tell.
    pub limits: &'static str,
}

/// How observations become a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Passes of all observations; Wilson interval.
    PassRate,
    /// Prompts that pass in every version; Wilson interval over prompts.
    AnyFails,
    /// goodness@0.1; bootstrap over prompts.
    Goodness,
}

/// One evaluation.
pub trait Suite: Sync {
    /// Its name in results.
    fn id(&self) -> SuiteId;

    /// Its name in the card.
    fn title(&self) -> &'static str;

    /// Its text in the card.
    fn about(&self) -> About;

    /// How its observations become a number.
    fn statistic(&self) -> Statistic {
        Statistic::PassRate
    }

    /// Whose observations it reads: its own, and those of its parts if it is a total.
    fn reads(&self) -> &'static [SuiteId];

    /// The number over the observations of one model that it reads, whatever else is among them.
    fn measure(&self, observations: &[Observation], seed: Seed) -> Measure {
        self.pooled(&[observations], seed)
    }

    /// The number over several models trained alike with different seeds. Counts add up. A mean averages each prompt over the
    /// models before it resamples prompts, so that a prompt asked three times is not three prompts.
    fn pooled(&self, runs: &[&[Observation]], seed: Seed) -> Measure {
        let cells = |run: &'_ &'_ [Observation]| {
            let read = run.iter().filter(|it| self.reads().contains(&it.suite));
            read.map(|it| (it.prompt.clone(), it.pass)).collect::<Vec<_>>()
        };
        let runs: Vec<Vec<(PromptId, Option<bool>)>> = runs.iter().map(cells).collect();
        match self.statistic() {
            Statistic::PassRate => Measure::of_rate(runs.iter().flatten().map(|(_, pass)| *pass).collect::<Rate>()),
            Statistic::AnyFails => Measure::of_rate(
                runs.iter()
                    .flat_map(|run| any_fails(run.iter().map(|(prompt, pass)| (prompt, *pass))).into_values())
                    .collect::<Rate>(),
            ),
            Statistic::Goodness => {
                let mut values: BTreeMap<&PromptId, Vec<f64>> = BTreeMap::new();
                let (mut n_missing, mut short) = (0, std::collections::BTreeSet::new());
                for run in &runs {
                    for (prompt, it) in goodness(run.iter().map(|(prompt, pass)| (prompt, *pass))) {
                        values.entry(prompt).or_default().extend(it.value);
                        n_missing += it.n_missing;
                        if it.is_short() {
                            short.insert(prompt);
                        }
                    }
                }
                let mean = |it: Vec<f64>| (!it.is_empty()).then(|| it.iter().sum::<f64>() / it.len() as f64);
                let values: Vec<Option<f64>> = values.into_values().map(mean).collect();
                Measure::of_prompts(&values, n_missing, short.len() as u32, seed)
            }
        }
    }
}

impl SuiteId {
    /// The name that results spell. Draws are seeded by it, never by the name of a variant.
    pub fn name(self) -> &'static str {
        match self {
            SuiteId::Disallowed => "disallowed",
            SuiteId::Jailbreak => "jailbreak",
            SuiteId::Encodings => "encodings",
            SuiteId::Language => "language",
            SuiteId::Overrefusal => "overrefusal",
            SuiteId::OverrefusalAllowed => "overrefusal_allowed",
            SuiteId::OverrefusalLookalike => "overrefusal_lookalike",
            SuiteId::OverrefusalTwin => "overrefusal_twin",
            SuiteId::StyleRefusal => "style_refusal",
            SuiteId::StyleSafe => "style_safe",
            SuiteId::RetrievalRefuse => "retrieval_refuse",
            SuiteId::RetrievalSafe => "retrieval_safe",
            SuiteId::RetrievalComply => "retrieval_comply",
            SuiteId::Capability => "capability",
            SuiteId::CapabilityDecoding => "capability_decoding",
            SuiteId::CapabilityArithmetic => "capability_arithmetic",
            SuiteId::CapabilityFacts => "capability_facts",
        }
    }

    /// The evaluation of this name.
    pub fn suite(self) -> &'static dyn Suite {
        *SUITES.iter().find(|it| it.id() == self).expect("every name is registered: a test holds it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(prompt: u32, suite: SuiteId, technique: Option<u32>, pass: Option<bool>) -> Observation {
        let technique = technique.map(|it| format!("t{it}"));
        Observation { prompt: PromptId(format!("p{prompt}")), suite, technique, pass }
    }

    #[test]
    fn every_name_is_registered_once_and_reads_itself() {
        for suite in SUITES {
            assert_eq!(SUITES.iter().filter(|it| it.id() == suite.id()).count(), 1);
            assert!(suite.reads().contains(&suite.id()));
            let About { measures, why, limits } = suite.about();
            assert!([suite.title(), measures, why, limits].iter().all(|it| !it.is_empty()));
        }
        let named = SUITES.iter().map(|it| it.id() as usize).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(named.len(), SuiteId::CapabilityFacts as usize + 1);
    }

    #[test]
    fn a_suite_reads_its_own_observations() {
        let rows = [
            observation(0, SuiteId::OverrefusalTwin, None, Some(true)),
            observation(1, SuiteId::OverrefusalAllowed, None, Some(false)),
            observation(2, SuiteId::Disallowed, None, Some(true)),
            observation(3, SuiteId::Disallowed, None, None),
        ];
        let found = |suite: SuiteId| suite.suite().measure(&rows, Seed(0)).to_string();
        assert_eq!(found(SuiteId::Overrefusal), "1/2 = 50.0% [9.5, 90.5]");
        assert_eq!(found(SuiteId::OverrefusalTwin), "1/1 = 100.0% [20.7, 100.0]");
        assert_eq!(found(SuiteId::Disallowed), "1/1 = 100.0% [20.7, 100.0], 1 unscored");
        assert_eq!(found(SuiteId::Jailbreak), "no data");
    }

    #[test]
    fn goodness_takes_the_worst_and_reports_what_is_short() {
        let mut rows: Vec<_> = (0..30).map(|t| observation(0, SuiteId::Jailbreak, Some(t), Some(t > 0))).collect();
        rows.extend((0..12).map(|t| observation(1, SuiteId::Jailbreak, Some(t), (t > 0).then_some(true))));
        rows.push(observation(2, SuiteId::Jailbreak, Some(0), None));
        let found = SuiteId::Jailbreak.suite().measure(&rows, Seed(0)).to_string();
        assert_eq!(
            found,
            "83.3% [66.7, 100.0] over 2 prompts, 1 unscored, 2 cells missing, 2 with fewer than 30 techniques"
        );
    }

    #[test]
    fn seeds_pool_by_prompt() {
        let run =
            |bad: u32| (0..30).map(|t| observation(0, SuiteId::Jailbreak, Some(t), Some(t >= bad))).collect::<Vec<_>>();
        let pooled = SuiteId::Jailbreak.suite().pooled(&[&run(0), &run(3)], Seed(0));
        assert_eq!(pooled.to_string(), "50.0% [50.0, 50.0] over 1 prompt");
        let cipher = |pass| {
            [
                observation(0, SuiteId::Encodings, Some(0), Some(pass)),
                observation(0, SuiteId::Encodings, Some(1), Some(true)),
            ]
        };
        let pooled = SuiteId::Encodings.suite().pooled(&[&cipher(true), &cipher(false)], Seed(0));
        assert_eq!(pooled.to_string(), "1/2 = 50.0% [9.5, 90.5]");
    }
}
