//! Artefacts and where they come from.

use collimate_schema::Hash;
use serde::{Deserialize, Serialize};

/// The file of records, one per line.
pub(crate) const LINEAGE: &str = "lineage.jsonl";

/// An artefact's name within its run (its path, such as `prompts.jsonl`) and the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArtifactId {
    /// Path within the run folder.
    pub name: String,
    /// Of the file's bytes, or of a folder's files; of a model, its id.
    pub hash: Hash,
}

/// A stage's product with its id, for the stages that build on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact<T> {
    /// Name and hash.
    pub id: ArtifactId,
    /// The content; for a folder, its path.
    pub value: T,
}

impl<T> std::ops::Deref for Artifact<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Where an artefact comes from; a line of `lineage.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The artefact.
    #[serde(flatten)]
    pub id: ArtifactId,
    /// Hash of the folder's files, where the artefact's own hash is not that: a model's is the id that signs its rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Hash>,
    /// The recipe that made it.
    pub recipe: String,
    /// Hash of the recipe's name and config.
    pub config: Hash,
    /// What it was made from.
    pub parents: Vec<ArtifactId>,
    /// The commit of the program, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl Lineage {
    /// Hash of what lies in the run folder.
    pub(crate) fn on_disk(&self) -> &Hash {
        self.files.as_ref().unwrap_or(&self.id.hash)
    }
}
