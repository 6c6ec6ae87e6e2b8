//! The claims of a paper, each decided from the numbers by a rule that is stated beside it.
//!
//! A comparison looks at the 95% interval of a difference ([`Estimate::minus`]). A claim holds if all its comparisons do, and
//! fails if one does; what the numbers leave open is unclear, and what was not run is not tested.

use collimate_schema::Hash;
use serde::{Deserialize, Serialize};

use crate::evaluation::Evaluation;
use crate::papers::{Paper, Question, Test};
use crate::stats::{Estimate, Measure, percent};
use crate::suites::SuiteId;

/// What the numbers say of a claim or of one comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It held.
    Held,
    /// It did not.
    NotHeld,
    /// The numbers do not tell; why.
    Unclear(String),
    /// What it needs was not run; what.
    NotTested(String),
}

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
    /// The answer.
    pub ruling: Ruling,
    /// Hashes of the artefacts behind both arms.
    pub evidence: Vec<Hash>,
}

/// A claim with what the paper reported, what we found, and what follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Short name.
    pub key: String,
    /// The claim.
    pub statement: String,
    /// What the paper reported.
    pub paper: String,
    /// When we say that it held.
    pub rule: String,
    /// Our numbers.
    pub comparisons: Vec<Comparison>,
    /// What they say.
    pub ruling: Ruling,
}

/// Decides every claim of `paper` from `evaluations`.
pub fn claims(paper: &Paper, evaluations: &[Evaluation]) -> Vec<Claim> {
    paper
        .claims
        .iter()
        .map(|it| {
            let run = |test: &Test| compare(paper, test, evaluations);
            let comparisons: Vec<Comparison> = it.tests.iter().filter_map(run).collect();
            let needed = it.arms().into_iter();
            let missing: Vec<&str> =
                needed.filter(|arm| find(evaluations, arm).is_none()).map(|arm| paper.label(arm)).collect();
            let ruling = if missing.is_empty() {
                all_of(&comparisons)
            } else {
                Ruling::NotTested(format!("not run: {}", missing.join(", ")))
            };
            Claim {
                key: it.key.to_owned(),
                statement: it.statement.to_owned(),
                paper: it.paper.to_owned(),
                rule: it.rule.to_owned(),
                comparisons,
                ruling,
            }
        })
        .collect()
}

fn all_of(comparisons: &[Comparison]) -> Ruling {
    if comparisons.iter().any(|it| it.ruling == Ruling::NotHeld) {
        return Ruling::NotHeld;
    }
    let open = |it: &Comparison| match &it.ruling {
        Ruling::Unclear(why) | Ruling::NotTested(why) => Some(why.clone()),
        Ruling::Held | Ruling::NotHeld => None,
    };
    let untested = comparisons.iter().all(|it| matches!(it.ruling, Ruling::NotTested(_)));
    match comparisons.iter().find_map(open) {
        Some(why) if untested => Ruling::NotTested(why),
        Some(why) => Ruling::Unclear(why),
        None => Ruling::Held,
    }
}

fn find<'e>(evaluations: &'e [Evaluation], arm: &str) -> Option<&'e Evaluation> {
    evaluations.iter().find(|it| it.arm == arm)
}

/// `None` if an arm is missing.
fn compare(paper: &Paper, test: &Test, evaluations: &[Evaluation]) -> Option<Comparison> {
    let arm = find(evaluations, test.arm)?;
    let than = match test.than {
        Some(than) => Some(find(evaluations, than)?),
        None => None,
    };
    let title = paper.suite_title(&test.suite);
    let difference = difference(test, |suite, arm| arm.measure(suite).estimate(), arm, than);
    let ruling = match difference {
        None => Ruling::NotTested(format!("no data: {title}")),
        Some(it) => rule(&test.question, title, it, &by_seed(test, arm, than)),
    };
    let mut evidence: Vec<Hash> =
        arm.evidence().chain(than.into_iter().flat_map(Evaluation::evidence)).cloned().collect();
    evidence.dedup();
    Some(Comparison {
        suite: test.suite.clone(),
        arm: arm.arm.clone(),
        measure: arm.measure(&test.suite),
        against: than.map(|it| (it.arm.clone(), it.measure(&test.suite))),
        question: test.question.clone(),
        difference,
        ruling,
        evidence,
    })
}

