//! The kinds of section that a card may have.

use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::evidence::Evidence;
use super::filter::Filter;
use super::judges::Judges;
use super::limits::Limits;
use super::method::Method;
use super::part::Part;
use super::results::Results;
use super::samples::Samples;
use super::suites::Suites;
use super::training::Training;

/// A section of a card; a recipe chooses which, in which order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "section", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is described where it is defined")]
pub enum Section {
    Results(Results),
    Claims(Claims),
    Method(Method),
    Suites(Suites),
    Filter(Filter),
    Judges(Judges),
    Training(Training),
    Samples(Samples),
    Evidence(Evidence),
    Limits(Limits),
}

impl Section {
    /// What all kinds have in common.
    pub(super) fn part(&self) -> &dyn Part {
        match self {
            Section::Results(it) => it,
            Section::Claims(it) => it,
            Section::Method(it) => it,
            Section::Suites(it) => it,
            Section::Filter(it) => it,
            Section::Judges(it) => it,
            Section::Training(it) => it,
            Section::Samples(it) => it,
            Section::Evidence(it) => it,
            Section::Limits(it) => it,
        }
    }
}
