//! Reading the files of a checkpoint.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::Path;

use memmap2::Mmap;

/// A regular file, mapped into memory: only what is read of it is in memory. It must not be cut short meanwhile.
pub(crate) fn map_file(path: &Path) -> std::io::Result<Mmap> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "weights that are read once need not be in memory twice")]
    // SAFETY: the file is only read. Another program that changes it meanwhile changes numbers, which are checked after they
    // are copied; one that cuts it short ends this one, which harms nobody's memory.
    unsafe {
        Mmap::map(&file)
    }
}

/// The bytes of a regular file: a pipe or a device would be waited for without end.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.is_file() {
        std::fs::read(path)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}
