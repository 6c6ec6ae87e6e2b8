//! Judges against the ground truth.

use collimate_schema::Hash;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::facts::Evidenced;
use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::judge::Confusion;

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judges {
    /// One for each judge and training seed.
    pub confusions: Vec<Evidenced<Confusion>>,
}

impl Part for Judges {
    fn key(&self) -> &'static str {
        "judges"
    }

    fn name(&self) -> &'static str {
        "Judges"
    }

    fn heading(&self) -> &'static str {
        "Judges against the ground truth"
    }

    fn evidence<'a>(&'a self, _: &'a Numbers) -> Vec<(String, &'a Hash)> {
        self.confusions.iter().map(|it| (format!("confusion of `{}`", it.value.judge), &it.evidence)).collect()
    }

    fn html(&self, _: &Page<'_>) -> Value {
        let confusions: Vec<Value> = self.confusions.iter().map(confusion).collect();
        render(include_str!("judges.html"), context! { confusions })
    }
}

fn confusion(Evidenced { evidence, value }: &Evidenced<Confusion>) -> Value {
    context! {
        evidence,
        judge => value.judge,
        threshold => value.threshold,
        grades => value.grades,
        unscored => value.unscored,
        agreement => value.agreement().to_string(),
        false_accepts => value.false_accepts().to_string(),
        false_rejects => value.false_rejects().to_string(),
    }
}