/// What a question is about, from what `of` tells of an arm on a suite.
fn difference(
    test: &Test,
    of: impl Fn(&SuiteId, &Evaluation) -> Option<Estimate>,
    arm: &Evaluation,
    than: Option<&Evaluation>,
) -> Option<Estimate> {
    let gap = |suite| {
        let ours = of(suite, arm)?;
        match (than, &test.question) {
            (Some(than), _) => Some(ours.minus(of(suite, than)?)),
            (None, Question::AtLeast(bar)) => Some(ours.minus(Estimate::exactly(*bar))),
            (None, _) => Some(ours),
        }
    };
    match &test.question {
        Question::WiderThanOn(other) => Some(gap(&test.suite)?.minus(gap(other)?)),
        _ => gap(&test.suite),
    }
}

/// The same, for each training seed that all arms have (if there are several): the values only.
fn by_seed(test: &Test, arm: &Evaluation, than: Option<&Evaluation>) -> Vec<(u64, f64)> {
    let value = |seed: u64| {
        move |suite: &SuiteId, arm: &Evaluation| {
            let place = arm.sources.iter().position(|it| it.seed == seed)?;
            let value = arm.finding(suite)?.by_seed.get(place)?.estimate()?.value;
            Some(Estimate::exactly(value))
        }
    };
    let seeds = arm.sources.iter().map(|it| it.seed);
    seeds.filter_map(|seed| Some((seed, difference(test, value(seed), arm, than)?.value))).collect()
}

