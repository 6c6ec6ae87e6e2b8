//! The methods, each as a story: one function read from top to bottom, one line per stage.

pub mod deliberate;
pub mod harbor;
pub mod pretrain;
pub mod world;

pub(crate) mod learner;
mod sampling;
