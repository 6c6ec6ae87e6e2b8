//! Where a step works.

use collimate_run::RunFolder;

use crate::progress::Progress;

/// A part of a run's folder, such as one seed's, and who shows how far a step is.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The folder.
    pub run: &'a RunFolder,
    /// The part of it, such as `seed-1`; empty for all of it.
    pub part: &'a str,
    /// Shows progress.
    pub progress: &'a Progress,
}

impl Site<'_> {
    /// The name of a stage within this part.
    pub(crate) fn at(&self, stage: &str) -> String {
        if self.part.is_empty() { stage.to_owned() } else { format!("{}/{stage}", self.part) }
    }
}
