//! Files and folders that are there whole or not at all: written beside their place, flushed to disk, renamed into it.
//!
//! A killed process leaves at most something called `.tmp-*`, which [`clean`] removes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use collimate_schema::{Hash, Hasher};
use serde::Serialize;

use crate::error::RunError;
use crate::finite::finite;

const TEMPORARY: &str = ".tmp-";

/// Writes `path`, creating its folder if need be. After an error, or a kill, the old content of `path` is intact.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    place(path, &write_beside(path, bytes)?)
}

/// Writes `bytes` beside `path` and flushes them; [`place`] then puts them there.
pub(crate) fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf, RunError> {
    let temporary = beside(path)?;
    let written = File::create(&temporary).and_then(|mut file| {
        let half = bytes.len() / 2;
        file.write_all(&bytes[..half])?;
        kill_point();
        file.write_all(&bytes[half..])?;
        flush(&file)
    });
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary); // a full disk: give the room back
        return Err(RunError::io("write", path, source));
    }
    kill_point();
    Ok(temporary)
}

/// Makes an empty folder beside `path`, has it filled and flushes it; [`place`] then puts it there.
pub(crate) fn build_beside<E: From<RunError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let temporary = beside(path)?;
    let _ = fs::remove_dir_all(&temporary);
    fs::create_dir(&temporary).map_err(|source| RunError::io("create", &temporary, source))?;
    kill_point();
    let filled = fill(&temporary).and_then(|()| {
        for file in files_below(&temporary)? {
            File::open(&file).and_then(|it| flush(&it)).map_err(|source| RunError::io("flush", &file, source))?;
        }
        Ok(())
    });
    if let Err(error) = filled {
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    kill_point();
    Ok(temporary)
}

/// The bytes of a JSON file at `path`, indented.
pub(crate) fn pretty(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, RunError> {
    let unwritable = |problem| RunError::Unwritable { path: path.to_owned(), problem };
    finite(value).map_err(unwritable)?;
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|it| unwritable(it.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The bytes of the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    regular(path)?;
    fs::read(path).map_err(|source| RunError::io("read", path, source))
}

/// Refuses what could be read from without end, such as a pipe. What is not there is as good as a file.
pub(crate) fn regular(path: &Path) -> Result<(), RunError> {
    match fs::metadata(path) {
        Ok(it) if !it.is_file() => Err(RunError::NotAFile { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Renames `temporary` to `path`, over a file, or over a folder that is first moved out of the way.
pub(crate) fn place(path: &Path, temporary: &Path) -> Result<(), RunError> {
    let old = path.is_dir().then(|| temporary.with_extension("old"));
    if let Some(old) = &old {
        fs::rename(path, old).map_err(|source| RunError::io("replace", path, source))?;
        kill_point();
    }
    fs::rename(temporary, path).map_err(|source| RunError::io("rename into place", path, source))?;
    kill_point();
    if let Some(old) = &old {
        let _ = fs::remove_dir_all(old);
    }
    if let Some(folder) = path.parent().and_then(|it| File::open(it).ok()) {
        let _ = flush(&folder); // makes the rename last through a power cut where the file system can
    }
    Ok(())
}

/// Removes what killed processes left anywhere below `folder`.
pub(crate) fn clean(folder: &Path) -> Result<(), RunError> {
    for entry in fs::read_dir(folder).map_err(|source| RunError::io("read", folder, source))? {
        let entry = entry.map_err(|source| RunError::io("read", folder, source))?;
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        if is_temporary(&path) {
            if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                .map_err(|source| RunError::io("remove", &path, source))?;
        } else if is_folder {
            clean(&path)?;
        }
    }
    Ok(())
}

/// Whether `path` is something a write that never finished left behind.
pub(crate) fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|it| it.to_string_lossy().starts_with(TEMPORARY))
}

/// Content address of a file, or of a folder: the names and contents of its files. No file is in memory whole.
pub(crate) fn hash_at(path: &Path) -> Result<Hash, RunError> {
    let mut hasher = Hasher::default();
    if !path.is_dir() {
        hash_file(path, &mut hasher)?;
        return Ok(hasher.finish());
    }
    for file in files_below(path)? {
        hasher.part(file.strip_prefix(path).unwrap_or(&file).to_string_lossy().as_bytes());
        hash_file(&file, &mut hasher)?;
    }
    Ok(hasher.finish())
}

fn hash_file(path: &Path, hasher: &mut Hasher) -> Result<(), RunError> {
    regular(path)?;
    let failed = |source| RunError::io("read", path, source);
    let mut file = File::open(path).map_err(failed)?;
    hasher.begin_part(file.metadata().map_err(failed)?.len());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            n => hasher.more(&buffer[..n]),
        }
    }
}

/// All files below `folder`, sorted. A link is one of them, and is not followed: it may lead back here.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let mut files = Vec::new();
    let failed = |source| RunError::io("read", folder, source);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_type().map_err(failed)?.is_dir() {
            true => files.extend(files_below(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    Ok(files)
}

/// The temporary name of `path`, its folder made.
fn beside(path: &Path) -> Result<PathBuf, RunError> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| RunError::io("create", folder, source))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(folder.join(format!("{TEMPORARY}{name}")))
}

/// Makes what was written last through a power cut. Tests, which kill processes and not machines, do without.
pub(crate) fn flush(file: &File) -> std::io::Result<()> {
    if cfg!(test) { Ok(()) } else { file.sync_all() }
}

/// Where a test may kill the writer.
#[cfg(not(test))]
pub(crate) fn kill_point() {}

#[cfg(test)]
pub(crate) use kill::point as kill_point;

#[cfg(test)]
pub(crate) mod kill {
    //! A kill is a panic: nothing in this crate cleans up while unwinding, and the lock is released either way.
    use std::cell::Cell;

    thread_local!(static POINTS_LEFT: Cell<Option<usize>> = const { Cell::new(None) });

    pub(crate) fn point() {
        POINTS_LEFT.with(|it| match it.get() {
            Some(0) => {
                it.set(None);
                std::panic::resume_unwind(Box::new("killed"));
            }
            left => it.set(left.map(|n| n - 1)),
        });
    }

    /// Runs `process` and kills it at its `n`-th point. `Some` if it ended before.
    pub(crate) fn at<T>(n: usize, process: impl FnOnce() -> T) -> Option<T> {
        POINTS_LEFT.with(|it| it.set(Some(n)));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(process)).ok();
        POINTS_LEFT.with(|it| it.set(None));
        ended
    }
}
