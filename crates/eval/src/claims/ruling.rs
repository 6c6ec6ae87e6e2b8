//! What numbers say.

use serde::{Deserialize, Serialize};

/// What the numbers say of a claim or of one comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It held.
    Held,
    /// It did not.
    NotHeld,
    /// The numbers do not tell; why.
    Unclear(String),
    /// What it needs was not run; what.
    NotTested(String),
}
