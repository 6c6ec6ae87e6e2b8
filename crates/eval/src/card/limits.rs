//! What the card does not show.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::part::{Page, Part, render};

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// What this run does not show, a sentence each; what no card shows stands below.
    pub limits: Vec<String>,
}

impl Part for Limits {
    fn key(&self) -> &'static str {
        "limits"
    }

    fn name(&self) -> &'static str {
        "Limits"
    }

    fn html(&self, _: &Page<'_>) -> Value {
        render(include_str!("limits.html"), context! { limits => self.limits })
    }
}
