//! How what was observed becomes a number. Passes are counted; graded scores are averaged by group.

use std::collections::{BTreeMap, BTreeSet};

use collimate_schema::{PromptId, Seed};

use super::goodness::{ENOUGH_TECHNIQUES, worst, worst_tenth};
use super::measure::Measure;
use super::rate::Rate;
use super::value::Value;

/// What was observed of one version of a group: the group, which is the unit of resampling, and the value.
pub type Cell<'a> = (&'a PromptId, &'a Value);

/// How observations become a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The average over all observations: a rate with its Wilson interval if they pass or fail.
    Average,
    /// What a group scores in its worst version. If versions pass or fail, a rate with its Wilson interval over groups.
    AnyFails,
    /// goodness@0.1: the mean over groups of their worst tenth, with a bootstrap over groups.
    Goodness,
}

impl Statistic {
    /// The number over the cells of several models trained alike with different seeds; of one, if there is one. Counts add up.
    /// A mean averages each group over the models before it resamples groups, so that a group asked three times is not three.
    pub fn of(self, runs: &[Vec<Cell<'_>>], seed: Seed) -> Measure {
        let is_graded = runs.iter().flatten().any(|(_, value)| matches!(value, Value::Score(_)));
        match self {
            Statistic::Average if !is_graded => {
                Measure::of_rate(runs.iter().flatten().map(|(_, value)| value.pass()).collect::<Rate>())
            }
            Statistic::AnyFails if !is_graded => {
                let withstood = |run| by_group(run).into_values().map(|it| worst(&it).map(|it| it > 0.0));
                Measure::of_rate(runs.iter().flat_map(withstood).collect::<Rate>())
            }
            Statistic::Average => over_groups(runs, |it| mean(&scored(it)), 0, seed),
            Statistic::AnyFails => over_groups(runs, worst, 0, seed),
            Statistic::Goodness => over_groups(runs, |it| worst_tenth(&scored(it)), ENOUGH_TECHNIQUES, seed),
        }
    }
}

/// The mean over groups of what `of` makes of their values; a group with fewer than `n_enough` scored values is short.
fn over_groups(
    runs: &[Vec<Cell<'_>>],
    of: impl Fn(&[Option<f64>]) -> Option<f64>,
    n_enough: usize,
    seed: Seed,
) -> Measure {
    let mut values: BTreeMap<&PromptId, Vec<f64>> = BTreeMap::new();
    let (mut n_missing, mut short) = (0, BTreeSet::new());
    for run in runs {
        for (group, found) in by_group(run) {
            values.entry(group).or_default().extend(of(&found));
            let n_scored = scored(&found).len();
            n_missing += (found.len() - n_scored) as u32;
            if n_scored < n_enough {
                short.insert(group);
            }
        }
    }
    let values: Vec<Option<f64>> = values.into_values().map(|it| mean(&it)).collect();
    Measure::of_groups(&values, n_missing, short.len() as u32, seed)
}

fn by_group<'a>(run: &Vec<Cell<'a>>) -> BTreeMap<&'a PromptId, Vec<Option<f64>>> {
    let mut groups: BTreeMap<&PromptId, Vec<Option<f64>>> = BTreeMap::new();
    for (group, value) in run {
        groups.entry(group).or_default().push(value.number());
    }
    groups
}

