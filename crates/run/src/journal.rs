//! An append-only file of JSON lines, each with its check. A line counts once its newline is written: what a kill tore off is cut
//! away when the journal is next opened, and everything before it stands.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::sealed::{seal, unseal};
use crate::whole::{flush, kill_point, read, regular};

/// What a stage has done so far.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("sampling.jsonl");
/// let mut journal = collimate_run::Journal::open(&path)?;
/// journal.keep("prompt 1", &vec![1, 2, 3])?;
/// assert_eq!(journal.get("prompt 1")?, Some(vec![1, 2, 3]));
/// assert_eq!(journal.get::<Vec<u32>>("prompt 2")?, None);
/// # Ok::<_, collimate_run::RunError>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Length of the whole lines, bytes.
    len: u64,
    n_lines: usize,
    named: BTreeMap<String, Span>,
}

/// A line of the file.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    len: usize,
    line: usize,
}

/// A line that can be found by its name.
#[derive(Serialize, Deserialize)]
struct Named<N, E> {
    name: N,
    entry: E,
}

impl Journal {
    /// Opens or creates the journal at `path` and cuts off a torn last line. A line before it that is not what was written is an
    /// error that names it.
    pub fn open(path: &Path) -> Result<Journal, RunError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| RunError::io("create", folder, source))?;
        }
        regular(path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|source| RunError::io("open", path, source))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|source| RunError::io("read", path, source))?;
        let whole = bytes.iter().rposition(|&it| it == b'\n').map_or(0, |it| it + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(|source| RunError::io("truncate", path, source))?;
        }
        let mut journal =
            Journal { path: path.to_owned(), file, len: whole as u64, n_lines: 0, named: BTreeMap::new() };
        let mut start = 0;
        for text in bytes[..whole].split_inclusive(|&it| it == b'\n') {
            journal.n_lines += 1;
            let span = Span { start, len: text.len(), line: journal.n_lines };
            start += text.len() as u64;
            let object = unseal(text).map_err(|it| journal.damaged(span.line, it))?;
            if let Ok(Named { name, .. }) = serde_json::from_slice::<Named<String, IgnoredAny>>(&object) {
                journal.named.insert(name, span);
            }
        }
        Ok(journal)
    }

    /// Whether every whole line of the file at `path` is what was written. Writes nothing.
    pub(crate) fn check(path: &Path) -> Result<(), RunError> {
        let bytes = read(path)?;
        let lines = bytes.split_inclusive(|&it| it == b'\n').filter(|it| it.ends_with(b"\n"));
        for (index, line) in lines.enumerate() {
            let damaged = |problem| RunError::Damaged { path: path.to_owned(), line: index + 1, problem };
            unseal(line).map_err(damaged)?;
        }
        Ok(())
    }

    /// Every line, in the order they were appended.
    pub fn entries<T: DeserializeOwned>(&self) -> Result<Vec<T>, RunError> {
        let bytes = self.read(0, self.len as usize)?;
        (bytes.split_inclusive(|&it| it == b'\n').enumerate())
            .map(|(index, text)| self.parse(index + 1, text))
            .collect()
    }

    /// Number of whole lines.
    pub fn len(&self) -> usize {
        self.n_lines
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.n_lines == 0
    }

    /// Appends one entry, a JSON object, with a single write.
    pub fn append<T: Serialize>(&mut self, entry: &T) -> Result<(), RunError> {
        self.append_line(entry).map(|_| ())
    }

    /// The entry kept as `name`, if there is one.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RunError> {
        let Some(span) = self.named.get(name) else { return Ok(None) };
        let text = self.read(span.start, span.len)?;
        Ok(Some(self.parse::<Named<IgnoredAny, T>>(span.line, &text)?.entry))
    }

    /// Keeps `entry` as `name`, unless something has that name already: what is done again gives the same again.
    pub fn keep<T: Serialize>(&mut self, name: &str, entry: &T) -> Result<(), RunError> {
        if self.named.contains_key(name) {
            return Ok(());
        }
        let span = self.append_line(&Named { name, entry })?;
        self.named.insert(name.to_owned(), span);
        Ok(())
    }

    /// Flushes to the disk itself, so that a power cut loses nothing either.
    pub(crate) fn sync(&self) -> Result<(), RunError> {
        flush(&self.file).map_err(|source| RunError::io("flush", &self.path, source))
    }

    fn append_line<T: Serialize>(&mut self, entry: &T) -> Result<Span, RunError> {
        let line = seal(entry).map_err(|problem| RunError::Unwritable { path: self.path.clone(), problem })?;
        let half = line.len() / 2;
        let written = if cfg!(test) {
            self.file.write_all(&line[..half]).and_then(|()| {
                kill_point();
                self.file.write_all(&line[half..])
            })
        } else {
            self.file.write_all(&line)
        };
        if let Err(source) = written {
            let _ = self.file.set_len(self.len); // a full disk: leave no torn line for later ones to follow
            return Err(RunError::io("append to", &self.path, source));
        }
        kill_point();
        let span = Span { start: self.len, len: line.len(), line: self.n_lines + 1 };
        self.len += line.len() as u64;
        self.n_lines += 1;
        Ok(span)
    }

    fn read(&self, start: u64, len: usize) -> Result<Vec<u8>, RunError> {
        let mut bytes = vec![0; len];
        let mut file = &self.file; // appending ignores the cursor
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| RunError::io("read", &self.path, source))?;
        Ok(bytes)
    }

    fn parse<T: DeserializeOwned>(&self, line: usize, text: &[u8]) -> Result<T, RunError> {
        let object = unseal(text).map_err(|it| self.damaged(line, it))?;
        serde_json::from_slice(&object).map_err(|it| self.damaged(line, it.to_string()))
    }

    fn damaged(&self, line: usize, problem: String) -> RunError {
        RunError::Damaged { path: self.path.clone(), line, problem }
    }
}
