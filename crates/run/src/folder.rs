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

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use collimate_schema::Hash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::RunError;
use crate::finite::finite;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::lineage::{Artifact, ArtifactId, LINEAGE, Lineage, newest, records};
use crate::lock::{holds_something_else, take_lock};
use crate::metrics::Metrics;
use crate::verify::{Verified, verify};
use crate::whole::{build_beside, clean, hash_at, kill_point, place, pretty, read, write_beside};

/// The commit this was built from, if the build was told (`COLLIMATE_COMMIT=$(git rev-parse HEAD) cargo build`).
pub const COMMIT: Option<&str> = option_env!("COLLIMATE_COMMIT");

/// An open run folder. No other process can open it until this one drops it or dies.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    recipe: String,
    hash: Hash,
    lineage: Mutex<(Journal, Vec<Lineage>)>,
    /// Folders that this process wrote or hashed already; nobody else writes here.
    known: Mutex<BTreeMap<String, Hash>>,
    _lock: File,
}

impl RunFolder {
    /// Creates the folder at `path`, or resumes the run in it if that has the same recipe and config.
    pub fn open(path: impl AsRef<Path>, recipe: &str, config: &impl Serialize) -> Result<RunFolder, RunError> {
        RunFolder::open_as(path.as_ref(), &Identity::of(path.as_ref(), recipe, config)?, false)
    }

    /// The config of the run at `path`, if there is one that can be read.
    pub fn recorded(path: impl AsRef<Path>) -> Option<Value> {
        Some(Identity::read(path.as_ref()).ok()??.config)
    }

    /// As [`RunFolder::open`], but a run that has another config gets this one. Stages whose parents stay the same keep what they
    /// made, so a recipe names what it reads of its config among the parents ([`ArtifactId::of_setting`]).
    pub fn reconfigure(path: impl AsRef<Path>, recipe: &str, config: &impl Serialize) -> Result<RunFolder, RunError> {
        RunFolder::open_as(path.as_ref(), &Identity::of(path.as_ref(), recipe, config)?, true)
    }

    fn open_as(path: &Path, given: &Identity, may_differ: bool) -> Result<RunFolder, RunError> {
        let path = path.to_owned();
        if Identity::read(&path)?.is_none() && holds_something_else(&path)? && !made_by(&path, given)? {
            return Err(RunError::NotARun { path });
        }
        fs::create_dir_all(&path).map_err(|source| RunError::io("create", &path, source))?;
        let lock = take_lock(&path)?;
        clean(&path)?;
        kill_point();
        match Identity::read(&path)? {
            None => given.write(&path)?,
            Some(stored) => {
                let fields = stored.differences(given);
                match may_differ && stored.recipe == given.recipe {
                    _ if fields.is_empty() => {}
                    true => given.write(&path)?,
                    false => return Err(RunError::Differs { path, fields }),
                }
            }
        }
        let journal = Journal::open(&path.join(LINEAGE))?;
        let records = journal.entries()?;
        Ok(RunFolder {
            path,
            recipe: given.recipe.clone(),
            hash: given.hash.clone(),
            lineage: Mutex::new((journal, records)),
            known: Mutex::default(),
            _lock: lock,
        })
    }

    /// Whether it still is what the run wrote.
    pub fn verify(&self) -> Result<Verified, RunError> {
        verify(&self.path)
    }

    /// Whether the artefact `name` was made with the config that the run has now.
    pub fn is_made(&self, name: &str) -> bool {
        self.path.join(name).exists()
            && self.lineage().iter().rfind(|it| it.id.name == name).is_some_and(|it| it.config == self.hash)
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
        let file = format!("{name}.json");
        if let Some((id, bytes)) = self.read_made_from(&file, parents)? {
            let parsed = serde_json::from_slice(&bytes);
            let value = parsed.map_err(|it| self.unreadable(&file, it.line(), &it))?;
            return Ok(Artifact { id, value });
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
        let file = format!("{name}.jsonl");
        if let Some((id, bytes)) = self.read_made_from(&file, parents)? {
            let lines = bytes.split_inclusive(|&it| it == b'\n').enumerate();
            let parse =
                |(index, text)| serde_json::from_slice(text).map_err(|it| self.unreadable(&file, index + 1, &it));
            return Ok(Artifact { id, value: lines.map(parse).collect::<Result<_, _>>()? });
        }
        let value = make()?;
        let id = self.write_lines(name, &value, parents)?;
        Ok(Artifact { id, value })
    }

    /// As [`RunFolder::stage`], for a folder `<name>/`: `fill` writes it in a temporary place.
    pub fn stage_dir<E: From<RunError>>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Artifact<PathBuf>, E> {
        self.stage_folder(name, parents, |dir| fill(dir).map(|()| None))
    }

    /// As [`RunFolder::stage_dir`], for a model: `fill` returns its id, which is the artefact's, too.
    pub fn stage_model<E: From<RunError>>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<Hash, E>,
    ) -> Result<Artifact<PathBuf>, E> {
        self.stage_folder(name, parents, |dir| fill(dir).map(Some))
    }

