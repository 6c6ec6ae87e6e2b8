//! A run's folder: stages with their lineage, journals, metrics, and files that are there whole or not at all. It knows nothing
//! of models or policies; recipes put them together.

mod error;
mod events;
mod finite;
mod folder;
mod identity;
mod journal;
mod lineage;
mod lock;
mod metrics;
mod row;
mod sealed;
mod summary;
mod verify;
mod whole;

pub use error::RunError;
pub use finite::finite;
pub use folder::{COMMIT, RunFolder};
pub use journal::Journal;
pub use lineage::{Artifact, ArtifactId, Lineage};
pub use metrics::Metrics;
pub use row::Row;
pub use summary::RunSummary;
pub use verify::{Fault, Verified, verify};
pub use whole::write_whole;
