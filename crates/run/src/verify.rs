//! Whether a run folder still is what the run wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use collimate_schema::Hash;
use serde::Serialize;

use crate::error::RunError;
use crate::identity::{CONFIG, Identity};
use crate::journal::Journal;
use crate::lineage::{ArtifactId, LINEAGE, Lineage, newest, records};
use crate::lock::LOCK;
use crate::whole::{files_below, hash_at, is_temporary};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Artefacts that are what the run wrote.
    pub n_sound: usize,
    /// What is not as it should be.
    pub faults: Vec<Fault>,
    /// Files that no record names, and what is left of an earlier config. They are no part of the run, and harm nothing.
    pub besides: Vec<String>,
}

/// Something in a run folder that is not what the run wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// An artefact with another content than any record of it.
    Changed {
        /// Its name.
        name: String,
        /// Hash that the newest record gives.
        recorded: Hash,
        /// Hash of what is there.
        found: Hash,
    },
    /// An artefact that a record names is gone, or never got its place.
    Missing {
        /// Its name.
        name: String,
    },
    /// An artefact was made from something that is another now.
    Stale {
        /// Its name.
        name: String,
        /// Name of what it was made from.
        parent: String,
    },
    /// A file that the run made something of, and of which no record tells who made it.
    Unrecorded {
        /// Its name.
        name: String,
    },
    /// A line of a journal, of metrics or of the lineage that is not what was written.
    Damaged {
        /// The error, with its way out.
        problem: String,
    },
}

impl Fault {
    /// Whether the command that made the run mends it by itself.
    pub fn is_made_again(&self) -> bool {
        matches!(self, Fault::Missing { .. } | Fault::Stale { .. } | Fault::Unrecorded { .. })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Changed { name, recorded, found } => {
                write!(f, "changed  {name}: the run wrote {recorded}, here is {found}")
            }
            Fault::Missing { name } => write!(f, "missing  {name}"),
            Fault::Unrecorded { name } => write!(f, "unknown  {name}: its record is gone"),
            Fault::Stale { name, parent } => write!(f, "stale    {name}: made from another {parent}"),
            Fault::Damaged { problem } => write!(f, "damaged  {problem}"),
        }
    }
}

/// Compares the run folder at `path` with its own records, and writes nothing. Of a run that another process is writing to, what
/// is under way may look missing.
pub fn verify(path: &Path) -> Result<Verified, RunError> {
    let mut verified = Verified::default();
    let identity = Identity::read(path).unwrap_or_else(|error| {
        verified.faults.push(Fault::Damaged { problem: error.to_string() });
        None
    });
    let (records, damaged) = records(path)?;
    verified.faults.extend(damaged.into_iter().map(|(line, problem)| {
        let error = RunError::Damaged { path: path.join(LINEAGE), line, problem };
        Fault::Damaged { problem: error.to_string() }
    }));
    let mut by_name: BTreeMap<&str, Vec<Lineage>> = BTreeMap::new();
    for record in &records {
        by_name.entry(&record.id.name).or_default().push(record.clone());
    }
    let mut present: BTreeMap<&str, &Lineage> = BTreeMap::new();
    for (name, records) in &by_name {
        let at = path.join(name);
        if !at.exists() {
            if !is_state(name) {
                verified.faults.push(Fault::Missing { name: (*name).to_owned() });
            }
            continue;
        }
        let found = hash_at(&at)?;
        match (newest(records, &found), records.last()) {
            (Some(record), _) => drop(present.insert(name, record)),
            (None, Some(last)) => {
                let (name, recorded) = ((*name).to_owned(), last.on_disk().clone());
                verified.faults.push(Fault::Changed { name, recorded, found });
            }
            (None, None) => {}
        }
    }
    for (name, record) in &present {
        let is_stale = |it: &&ArtifactId| present.get(&*it.name).is_some_and(|now| now.id != **it);
        match record.parents.iter().find(is_stale) {
            // The run may not ask for it any more.
            Some(_) if identity.as_ref().is_some_and(|it| it.hash != record.config) => {
                verified.besides.push(format!("{name} (of an earlier config)"));
            }
            Some(parent) if !is_state(name) => {
                verified.faults.push(Fault::Stale { name: (*name).to_owned(), parent: parent.name.clone() });
            }
            _ => verified.n_sound += 1,
        }
    }
    let parents: BTreeSet<&str> = records.iter().flat_map(|it| &it.parents).map(|it| it.name.as_str()).collect();
    let is_unrecorded = |it: &&&str| !by_name.contains_key(**it) && path.join(**it).exists();
    let unrecorded: BTreeSet<&str> = parents.iter().filter(is_unrecorded).copied().collect();
    let faults = unrecorded.iter().map(|it| Fault::Unrecorded { name: (*it).to_owned() });
    verified.faults.extend(faults);
    let is_part = |name: &str| {
        name == CONFIG
            || name == LOCK
            || name == LINEAGE
            || by_name
                .keys()
                .chain(&unrecorded)
                .any(|it| name.strip_prefix(it).is_some_and(|it| it.is_empty() || it.starts_with('/')))
    };
    for file in files_below(path)? {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        if name.starts_with("journal/") || name.starts_with("metrics/") {
            if name.ends_with(".jsonl")
                && let Err(error) = Journal::check(&file)
            {
                verified.faults.push(Fault::Damaged { problem: error.to_string() });
            }
        } else if !is_part(&name) && !is_temporary(&file) {
            verified.besides.push(name);
        }
    }
    if records.is_empty() && !verified.besides.is_empty() {
        let n = verified.besides.len();
        let problem = format!(
            "{} has no records, and {n} files are there: restore it, or choose another --out",
            path.join(LINEAGE).display()
        );
        verified.faults.push(Fault::Damaged { problem });
    }
    Ok(verified)
}

/// Whether it is the state of a stage under way, which goes when the next is kept.
fn is_state(name: &str) -> bool {
    name.starts_with("checkpoints/")
}
