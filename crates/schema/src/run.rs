//! A run folder: a recipe, its config, and every artefact it made, each with its parents.
//!
//! ```text
//! run/
//!   config.json            recipe, full config, hash of both: what the folder may be resumed with
//!   run.lock               locked by the process that writes here
//!   lineage.jsonl          one record per artefact: name, hash, parents
//!   prompts.jsonl, ...     the artefacts: JSON, JSON lines, text, or folders (checkpoints)
//!   journal/<stage>.jsonl  what a stage did so far
//!   metrics/<stage>/       numbers per step
//! ```
//!
//! An artefact's record is appended before the artefact is renamed into place. A kill in between leaves a record without a
//! file, or with the older file that an older record describes; neither is taken for the new artefact. So the folder of a
//! process killed at any instant can be resumed, and gives the same artefacts as if it had not been killed.

mod identity;
mod lock;
mod summary;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::whole::{build_beside, clean, hash_at, kill_point, place, write_beside};
use crate::{Hash, Journal, Metrics};
use identity::Identity;
use lock::{holds_something_else, take_lock};
pub use summary::RunSummary;

const LINEAGE: &str = "lineage.jsonl";

/// The commit this was built from, if the build was told (`COLLIMATE_COMMIT=$(git rev-parse HEAD) cargo build`).
const COMMIT: Option<&str> = option_env!("COLLIMATE_COMMIT");

/// Why a run folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system refused.
    #[error("cannot {doing} {path}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process writes there.
    #[error("{path} is in use by {holder}: wait for it, stop it, or choose another --out", path = path.display())]
    Locked {
        /// The run folder.
        path: PathBuf,
        /// Who.
        holder: String,
    },
    /// A folder of something else.
    #[error("{path} is not empty and holds no run: choose another --out", path = path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to a different run.
    #[error(
        "{path} holds a run with another config ({fields}): choose another --out, or resume with the config it has",
        path = path.display(),
        fields = fields.join("; ")
    )]
    Differs {
        /// The run folder.
        path: PathBuf,
        /// Each differing field with both values.
        fields: Vec<String>,
    },
    /// A line that cannot be read or written.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// An artefact is not what the run wrote.
    #[error("{path} was changed after it was written: delete it to have it made again, or restore it", path = path.display())]
    Changed {
        /// The artefact.
        path: PathBuf,
    },
}

impl RunError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> RunError {
        RunError::Io { doing, path: path.to_owned(), source }
    }
}

/// An artefact's name within its run (its path, such as `prompts.jsonl`) and the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArtifactId {
    /// Path within the run folder.
    pub name: String,
    /// Of the file's bytes, or of a folder's files.
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

/// An open run folder. No other process can open it until this one drops it or dies.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    recipe: String,
    hash: Hash,
    lineage: Mutex<(Journal, Vec<Lineage>)>,
    _lock: File,
}

