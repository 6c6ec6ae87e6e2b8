//! One process at a time. The operating system releases the lock of a process that died.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::RunError;
use crate::whole::{is_temporary, regular};

pub(crate) const LOCK: &str = "run.lock";

/// Whether there is anything at `path` that a run killed while it was created would not have left.
pub(crate) fn holds_something_else(path: &Path) -> Result<bool, RunError> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(entries.flatten().any(|it| it.file_name() != LOCK && !is_temporary(&it.path()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(RunError::io("read", path, source)),
    }
}

pub(crate) fn take_lock(folder: &Path) -> Result<File, RunError> {
    let path = folder.join(LOCK);
    regular(&path)?;
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| RunError::io("open", &path, source))?;
    let mut tries = 0;
    while let Err(error) = lock.try_lock() {
        match error {
            fs::TryLockError::Error(source) => return Err(RunError::io("lock", &path, source)),
            fs::TryLockError::WouldBlock if tries < 5 => {
                tries += 1; // it may only be someone looking, as `RunSummary` does
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            fs::TryLockError::WouldBlock => {
                return Err(RunError::Locked { path: folder.to_owned(), holder: name_of_holder(lock) });
            }
        }
    }
    let named = lock.set_len(0).and_then(|()| write!(lock, "process {}", std::process::id()));
    named.map_err(|source| RunError::io("write", &path, source))?;
    Ok(lock)
}

pub(crate) fn name_of_holder(mut lock: File) -> String {
    let mut name = String::new();
    let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut name));
    if name.is_empty() { "another process".to_owned() } else { name }
}
