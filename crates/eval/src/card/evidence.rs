//! What everything rests on.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::facts::Named;
use super::part::{Page, Part, render};

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Every checkpoint, the base model first.
    pub checkpoints: Vec<Named>,
}

impl Part for Evidence {
    fn key(&self) -> &'static str {
        "evidence"
    }

    fn name(&self) -> &'static str {
        "Evidence"
    }

    fn heading(&self) -> &'static str {
        "Lineage and evidence"
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let evidence: Vec<Value> = page.evidence.iter().map(|(what, hash)| context! { what, hash }).collect();
        render(include_str!("evidence.html"), context! { run => page.run, checkpoints => self.checkpoints, evidence })
    }
}
