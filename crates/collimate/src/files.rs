//! Files that a user names.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};

/// More than anybody writes by hand, bytes.
const MOST: u64 = 64 << 20;

/// The text of the file at `path`, which is called `what` in errors. A pipe or a device, which might never end, is refused, and so
/// is what is no text.
pub fn read_text(path: &Path, what: &str) -> anyhow::Result<String> {
    let doing = || format!("cannot read the {what} {}", path.display());
    let file = std::fs::metadata(path).with_context(doing)?;
    ensure!(file.is_file(), "cannot read the {what} {}: it is not a regular file", path.display());
    ensure!(
        file.len() <= MOST,
        "cannot read the {what} {}: it has {} bytes, more than {MOST}",
        path.display(),
        file.len()
    );
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(doing)?;
    file.take(MOST).read_to_end(&mut bytes).with_context(doing)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map_or(bytes.clone(), <[u8]>::to_vec);
    String::from_utf8(bytes).map_err(|it| {
        let at = it.utf8_error().valid_up_to();
        let line = it.as_bytes()[..at].iter().filter(|it| **it == b'\n').count() + 1;
        anyhow::anyhow!("cannot read the {what} {}: line {line} is not UTF-8", path.display())
    })
}
