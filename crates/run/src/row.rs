//! The numbers of one step.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The numbers of one step; JSON `{"step": 3, "loss": 0.5}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Steps are counted from 0.
    pub step: u64,
    /// Tag and value, in the order they were logged; all finite.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl Row {
    /// The number called `tag`, if it was logged.
    pub fn get(&self, tag: &str) -> Option<f64> {
        self.values.get(tag).and_then(Value::as_f64)
    }
}
