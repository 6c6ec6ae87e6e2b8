//! Artefacts and where they come from.

use std::path::Path;

use collimate_schema::Hash;
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::sealed::unseal;
use crate::whole::read;

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

impl ArtifactId {
    /// What a stage reads of its config, as a parent of what it makes: `setting:sft` and the hash of the value.
    pub fn of_setting(name: &str, value: &impl Serialize) -> ArtifactId {
        ArtifactId { name: format!("setting:{name}"), hash: Hash::of_json(value) }
    }
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

/// The newest of `records` that describes something with this hash.
pub(crate) fn newest<'a>(records: &'a [Lineage], hash: &Hash) -> Option<&'a Lineage> {
    records.iter().rfind(|it| it.on_disk() == hash)
}

/// A line, from 1, and what is wrong with it.
pub(crate) type Problem = (usize, String);

/// The records of the run at `path` as they can be read from outside, and what is wrong with the lines that cannot. Its last line
/// may be one that is being written.
pub(crate) fn records(path: &Path) -> Result<(Vec<Lineage>, Vec<Problem>), RunError> {
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    let path = path.join(LINEAGE);
    let text = if path.exists() { read(&path)? } else { Vec::new() };
    let lines = text.split_inclusive(|&it| it == b'\n').filter(|it| it.ends_with(b"\n"));
    for (index, line) in lines.enumerate() {
        let object = unseal(line).and_then(|it| serde_json::from_slice(&it).map_err(|it| it.to_string()));
        match object {
            Ok(record) => records.push(record),
            Err(problem) => damaged.push((index + 1, problem)),
        }
    }
    Ok((records, damaged))
}
