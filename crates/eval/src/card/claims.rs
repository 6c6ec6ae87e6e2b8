//! The claims of the paper, decided.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::cell::joined;
use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::claims::{Claim, Comparison, Ruling, claims};
use crate::papers::{Paper, Question};
use crate::stats::percent;

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// In the order of the paper.
    pub claims: Vec<Claim>,
}

impl Part for Claims {
    fn key(&self) -> &'static str {
        "claims"
    }

    fn name(&self) -> &'static str {
        "Claims"
    }

    fn heading(&self) -> &'static str {
        "Claims of the paper"
    }

    fn follows(&self, numbers: &Numbers) -> bool {
        self.claims == claims(numbers.paper, &numbers.evaluations)
    }

    /// How many claims got each ruling.
    fn chips(&self) -> Vec<Value> {
        let kinds = [Ruling::Held, Ruling::NotHeld, Ruling::Unclear(String::new()), Ruling::NotTested(String::new())];
        let same = |kind: &Ruling, it: &Claim| std::mem::discriminant(kind) == std::mem::discriminant(&it.ruling);
        kinds
            .iter()
            .map(|kind| context! { n => self.claims.iter().filter(|it| same(kind, it)).count(), ..ruling(kind) })
            .collect()
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let claims: Vec<Value> = self.claims.iter().map(|it| claim(page.numbers.paper, it)).collect();
        render(include_str!("claims.html"), context! { claims })
    }
}

/// Word and class of a ruling, and why it is none.
fn ruling(it: &Ruling) -> Value {
    let (word, class, why) = match it {
        Ruling::Held => ("held", "held", None),
        Ruling::NotHeld => ("not held", "not-held", None),
        Ruling::Unclear(why) => ("unclear", "unclear", Some(why)),
        Ruling::NotTested(why) => ("not tested", "not-tested", Some(why)),
    };
    context! { word, class, why }
}

fn claim(of: &Paper, it: &Claim) -> Value {
    let Claim { statement, paper, rule, comparisons, ruling: found, key } = it;
    let comparisons: Vec<Value> = comparisons.iter().map(|it| comparison(of, it)).collect();
    context! { key, statement, paper, rule, comparisons, ruling => ruling(found) }
}

fn comparison(paper: &Paper, it: &Comparison) -> Value {
    let question = match &it.question {
        Question::Better => "above 0".to_owned(),
        Question::NoWorseBy(margin) => format!("above \u{2212}{:.0}", percent(*margin)),
        Question::AtLeast(bar) => format!("above {:.0}%", percent(*bar)),
        Question::Effect(margin) => format!("above 0; no effect if below {:.0}", percent(*margin)),
        Question::WiderThanOn(other) => format!("wider than on \u{201c}{}\u{201d}", paper.suite_title(other)),
    };
    context! {
        suite => paper.suite_title(&it.suite),
        arm => paper.label(&it.arm),
        measure => it.measure.to_string(),
        against => it.against.as_ref().map(|(arm, measure)| format!("{}: {measure}", paper.label(arm))),
        difference => it.difference.map_or("no data".to_owned(), |it| it.to_string()),
        over => it.difference.map(|_| it.over()),
        question,
        ruling => ruling(&it.ruling),
        evidence => joined(&it.evidence),
    }
}
