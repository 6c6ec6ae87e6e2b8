//! Papers: what each measures and claims, one file each. A recipe hands its paper to whatever needs one.

pub mod deliberative_alignment;
mod paper;

pub use deliberative_alignment::DELIBERATIVE_ALIGNMENT;
pub use paper::{Arm, Assertion, Axis, Paper, Question, Test, Tradeoff};

/// Every paper; a card that is read back finds its own here.
pub const PAPERS: &[&Paper] = &[&DELIBERATIVE_ALIGNMENT];

/// A paper in a file is its key.
pub(crate) mod by_key {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{PAPERS, Paper};

    pub(crate) fn serialize<S: Serializer>(paper: &&'static Paper, serializer: S) -> Result<S::Ok, S::Error> {
        paper.key.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Paper, D::Error> {
        let key = String::deserialize(deserializer)?;
        PAPERS.iter().copied().find(|it| it.key == key).ok_or_else(|| {
            let known: Vec<&str> = PAPERS.iter().map(|it| it.key).collect();
            D::Error::custom(format!("`{key}` is no paper that this version knows: use one of {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::suites::{About, DISALLOWED, SuiteId};

    /// What does not fit together in a paper.
    fn faults(paper: &Paper) -> Vec<String> {
        let mut faults = Vec::new();
        let mut unique = |what: &str, names: Vec<String>| {
            let n_names = names.iter().collect::<BTreeSet<_>>().len();
            if n_names < names.len() {
                faults.push(format!("{what} are not unique: {names:?}"));
            }
        };
        unique("suites", paper.suites.iter().map(|it| it.id().to_string()).collect());
        unique("arms", paper.arms.iter().map(|it| it.key.to_owned()).collect());
        unique("labels", paper.arms.iter().map(|it| it.label.to_owned()).collect());
        unique("claims", paper.claims.iter().map(|it| it.key.to_owned()).collect());
        for suite in paper.suites {
            let About { asks, measures, why, limits } = suite.about();
            if [suite.title(), asks, measures, why, limits].iter().any(|it| it.is_empty()) {
                faults.push(format!("`{}` lacks a text", suite.id()));
            }
            if !paper.suites.iter().any(|it| suite.counts(&it.id())) {
                faults.push(format!("`{}` counts nothing", suite.id()));
            }
        }
        let tests = || paper.claims.iter().flat_map(|claim| claim.tests.iter().map(move |it| (claim.key, it)));
        for (claim, arm) in tests().flat_map(|(claim, it)| [Some(it.arm), it.than].map(|arm| (claim, arm))) {
            if arm.is_some_and(|arm| paper.arms.iter().all(|it| it.key != arm)) {
                faults.push(format!("claim `{claim}` names an arm that is none: {arm:?}"));
            }
        }
        let mut named: Vec<(&str, &SuiteId)> = tests().map(|(claim, it)| (claim, &it.suite)).collect();
        named.extend(tests().filter_map(|(claim, it)| match &it.question {
            Question::WiderThanOn(suite) => Some((claim, suite)),
            _ => None,
        }));
        named.extend(paper.columns.iter().chain(paper.headline).map(|(suite, name)| (*name, suite)));
        named.extend([&paper.tradeoff.x, &paper.tradeoff.y].map(|it| (it.name, &it.suite)));
        for (place, suite) in named {
            if paper.suite(suite).is_none() {
                faults.push(format!("`{place}` names a suite that is none: `{suite}`"));
            }
        }
        faults
    }

    #[test]
    fn every_paper_is_coherent() {
        for paper in PAPERS {
            assert_eq!(faults(paper), Vec::<String>::new(), "{paper:?}");
            assert_eq!(PAPERS.iter().filter(|it| it.key == paper.key).count(), 1);
        }
    }

    #[test]
    fn a_slip_is_found() {
        const CLAIM: Assertion = Assertion {
            key: "better",
            statement: "",
            paper: "",
            rule: "",
            tests: &[Test::better(SuiteId::new("disalowed"), "sft", "base"), Test::better(DISALLOWED, "sft", "none")],
        };
        let paper =
            Paper { claims: &[CLAIM, CLAIM], arms: &DELIBERATIVE_ALIGNMENT.arms[..2], ..DELIBERATIVE_ALIGNMENT };
        let found = faults(&paper);
        for fault in
            ["claims are not unique", "an arm that is none: Some(\"base\")", "a suite that is none: `disalowed`"]
        {
            assert!(found.iter().any(|it| it.contains(fault)), "{fault}: {found:?}");
        }
    }
}
