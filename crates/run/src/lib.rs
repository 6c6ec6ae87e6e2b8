//! A run's folder: stages with their lineage, journals, metrics, and files that are there whole or not at all. It knows nothing
//! of models or policies; recipes put them together.

mod error;
mod folder;
mod identity;
mod journal;
mod lineage;
mod lock;
mod metrics;
mod summary;
mod whole;

pub use error::RunError;
pub use folder::RunFolder;
pub use journal::Journal;
pub use lineage::{Artifact, ArtifactId, Lineage};
pub use metrics::{Metrics, Row};
pub use summary::RunSummary;
pub use whole::write_whole;
