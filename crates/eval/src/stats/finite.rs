//! A number that is one.

use serde::{Deserialize, Serialize};

/// A number that is neither infinite nor NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Finite(f64);

impl Finite {
    /// `None` if `value` is infinite or NaN.
    pub fn new(value: f64) -> Option<Finite> {
        value.is_finite().then_some(Finite(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Finite {
    type Error = String;
    fn try_from(value: f64) -> Result<Finite, String> {
        Finite::new(value).ok_or_else(|| format!("{value} is no number to be kept"))
    }
}

impl From<Finite> for f64 {
    fn from(it: Finite) -> f64 {
        it.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_34_what_is_no_number_is_refused() {
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Finite::new), [None; 3]);
        assert!(serde_json::from_str::<Finite>("1e999").is_err() && serde_json::from_str::<Finite>("null").is_err());
        assert_eq!(serde_json::from_str::<Finite>("1e308").expect("a number").get(), 1e308);
    }
}
