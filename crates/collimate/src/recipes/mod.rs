//! The methods, each as a story: one function read from top to bottom, one line per stage. [`steps`] are what stories are made
//! of.

pub mod deliberate;
pub mod pretrain;
pub mod steps;

/// The artefact that holds what a finished run prints; recipes write it last.
pub const TABLE: &str = "table.txt";
/// The artefact that holds a finished run's results for programs.
pub const RESULTS: &str = "results.json";
