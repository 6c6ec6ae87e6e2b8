//! Reading the files of a checkpoint.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// The bytes of a regular file: a pipe or a device would be waited for without end.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.is_file() {
        std::fs::read(path)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}