impl RunFolder {
    /// Creates the folder at `path`, or resumes the run in it if that has the same recipe and config.
    pub fn open(path: impl AsRef<Path>, recipe: &str, config: &impl Serialize) -> Result<RunFolder, RunError> {
        let path = path.as_ref().to_owned();
        let given = Identity::of(&path, recipe, config)?;
        if Identity::read(&path)?.is_none() && holds_something_else(&path)? {
            return Err(RunError::NotARun { path });
        }
        fs::create_dir_all(&path).map_err(|source| RunError::io("create", &path, source))?;
        let lock = take_lock(&path)?;
        clean(&path)?;
        kill_point();
        match Identity::read(&path)? {
            None => given.write(&path)?,
            Some(stored) => {
                let fields = stored.differences(&given);
                if !fields.is_empty() {
                    return Err(RunError::Differs { path, fields });
                }
            }
        }
        let journal = Journal::open(&path.join(LINEAGE))?;
        let records = journal.entries()?;
        Ok(RunFolder {
            path,
            recipe: given.recipe,
            hash: given.hash,
            lineage: Mutex::new((journal, records)),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hash of the recipe's name and config: the run's id.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The journal of a stage, `journal/<stage>.jsonl`. One at a time per stage.
    pub fn journal(&self, stage: &str) -> Result<Journal, RunError> {
        Journal::open(&self.path.join("journal").join(format!("{stage}.jsonl")))
    }

    /// The metrics of a stage, `metrics/<stage>/`, without the steps from `resume_at_step` on. See [`Metrics::open`].
    pub fn metrics(&self, stage: &str, resume_at_step: u64) -> Result<Metrics, RunError> {
        Metrics::open(&self.path.join("metrics").join(stage), resume_at_step)
    }

    /// The stored `<name>.json` made from these parents, or else what `make` returns, stored.
    pub fn stage<T, E>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Artifact<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<RunError>,
    {
        if let Some(found) = self.made_from(&format!("{name}.json"), parents)?
            && let Some(value) = self.artifact(name)?
        {
            return Ok(Artifact { id: found.id, value });
        }
        let value = make()?;
        let id = self.write(name, &value, parents)?;
        Ok(Artifact { id, value })
    }

    /// As [`RunFolder::stage`], for a list kept as one JSON value per line, `<name>.jsonl`.
    pub fn stage_lines<T, E>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        make: impl FnOnce() -> Result<Vec<T>, E>,
    ) -> Result<Artifact<Vec<T>>, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<RunError>,
    {
        if let Some(found) = self.made_from(&format!("{name}.jsonl"), parents)?
            && let Some(value) = self.lines(name)?
        {
            return Ok(Artifact { id: found.id, value });
        }
        let value = make()?;
        let id = self.write_lines(name, &value, parents)?;
        Ok(Artifact { id, value })
    }

    /// As [`RunFolder::stage`], for a folder `<name>/`, such as a checkpoint: `fill` writes it in a temporary place.
    pub fn stage_dir<E: From<RunError>>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Artifact<PathBuf>, E> {
        let value = self.path.join(name);
        let id = match self.made_from(name, parents)? {
            Some(found) => found.id,
            None => self.write_dir(name, parents, fill)?,
        };
        Ok(Artifact { id, value })
    }

    /// Reads `<name>.json`, if this run wrote it. It is an error if it was changed since.
    pub fn artifact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RunError> {
        let file = format!("{name}.json");
        let Some(bytes) = self.verified(&file)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|it| corrupt(&self.path.join(file), it.line(), &it))
    }

    /// Reads `<name>.jsonl`, if this run wrote it. It is an error if it was changed since.
    pub fn lines<T: DeserializeOwned>(&self, name: &str) -> Result<Option<Vec<T>>, RunError> {
        let file = format!("{name}.jsonl");
        let Some(bytes) = self.verified(&file)? else { return Ok(None) };
        let lines = bytes.split_inclusive(|&it| it == b'\n').enumerate();
        lines
            .map(|(index, text)| {
                serde_json::from_slice(text).map_err(|it| corrupt(&self.path.join(&file), index + 1, &it))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The folder `<name>/`, if this run wrote it. It is an error if it was changed since.
    pub fn dir(&self, name: &str) -> Result<Option<Artifact<PathBuf>>, RunError> {
        Ok(self.record_of(name)?.map(|it| Artifact { id: it.id, value: self.path.join(name) }))
    }

    /// Writes `<name>.json`, indented, with its lineage.
    pub fn write<T: Serialize>(&self, name: &str, value: &T, parents: &[&ArtifactId]) -> Result<ArtifactId, RunError> {
        let file = format!("{name}.json");
        self.write_bytes(&file, &pretty(&self.path.join(&file), value)?, parents)
    }

    /// Writes `<name>.jsonl`, a line per value, with its lineage.
    pub fn write_lines<T: Serialize>(
        &self,
        name: &str,
        values: &[T],
        parents: &[&ArtifactId],
    ) -> Result<ArtifactId, RunError> {
        let file = format!("{name}.jsonl");
        let mut bytes = Vec::new();
        for (index, value) in values.iter().enumerate() {
            serde_json::to_writer(&mut bytes, value).map_err(|it| corrupt(&self.path.join(&file), index + 1, &it))?;
            bytes.push(b'\n');
        }
        self.write_bytes(&file, &bytes, parents)
    }

    /// Writes a text called `file`, its ending included (`card.html`), with its lineage.
    pub fn write_text(&self, file: &str, text: &str, parents: &[&ArtifactId]) -> Result<ArtifactId, RunError> {
        self.write_bytes(file, text.as_bytes(), parents)
    }

    /// Writes the folder `<name>/` with its lineage: `fill` gets an empty temporary folder to write in.
    pub fn write_dir<E: From<RunError>>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<ArtifactId, E> {
        let path = self.path.join(name);
        let temporary = build_beside(&path, fill)?;
        let id = self.record(name, hash_at(&temporary)?, parents)?;
        place(&path, &temporary)?;
        Ok(id)
    }

    /// Keeps the state of a stage after `step` steps, as the folder `checkpoints/<stage>/<step>/`, and then removes the one
    /// before it.
    pub fn checkpoint<E: From<RunError>>(
        &self,
        stage: &str,
        step: u64,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<ArtifactId, E> {
        let id = self.write_dir(&checkpoint_name(stage, step), &[], fill)?;
        for older in self.checkpoints(stage)?.into_iter().filter(|it| *it != step) {
            let path = self.path.join(checkpoint_name(stage, older));
            fs::remove_dir_all(&path).map_err(|source| RunError::io("remove", &path, source))?;
            kill_point();
        }
        Ok(id)
    }

    /// The newest checkpoint of a stage: how many steps it has behind it, and its folder.
    pub fn resume_from(&self, stage: &str) -> Result<Option<(u64, PathBuf)>, RunError> {
        let Some(step) = self.checkpoints(stage)?.into_iter().max() else { return Ok(None) };
        Ok(self.dir(&checkpoint_name(stage, step))?.map(|it| (step, it.value)))
    }

    fn checkpoints(&self, stage: &str) -> Result<Vec<u64>, RunError> {
        let folder = self.path.join("checkpoints").join(stage);
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&folder).map_err(|source| RunError::io("read", &folder, source))?;
        Ok(entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok()).collect())
    }

    /// Every record so far, oldest first.
    pub fn lineage(&self) -> Vec<Lineage> {
        self.lineage.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn write_bytes(&self, file: &str, bytes: &[u8], parents: &[&ArtifactId]) -> Result<ArtifactId, RunError> {
        let path = self.path.join(file);
        let temporary = write_beside(&path, bytes)?;
        let id = self.record(file, Hash::of(bytes), parents)?;
        place(&path, &temporary)?;
        Ok(id)
    }

    fn record(&self, name: &str, hash: Hash, parents: &[&ArtifactId]) -> Result<ArtifactId, RunError> {
        let id = ArtifactId { name: name.to_owned(), hash };
        let record = Lineage {
            id: id.clone(),
            recipe: self.recipe.clone(),
            config: self.hash.clone(),
            parents: parents.iter().copied().cloned().collect(),
            commit: COMMIT.map(str::to_owned),
        };
        let mut lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner);
        let (journal, records) = &mut *lineage;
        journal.append(&record)?;
        journal.sync()?;
        records.push(record);
        Ok(id)
    }

    /// The newest record that describes what is at `name` now. `None` if nothing is there, or nothing was ever recorded.
    fn record_of(&self, name: &str) -> Result<Option<Lineage>, RunError> {
        let path = self.path.join(name);
        let records: Vec<_> = self.lineage().into_iter().filter(|it| it.id.name == name).collect();
        if records.is_empty() || !path.exists() {
            return Ok(None);
        }
        let hash = hash_at(&path)?;
        let record = records.into_iter().rfind(|it| it.id.hash == hash);
        record.map(Some).ok_or(RunError::Changed { path })
    }

    fn made_from(&self, name: &str, parents: &[&ArtifactId]) -> Result<Option<Lineage>, RunError> {
        Ok(self.record_of(name)?.filter(|it| it.parents.iter().eq(parents.iter().copied())))
    }

    fn verified(&self, file: &str) -> Result<Option<Vec<u8>>, RunError> {
        let path = self.path.join(file);
        match self.record_of(file)? {
            None => Ok(None),
            Some(_) => fs::read(&path).map(Some).map_err(|source| RunError::io("read", &path, source)),
        }
    }
}

fn checkpoint_name(stage: &str, step: u64) -> String {
    format!("checkpoints/{stage}/{step:08}")
}

fn pretty(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, RunError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|it| corrupt(path, it.line(), &it))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn corrupt(path: &Path, line: usize, problem: &serde_json::Error) -> RunError {
    RunError::Corrupt { path: path.to_owned(), line, problem: problem.to_string() }
}

#[cfg(test)]
mod tests;