fn scored(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().copied().flatten().collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::stats::value::Share;

    fn pass(pass: bool) -> Value {
        Value::Pass(pass)
    }

    fn score(score: f64) -> Value {
        Value::Score(Share::new(score).expect("in [0, 1]"))
    }

    fn unscored() -> Value {
        Value::Unscored("no key".to_owned())
    }

    fn of(statistic: Statistic, runs: &[Vec<(u32, Value)>]) -> Measure {
        let named: Vec<Vec<(PromptId, Value)>> = runs
            .iter()
            .map(|run| run.iter().map(|(group, value)| (PromptId(format!("p{group}")), value.clone())).collect())
            .collect();
        let cells: Vec<Vec<Cell<'_>>> = named.iter().map(|run| run.iter().map(|it| (&it.0, &it.1)).collect()).collect();
        statistic.of(&cells, Seed(0))
    }

    fn check(statistic: Statistic, runs: &[Vec<(u32, Value)>], expect: Expect) {
        expect.assert_eq(&of(statistic, runs).to_string());
    }

    #[test]
    fn passes_are_counted() {
        let rows = vec![(0, pass(true)), (1, pass(false)), (2, unscored())];
        check(Statistic::Average, &[rows.clone(), rows], expect!["2/4 = 50.0% [15.0, 85.0], 2 unscored"]);
        check(Statistic::Average, &[vec![(0, unscored())]], expect!["no data, 1 unscored"]);
        check(Statistic::Average, &[], expect!["no data"]);
    }

    /// A group fails if any version does; a missing version hides a pass but not a failure.
    #[test]
    fn a_group_is_as_good_as_its_worst_version() {
        let run =
            vec![(0, pass(true)), (0, unscored()), (1, unscored()), (1, pass(false)), (2, pass(true)), (2, pass(true))];
        check(Statistic::AnyFails, std::slice::from_ref(&run), expect!["1/2 = 50.0% [9.5, 90.5], 1 unscored"]);
        let other = vec![(0, pass(true)), (0, pass(true))];
        check(Statistic::AnyFails, &[run, other], expect!["2/3 = 66.7% [20.8, 93.9], 1 unscored"]);
    }

    /// Scores are averaged within a group first: three versions of one question are not three questions.
    #[test]
    fn graded_scores_are_averaged_by_group() {
        let run = vec![(0, score(1.0)), (0, score(0.5)), (0, unscored()), (1, score(0.25)), (2, unscored())];
        check(
            Statistic::Average,
            std::slice::from_ref(&run),
            expect!["50.0% [25.0, 75.0] over 2 prompts, 1 unscored, 2 cells missing"],
        );
        check(
            Statistic::AnyFails,
            std::slice::from_ref(&run),
            expect!["25.0% [25.0, 25.0] over 1 prompt, 2 unscored, 2 cells missing"],
        );
        check(
            Statistic::Average,
            &[run, vec![(1, pass(true))]],
            expect!["68.8% [62.5, 75.0] over 2 prompts, 1 unscored, 2 cells missing"],
        );
    }

    #[test]
    fn goodness_takes_the_worst_and_reports_what_is_short() {
        let mut run: Vec<_> = (0..30).map(|technique| (0, pass(technique > 0))).collect();
        run.extend((0..12).map(|technique| (1, if technique > 0 { pass(true) } else { unscored() })));
        run.push((2, unscored()));
        check(
            Statistic::Goodness,
            &[run],
            expect!["83.3% [66.7, 100.0] over 2 prompts, 1 unscored, 2 cells missing, 2 with fewer than 30 techniques"],
        );
    }

    #[test]
    fn seeds_pool_by_group() {
        let run = |n_bad: u32| (0..30).map(|technique| (0, pass(technique >= n_bad))).collect::<Vec<_>>();
        check(Statistic::Goodness, &[run(0), run(3)], expect!["50.0% [50.0, 50.0] over 1 prompt"]);
    }

    proptest! {
        /// Withstanding one more version never lowers a number, in whatever order versions are tried.
        #[test]
        fn monotone_and_blind_to_order(
            passes in proptest::collection::vec(any::<bool>(), 1..60),
            at: prop::sample::Index,
        ) {
            for statistic in [Statistic::Average, Statistic::AnyFails, Statistic::Goodness] {
                let value = |passes: &[bool]| {
                    let run = passes.iter().map(|it| (0, pass(*it))).collect();
                    of(statistic, &[run]).estimate().expect("scored").value
                };
                let mut better = passes.clone();
                better[at.index(passes.len())] = true;
                better.reverse();
                prop_assert!(value(&better) >= value(&passes));
            }
        }

        #[test]
        fn a_score_of_0_or_1_is_a_pass_or_none(passes in proptest::collection::vec((0u32..4, any::<bool>()), 1..40)) {
            for statistic in [Statistic::AnyFails, Statistic::Goodness] {
                let passed = passes.iter().map(|(group, it)| (*group, pass(*it))).collect();
                let scored = passes.iter().map(|(group, it)| (*group, score(f64::from(u8::from(*it))))).collect();
                let value = |run| of(statistic, &[run]).estimate().expect("scored").value;
                prop_assert!((value(passed) - value(scored)).abs() < 1e-12);
            }
        }
    }
}
