//! What a card says of its run.

use collimate_schema::Hash;
use serde::{Deserialize, Serialize};

/// A value with the hash of the artefact it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidenced<T> {
    /// Hash of the artefact.
    pub evidence: Hash,
    /// What it says.
    pub value: T,
}

/// Something with a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// What it is, for readers.
    pub name: String,
    /// Its hash.
    pub hash: Hash,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The recipe, as the command line names it.
    pub recipe: String,
    /// Hash of its configuration.
    pub config: Hash,
    /// Training seeds.
    pub seeds: Vec<u64>,
    /// The policy.
    pub spec: Named,
    /// The policy's text, Markdown.
    pub policy: String,
    /// When, by which program and on what.
    pub made: Made,
}

/// When, by which program and on what a run was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The day the run began, ISO 8601, UTC.
    pub date: String,
    /// Name and version of the program, such as `collimate 0.1.0`.
    pub program: String,
    /// The commit it was built from, if known.
    pub commit: Option<String>,
    /// The processor.
    pub processor: String,
    /// How many threads computed.
    pub threads: usize,
    /// The instruction set that the kernels used.
    pub instructions: String,
}
