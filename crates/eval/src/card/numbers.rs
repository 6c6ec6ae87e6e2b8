//! The numbers of a card, which several of its sections show.

use collimate_schema::Hash;
use serde::{Deserialize, Serialize};

use crate::evaluation::Evaluation;
use crate::papers::{Paper, by_key};

/// What was measured, and by which paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Whose suites, arms and claims these are; a file keeps its key.
    #[serde(with = "by_key")]
    pub paper: &'static Paper,
    /// One per arm, in the order of tables and plots.
    pub evaluations: Vec<Evaluation>,
}

impl Numbers {
    /// Every artefact that some evaluation rests on, with what rests on it.
    pub(super) fn evidence(&self) -> Vec<(String, &Hash)> {
        let mut all = Vec::new();
        for Evaluation { arm, sources, .. } in &self.evaluations {
            let label = self.paper.label(arm);
            all.extend(sources.iter().map(|it| (format!("evaluation of `{label}`, seed {}", it.seed), &it.evidence)));
        }
        all
    }
}
