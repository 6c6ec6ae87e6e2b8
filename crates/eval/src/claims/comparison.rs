//! One comparison: of an arm with another, or with a bar.

use collimate_schema::Hash;
use serde::{Deserialize, Serialize};

use super::ruling::Ruling;
use crate::evaluation::Evaluation;
use crate::papers::{Paper, Question, Test};
use crate::stats::{Estimate, Measure, percent};
use crate::suites::SuiteId;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Measured by which suite.
    pub suite: SuiteId,
    /// The arm in question.
    pub arm: String,
    /// What it scored.
    pub measure: Measure,
    /// The arm that it is held against, with what that scored; `None` against a fixed bar.
    pub against: Option<(String, Measure)>,
    /// What is asked.
    pub question: Question,
    /// What the question is about, in [-2, 2]: difference of the arms, distance from the bar, or difference of differences.
    pub difference: Option<Estimate>,
    /// How many prompts the arms were compared on, one by one: on the suite, and on the other if the question is about two. Empty
    /// where they are not compared in pairs.
    pub pairs: Vec<u32>,
    /// The answer.
    pub ruling: Ruling,
    /// Hashes of the artefacts behind both arms.
    pub evidence: Vec<Hash>,
}

/// The arm of this name, if it was run.
pub(super) fn find<'e>(evaluations: &'e [Evaluation], arm: &str) -> Option<&'e Evaluation> {
    evaluations.iter().find(|it| it.arm == arm)
}

/// `None` if an arm is missing.
pub(super) fn compare(paper: &Paper, test: &Test, evaluations: &[Evaluation]) -> Option<Comparison> {
    let arm = find(evaluations, test.arm)?;
    let than = match test.than {
        Some(than) => Some(find(evaluations, than)?),
        None => None,
    };
    let (difference, pairs) = match difference(test, arm, than) {
        Some((difference, pairs)) => (Some(difference), pairs),
        None => (None, Vec::new()),
    };
    let mut evidence: Vec<Hash> =
        arm.evidence().chain(than.into_iter().flat_map(Evaluation::evidence)).cloned().collect();
    evidence.dedup();
    let title = paper.suite_title(&test.suite);
    let mut comparison = Comparison {
        suite: test.suite.clone(),
        arm: arm.arm.clone(),
        measure: arm.measure(&test.suite),
        against: than.map(|it| (it.arm.clone(), it.measure(&test.suite))),
        question: test.question.clone(),
        difference,
        pairs,
        ruling: Ruling::NotTested(format!("no data: {title}")),
        evidence,
    };
    if let Some(it) = difference {
        comparison.ruling = rule(&comparison, title, it, &by_seed(test, arm, than));
    }
    Some(comparison)
}

impl Comparison {
    /// How many prompts it is over, in words.
    pub fn over(&self) -> String {
        let n = |it: &Measure| it.n().to_string();
        let numbers: Vec<String> = match (&self.pairs[..], &self.against) {
            ([], Some((_, against))) => vec![n(&self.measure), n(against)],
            ([], None) => vec![n(&self.measure)],
            (pairs, _) => pairs.iter().map(u32::to_string).collect(),
        };
        let noun = match (&self.measure, self.pairs.is_empty()) {
            (Measure::Rate(_), true) => "answers",
            _ if numbers == ["1"] => "prompt",
            _ => "prompts",
        };
        format!("over {} {noun}", numbers.join(" and "))
    }
}

/// What a question is about, with the numbers of prompts that arms were compared on one by one.
fn difference(test: &Test, arm: &Evaluation, than: Option<&Evaluation>) -> Option<(Estimate, Vec<u32>)> {
    let gap = |suite: &SuiteId| match (than, &test.question) {
        (Some(than), _) => arm.better_than(than, suite),
        (None, Question::AtLeast(bar)) => Some((arm.measure(suite).estimate()?.minus(Estimate::exactly(*bar)?), None)),
        (None, _) => Some((arm.measure(suite).estimate()?, None)),
    };
    let (ours, n_pairs) = gap(&test.suite)?;
    match &test.question {
        Question::WiderThanOn(other) => {
            let (theirs, n_other_pairs) = gap(other)?;
            Some((ours.minus(theirs), n_pairs.zip(n_other_pairs).map_or(Vec::new(), |(a, b)| vec![a, b])))
        }
        _ => Some((ours, n_pairs.into_iter().collect())),
    }
}

/// The value of the same, for each training seed that all arms have (if there are several).
fn by_seed(test: &Test, arm: &Evaluation, than: Option<&Evaluation>) -> Vec<(u64, f64)> {
    let value = |seed: u64, suite: &SuiteId, arm: &Evaluation| {
        let place = arm.sources.iter().position(|it| it.seed == seed)?;
        Some(arm.finding(suite)?.by_seed.get(place)?.estimate()?.value())
    };
    let gap = |seed: u64, suite: &SuiteId| {
        let ours = value(seed, suite, arm)?;
        match (than, &test.question) {
            (Some(than), _) => Some(ours - value(seed, suite, than)?),
            (None, Question::AtLeast(bar)) => Some(ours - bar),
            (None, _) => Some(ours),
        }
    };
    let difference = |seed: u64| match &test.question {
        Question::WiderThanOn(other) => Some(gap(seed, &test.suite)? - gap(seed, other)?),
        _ => gap(seed, &test.suite),
    };
    let seeds = arm.sources.iter().map(|it| it.seed);
    seeds.filter_map(|seed| Some((seed, difference(seed)?))).collect()
}

fn rule(asked: &Comparison, title: &str, difference: Estimate, by_seed: &[(u64, f64)]) -> Ruling {
    let (held_above, failed_below) = match asked.question {
        Question::Better | Question::AtLeast(_) | Question::WiderThanOn(_) => (0.0, 0.0),
        Question::NoWorseBy(margin) => (-margin, -margin),
        Question::Effect(margin) => (0.0, margin),
    };
    if difference.low() > held_above {
        match by_seed.iter().find(|(_, value)| *value <= held_above) {
            None => Ruling::Held,
            Some((seed, value)) => {
                let value = percent(*value);
                Ruling::Unclear(format!(
                    "{title}: over all seeds it holds, with seed {seed} it does not ({value:+.1} points)"
                ))
            }
        }
    } else if difference.high() <= failed_below {
        Ruling::NotHeld
    } else {
        let (shown, at) = match (&asked.question, asked.measure.estimate()) {
            (Question::AtLeast(bar), Some(measured)) => (measured, *bar),
            _ => (difference, held_above),
        };
        Ruling::Unclear(format!("{title}: {shown} {} may lie on either side of {:.0}", asked.over(), percent(at)))
    }
}