fn rule(question: &Question, title: &str, difference: Estimate, by_seed: &[(u64, f64)]) -> Ruling {
    let (held_above, failed_below) = match *question {
        Question::Better | Question::AtLeast(_) | Question::WiderThanOn(_) => (0.0, 0.0),
        Question::NoWorseBy(margin) => (-margin, -margin),
        Question::Effect(margin) => (0.0, margin),
    };
    if difference.low > held_above {
        match by_seed.iter().find(|(_, value)| *value <= held_above) {
            None => Ruling::Held,
            Some((seed, value)) => {
                let value = percent(*value);
                Ruling::Unclear(format!(
                    "{title}: over all seeds it holds, with seed {seed} it does not ({value:+.1} points)"
                ))
            }
        }
    } else if difference.high <= failed_below {
        Ruling::NotHeld
    } else {
        let (shown, at) = match *question {
            Question::AtLeast(bar) => {
                let Estimate { value, low, high } = difference;
                (Estimate { value: value + bar, low: low + bar, high: high + bar }, bar)
            }
            _ => (difference, held_above),
        };
        Ruling::Unclear(format!("{title}: {shown} may lie on either side of {:.0}", percent(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::papers::DELIBERATIVE_ALIGNMENT;
    use crate::papers::deliberative_alignment::{NO_SAFETY, RL, SFT_RL, SPEC_SUMMARIES};
    use crate::suites::{CAPABILITY, DISALLOWED, JAILBREAK, OVERREFUSAL, STYLE_REFUSAL, STYLE_SAFE};
    use crate::testing::{arm, seeds};

    fn ruling(key: &str, evaluations: &[Evaluation]) -> Ruling {
        let found = claims(&DELIBERATIVE_ALIGNMENT, evaluations).into_iter().find(|it| it.key == key);
        found.unwrap_or_else(|| panic!("no claim `{key}`")).ruling
    }

    #[test]
    fn nothing_run_is_nothing_tested() {
        for claim in claims(&DELIBERATIVE_ALIGNMENT, &[]) {
            assert!(matches!(claim.ruling, Ruling::NotTested(_)), "{claim:?}");
            assert!(claim.comparisons.is_empty());
        }
    }

    #[test]
    fn held_unclear_and_not_held() {
        let none = arm(NO_SAFETY, &[(DISALLOWED, 5, 200), (JAILBREAK, 0, 60)]);
        let good = arm(SFT_RL, &[(DISALLOWED, 190, 200), (JAILBREAK, 50, 60)]);
        assert_eq!(ruling("method", &[none.clone(), good]), Ruling::Held);
        let even = arm(SFT_RL, &[(DISALLOWED, 190, 200), (JAILBREAK, 0, 60)]);
        assert_eq!(ruling("method", &[none.clone(), even]), Ruling::NotHeld);
        let some = arm(SFT_RL, &[(DISALLOWED, 9, 200), (JAILBREAK, 50, 60)]);
        let Ruling::Unclear(why) = ruling("method", &[none.clone(), some]) else { panic!("unclear") };
        assert_eq!(why, "Disallowed content: not_unsafe: 2.0 [-1.9, 6.1] may lie on either side of 0");
        let blank = arm(SFT_RL, &[(DISALLOWED, 190, 200)]);
        assert_eq!(ruling("method", &[none, blank]), Ruling::Unclear("no data: Jailbreaks: goodness@0.1".to_owned()));
    }

    #[test]
    fn margins() {
        let capability = |arm_key, hits| arm(arm_key, &[(CAPABILITY, hits, 2000)]);
        let base = || capability(NO_SAFETY, 1900);
        assert_eq!(ruling("capability", &[base(), capability(SFT_RL, 1895)]), Ruling::Held);
        assert_eq!(ruling("capability", &[base(), capability(SFT_RL, 1700)]), Ruling::NotHeld);
        assert!(matches!(ruling("capability", &[base(), capability(SFT_RL, 1865)]), Ruling::Unclear(_)));
        let polite = |hits| arm(SFT_RL, &[(OVERREFUSAL, hits, 1000)]);
        assert_eq!(ruling("overrefusal", &[polite(980)]), Ruling::Held);
        assert_eq!(ruling("overrefusal", &[polite(900)]), Ruling::NotHeld);
        let Ruling::Unclear(why) = ruling("overrefusal", &[polite(955)]) else { panic!("unclear") };
        assert_eq!(why, "Overrefusal: not_overrefuse, all kinds: 95.5 [94.0, 96.6] may lie on either side of 95");
    }

    #[test]
    fn reinforcement_learning_alone_may_do_nothing() {
        let of = |key, hits| arm(key, &[(DISALLOWED, hits, 400), (JAILBREAK, 0, 60)]);
        assert_eq!(ruling("rl_alone", &[of(NO_SAFETY, 2), of(RL, 3)]), Ruling::NotHeld);
        assert_eq!(ruling("rl_alone", &[of(NO_SAFETY, 2), of(RL, 40)]), Ruling::NotHeld);
    }

    #[test]
    fn style_is_the_widest_gap() {
        let of = |key, disallowed, style| {
            arm(key, &[(DISALLOWED, disallowed, 200), (STYLE_REFUSAL, style, 200), (STYLE_SAFE, style, 200)])
        };
        let method = of(SFT_RL, 195, 195);
        assert_eq!(ruling("spec_style", &[method.clone(), of(SPEC_SUMMARIES, 180, 60)]), Ruling::Held);
        assert_eq!(ruling("spec_style", &[method, of(SPEC_SUMMARIES, 60, 180)]), Ruling::NotHeld);
    }

    #[test]
    fn a_seed_that_points_the_other_way_is_told() {
        let capability = |key, hits: [u32; 2]| seeds(key, &CAPABILITY, hits, 1000);
        let base = capability(NO_SAFETY, [900, 950]);
        assert_eq!(ruling("capability", &[base.clone(), capability(SFT_RL, [900, 950])]), Ruling::Held);
        let Ruling::Unclear(why) = ruling("capability", &[base, capability(SFT_RL, [970, 910])]) else {
            panic!("unclear")
        };
        assert_eq!(why, "Capability, all tasks: over all seeds it holds, with seed 1 it does not (-4.0 points)");
    }
}
