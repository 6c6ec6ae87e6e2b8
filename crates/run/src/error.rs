//! Why a run folder could not be used.

use std::path::{Path, PathBuf};

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
    #[error("{path} is not empty and holds no run that this config made: choose another --out", path = path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to a different run.
    #[error(
        "{path} holds a run with another config ({fields}): choose another --out, resume with the config it has, or add \
         --reconfigure to go on there with this one, which makes again only what the change touches",
        path = path.display(),
        fields = fields.join("; ")
    )]
    Differs {
        /// The run folder.
        path: PathBuf,
        /// Each differing field with both values.
        fields: Vec<String>,
    },
    /// A line of a journal, of the metrics or of the lineage that is not what was written.
    #[error("{path}:{line}: {problem}: delete the line, and {without_it}, or restore it", path = path.display(), without_it = without_it(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The file that says what the run is.
    #[error(
        "{path} is damaged ({problem}): restore it, or delete it and give the command that made the run, which writes it again",
        path = path.display()
    )]
    DamagedConfig {
        /// `config.json`.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An artefact that is what the run wrote, and that this program cannot read.
    #[error("{path}:{line}: {problem}: another version of the program wrote it; delete it to have it made again", path = path.display())]
    Unreadable {
        /// The artefact.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that no file can hold, such as one with a NaN in it.
    #[error("cannot write {path}: {problem}", path = path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What is wrong with the value.
        problem: String,
    },
    /// A pipe, a folder or a device where a file should be.
    #[error("{path} is not a regular file: put the file back, or delete it to have it made again", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
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

/// What becomes of a run without a line of this file.
fn without_it(path: &Path) -> &'static str {
    let is_below_metrics = path.components().any(|it| it.as_os_str() == "metrics");
    if is_below_metrics { "plots lose that step" } else { "what it held is done again" }
}
