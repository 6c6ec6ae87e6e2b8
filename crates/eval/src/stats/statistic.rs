//! How what was observed becomes a number. Passes are counted; graded scores are averaged by group.

use std::collections::{BTreeMap, BTreeSet};

use collimate_schema::PromptId;

use super::answers::Answers;
use super::effective::pooled;
use super::goodness::{ENOUGH_TECHNIQUES, worst, worst_tenth};
use super::measure::{Mean, Measure};
use super::rate::Rate;
use super::value::Value;

/// What was observed of one version of a group: the group, which is what was drawn when the exam was made, and the value.
pub type Cell<'a> = (&'a PromptId, &'a Value);

/// How observations become a number. All are over the cells of several models trained alike with different seeds, or of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The average over all observations: a rate if they pass or fail.
    Average,
    /// What a group scores in its worst version: a rate over groups if versions pass or fail.
    AnyFails,
    /// goodness@0.1: the mean over groups of their worst tenth.
    Goodness,
}

impl Statistic {
    /// The number, with an interval over groups and seeds ([`Answers`]). Counts add up. A group asked of three models is not three:
    /// a rate's samples are worth what they tell, and a mean averages each group over the models first.
    pub fn of(self, runs: &[Vec<Cell<'_>>]) -> Measure {
        let is_graded = runs.iter().flatten().any(|(_, value)| matches!(value, Value::Score(_)));
        let answers = self.answers(runs);
        match self {
            Statistic::Average if !is_graded => rate(runs, &answers, |it| it.to_vec()),
            Statistic::AnyFails if !is_graded => rate(runs, &answers, |it| vec![worst(it)]),
            Statistic::Average | Statistic::AnyFails => mean_over_groups(runs, &answers, 0),
            Statistic::Goodness => mean_over_groups(runs, &answers, ENOUGH_TECHNIQUES),
        }
    }

    /// What every group scored with every seed.
    pub fn answers(self, runs: &[Vec<Cell<'_>>]) -> Answers {
        let runs: Vec<_> = runs.iter().map(|it| by_group(it)).collect();
        let groups: BTreeSet<&PromptId> = runs.iter().flat_map(BTreeMap::keys).copied().collect();
        let of = |values: &Vec<Option<f64>>| match self {
            Statistic::Average => mean(&scored(values)),
            Statistic::AnyFails => worst(values),
            Statistic::Goodness => worst_tenth(&scored(values)),
        };
        let row = |run: &BTreeMap<_, _>| groups.iter().map(|it| run.get(it).and_then(of)).collect();
        Answers::new(&groups.iter().copied().collect::<Vec<_>>(), runs.iter().map(row).collect())
    }
}

/// The share of passes among what `samples` makes of the values of a group.
fn rate(runs: &[Vec<Cell<'_>>], answers: &Answers, samples: impl Fn(&[Option<f64>]) -> Vec<Option<f64>>) -> Measure {
    let mut passes: BTreeMap<&PromptId, Vec<Option<bool>>> = BTreeMap::new();
    for (group, values) in runs.iter().flat_map(by_group) {
        passes.entry(group).or_default().extend(samples(&values).iter().map(|it| it.map(|it| it > 0.0)));
    }
    let questions: Vec<Rate> = passes.into_values().map(|it| it.into_iter().collect()).collect();
    Measure::of_rate(pooled(&questions, answers.seed_margin()))
}

/// The mean over groups; a group with fewer than `n_enough` scored values is short.
fn mean_over_groups(runs: &[Vec<Cell<'_>>], answers: &Answers, n_enough: usize) -> Measure {
    let (mut n_missing, mut all, mut short) = (0, BTreeSet::new(), BTreeSet::new());
    for (group, found) in runs.iter().flat_map(by_group) {
        let n_scored = scored(&found).len();
        n_missing += (found.len() - n_scored) as u32;
        all.insert(group);
        if n_scored < n_enough {
            short.insert(group);
        }
    }
    let n_unscored = all.len() as u32 - answers.n_scored();
    match answers.mean() {
        None => Measure::NoData { unscored: n_unscored },
        Some(estimate) => Measure::Mean(Mean {
            estimate,
            n_prompts: answers.n_scored(),
            n_unscored,
            n_missing,
            n_short: short.len() as u32,
        }),
    }
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
        statistic.of(&cells)
    }

    fn check(statistic: Statistic, runs: &[Vec<(u32, Value)>], expect: Expect) {
        expect.assert_eq(&of(statistic, runs).to_string());
    }

    #[test]
    fn passes_are_counted() {
        let rows = vec![(0, pass(true)), (1, pass(false)), (2, unscored())];
        check(
            Statistic::Average,
            &[rows.clone(), rows],
            expect!["2/4 = 50.0% [9.5, 90.5], worth 2 independent, 2 unscored"],
        );
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
        check(Statistic::AnyFails, &[run, other], expect!["2/3 = 66.7% [1.0, 99.7], worth 1 independent, 1 unscored"]);
    }

    /// Scores are averaged within a group first: three versions of one question are not three questions.
    #[test]
    fn graded_scores_are_averaged_by_group() {
        let run = vec![(0, score(1.0)), (0, score(0.5)), (0, unscored()), (1, score(0.25)), (2, unscored())];
        check(
            Statistic::Average,
            std::slice::from_ref(&run),
            expect!["50.0% [6.8, 93.2] over 2 prompts, 1 unscored, 2 cells missing"],
        );
        check(
            Statistic::AnyFails,
            std::slice::from_ref(&run),
            expect!["25.0% [0.6, 98.1] over 1 prompt, 2 unscored, 2 cells missing"],
        );
        check(
            Statistic::Average,
            &[run, vec![(1, pass(true))]],
            expect!["68.8% [0.0, 100.0] over 2 prompts, 1 unscored, 2 cells missing"],
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
            expect!["83.3% [12.9, 99.6] over 2 prompts, 1 unscored, 2 cells missing, 2 with fewer than 30 techniques"],
        );
    }

    #[test]
    fn seeds_pool_by_group() {
        let run = |n_bad: u32| (0..30).map(|technique| (0, pass(technique >= n_bad))).collect::<Vec<_>>();
        check(Statistic::Goodness, &[run(0), run(3)], expect!["50.0% [0.0, 100.0] over 1 prompt"]);
    }

    /// The same question asked of three models that answer alike is one question, whatever the statistic.
    #[test]
    fn fault_26_three_copies_of_a_run_have_the_interval_of_the_run() {
        let run: Vec<_> = (0..40).flat_map(|it| [(it, pass(it % 4 > 0)), (it, pass(it % 7 > 0))]).collect();
        let graded: Vec<_> = (0..40).map(|it| (it, score(f64::from(it % 5) / 4.0))).collect();
        let all_pass: Vec<_> = (0..12).map(|it| (it, pass(true))).collect();
        for run in [run, graded, all_pass] {
            for statistic in [Statistic::Average, Statistic::AnyFails, Statistic::Goodness] {
                let estimate = |runs: &[Vec<(u32, Value)>]| of(statistic, runs).estimate().expect("scored");
                let (once, thrice) =
                    (estimate(std::slice::from_ref(&run)), estimate(&[run.clone(), run.clone(), run.clone()]));
                assert_eq!(thrice, once, "{statistic:?}");
            }
        }
    }

    /// One failure more is not much less to be sure of: what samples are worth does not jump.
    #[test]
    fn fault_26_passes_of_three_seeds() {
        let run = |n: u32, n_bad: u32| (0..n).map(|it| (it, pass(it >= n_bad))).collect::<Vec<_>>();
        check(
            Statistic::Average,
            &[run(12, 0), run(12, 0), run(12, 0)],
            expect!["36/36 = 100.0% [75.8, 100.0], worth 12 independent"],
        );
        check(
            Statistic::Average,
            &[run(12, 0), run(12, 1), run(12, 0)],
            expect!["35/36 = 97.2% [69.1, 99.8], worth 10 independent"],
        );
        check(
            Statistic::Average,
            &[run(12, 1), run(12, 1), run(12, 1)],
            expect!["33/36 = 91.7% [64.6, 98.5], worth 12 independent"],
        );
        check(
            Statistic::Average,
            &[run(100, 20), run(100, 22), run(100, 21)],
            expect!["237/300 = 79.0% [69.8, 86.0], worth 95 independent"],
        );
        check(
            Statistic::Average,
            &[run(100, 10), run(100, 20), run(100, 30)],
            expect!["240/300 = 80.0% [48.6, 94.4], worth 10 independent"],
        );
        check(
            Statistic::AnyFails,
            &[run(100, 10), run(100, 20), run(100, 30)],
            expect!["240/300 = 80.0% [48.6, 94.4], worth 10 independent"],
        );
        check(
            Statistic::Goodness,
            &[run(100, 10), run(100, 20), run(100, 30)],
            expect!["80.0% [54.1, 100.0] over 100 prompts, 100 with fewer than 30 techniques"],
        );
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
                    of(statistic, &[run]).estimate().expect("scored").value()
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
                let value = |run| of(statistic, &[run]).estimate().expect("scored").value();
                prop_assert!((value(passed) - value(scored)).abs() < 1e-12);
            }
        }
    }
}