    fn stage_folder<E: From<RunError>>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<Option<Hash>, E>,
    ) -> Result<Artifact<PathBuf>, E> {
        let value = self.path.join(name);
        let id = match self.made_from(name, parents)? {
            Some(found) => found.id,
            None => self.write_dir(name, parents, fill)?,
        };
        Ok(Artifact { id, value })
    }

    /// The folder `<name>/`, if this run made it from these parents. It is an error if it was changed since.
    pub fn dir(&self, name: &str, parents: &[&ArtifactId]) -> Result<Option<Artifact<PathBuf>>, RunError> {
        Ok(self.made_from(name, parents)?.map(|it| Artifact { id: it.id, value: self.path.join(name) }))
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
        let unwritable = |problem| RunError::Unwritable { path: self.path.join(&file), problem };
        let mut bytes = Vec::new();
        for value in values {
            finite(value).map_err(unwritable)?;
            serde_json::to_writer(&mut bytes, value).map_err(|it| unwritable(it.to_string()))?;
            bytes.push(b'\n');
        }
        self.write_bytes(&file, &bytes, parents)
    }

    /// Writes a text called `file`, its ending included (`card.html`), with its lineage.
    pub fn write_text(&self, file: &str, text: &str, parents: &[&ArtifactId]) -> Result<ArtifactId, RunError> {
        self.write_bytes(file, text.as_bytes(), parents)
    }

    /// Writes the folder `<name>/` with its lineage: `fill` gets an empty temporary folder to write in, and returns the
    /// artefact's hash if it is another than that of the files.
    fn write_dir<E: From<RunError>>(
        &self,
        name: &str,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<Option<Hash>, E>,
    ) -> Result<ArtifactId, E> {
        let path = self.path.join(name);
        let mut own = None;
        let temporary = build_beside(&path, |dir| -> Result<(), E> {
            own = fill(dir)?;
            Ok(())
        })?;
        let files = hash_at(&temporary)?;
        let id = match own {
            Some(own) => self.record(name, own, Some(files.clone()), parents)?,
            None => self.record(name, files.clone(), None, parents)?,
        };
        place(&path, &temporary)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), files);
        Ok(id)
    }

    /// Keeps the state of a stage after `step` steps, as the folder `checkpoints/<stage>/<step>/`, and then removes the one
    /// before it. A stage with other parents does not resume from it.
    pub fn keep_state<E: From<RunError>>(
        &self,
        stage: &str,
        step: u64,
        parents: &[&ArtifactId],
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<ArtifactId, E> {
        let id = self.write_dir(&checkpoint_name(stage, step), parents, |dir| fill(dir).map(|()| None))?;
        for older in self.checkpoints(stage)?.into_iter().filter(|it| *it != step) {
            let path = self.path.join(checkpoint_name(stage, older));
            fs::remove_dir_all(&path).map_err(|source| RunError::io("remove", &path, source))?;
            kill_point();
        }
        Ok(id)
    }

    /// The newest state of a stage with these parents: how many steps it has behind it, and its folder.
    pub fn resume_from(&self, stage: &str, parents: &[&ArtifactId]) -> Result<Option<(u64, PathBuf)>, RunError> {
        let Some(step) = self.checkpoints(stage)?.into_iter().max() else { return Ok(None) };
        Ok(self.dir(&checkpoint_name(stage, step), parents)?.map(|it| (step, it.value)))
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
        let id = self.record(file, Hash::of(bytes), None, parents)?;
        place(&path, &temporary)?;
        Ok(id)
    }

    fn record(
        &self,
        name: &str,
        hash: Hash,
        files: Option<Hash>,
        parents: &[&ArtifactId],
    ) -> Result<ArtifactId, RunError> {
        let id = ArtifactId { name: name.to_owned(), hash };
        let record = Lineage {
            id: id.clone(),
            files,
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = match known.get(name) {
            Some(hash) => hash.clone(),
            None => hash_at(&path)?,
        };
        if path.is_dir() {
            known.insert(name.to_owned(), hash.clone());
        }
        newest(&records, &hash).cloned().map(Some).ok_or(RunError::Changed { path })
    }

    fn unreadable(&self, file: &str, line: usize, problem: &serde_json::Error) -> RunError {
        RunError::Unreadable { path: self.path.join(file), line, problem: problem.to_string() }
    }

    fn made_from(&self, name: &str, parents: &[&ArtifactId]) -> Result<Option<Lineage>, RunError> {
        Ok(self.record_of(name)?.filter(|it| it.parents.iter().eq(parents.iter().copied())))
    }

    /// The bytes of the file `name`, which is read once, if it was made from these parents.
    fn read_made_from(&self, name: &str, parents: &[&ArtifactId]) -> Result<Option<(ArtifactId, Vec<u8>)>, RunError> {
        let path = self.path.join(name);
        let records: Vec<_> = self.lineage().into_iter().filter(|it| it.id.name == name).collect();
        if records.is_empty() || !path.exists() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        let record = newest(&records, &Hash::of(&bytes)).ok_or(RunError::Changed { path })?.clone();
        Ok(record.parents.iter().eq(parents.iter().copied()).then_some((record.id, bytes)))
    }
}

/// Whether the lineage of the run at `path`, whose `config.json` is gone, is that of the run `given`.
fn made_by(path: &Path, given: &Identity) -> Result<bool, RunError> {
    let records = records(path)?.0;
    Ok(!records.is_empty() && records.iter().all(|it| it.recipe == given.recipe && it.config == given.hash))
}

fn checkpoint_name(stage: &str, step: u64) -> String {
    format!("checkpoints/{stage}/{step:08}")
}

#[cfg(test)]
mod tests;
