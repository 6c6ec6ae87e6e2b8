//! A run folder seen from outside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use collimate_schema::Hash;
use serde::Serialize;
use serde_json::Value;

use crate::error::RunError;
use crate::identity::Identity;
use crate::lineage::{LINEAGE, records};
use crate::lock::{LOCK, name_of_holder};
use crate::whole::{files_below, read, regular};

/// What can be told of a run folder from outside, while another process may be writing to it.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// Where it is.
    pub path: PathBuf,
    /// The recipe.
    pub recipe: String,
    /// Hash of the recipe's name and config.
    pub hash: Hash,
    /// The config.
    pub config: Value,
    /// Names of the artefacts that are there, in the order they were made; checkpoints of unfinished stages left out.
    pub artifacts: Vec<String>,
    /// Names of those that are not there, though they were made.
    pub missing: Vec<String>,
    /// Lines in the journal of each stage, by stage.
    pub journals: Vec<(String, usize)>,
    /// Who is writing there now.
    pub holder: Option<String>,
}

impl RunSummary {
    /// Reads the run folder at `path`; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<RunSummary>, RunError> {
        let Some(identity) = Identity::read(path)? else { return Ok(None) };
        let (mut artifacts, mut missing): (Vec<String>, Vec<String>) = Default::default();
        let (records, damaged) = records(path)?;
        if let Some((line, problem)) = damaged.into_iter().next() {
            return Err(RunError::Damaged { path: path.join(LINEAGE), line, problem });
        }
        for record in records {
            let name = record.id.name;
            if !name.starts_with("checkpoints/") && !artifacts.contains(&name) && !missing.contains(&name) {
                if path.join(&name).exists() { &mut artifacts } else { &mut missing }.push(name);
            }
        }
        let folder = path.join("journal");
        let files = if folder.exists() { files_below(&folder)? } else { Vec::new() };
        let journals = files.into_iter().map(|file| {
            let stage = file.strip_prefix(&folder).unwrap_or(&file).with_extension("");
            (stage.display().to_string(), n_whole_lines(&file))
        });
        regular(&path.join(LOCK))?;
        let lock = File::open(path.join(LOCK)).ok();
        let holder = lock.filter(|it| matches!(it.try_lock_shared(), Err(fs::TryLockError::WouldBlock)));
        Ok(Some(RunSummary {
            path: path.to_owned(),
            recipe: identity.recipe,
            hash: identity.hash,
            config: identity.config,
            artifacts,
            missing,
            journals: journals.collect(),
            holder: holder.map(name_of_holder),
        }))
    }
}

fn n_whole_lines(path: &Path) -> usize {
    read(path).unwrap_or_default().iter().filter(|it| **it == b'\n').count()
}
