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

/// A file whose JSON cannot be read or written.
pub(crate) fn corrupt(path: &Path, line: usize, problem: &serde_json::Error) -> RunError {
    RunError::Corrupt { path: path.to_owned(), line, problem: problem.to_string() }
}
