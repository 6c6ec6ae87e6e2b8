//! A number with its 95% interval, and the difference of two.

use serde::{Deserialize, Serialize};

/// A point estimate and the ends of its 95% interval. Shares are in [0, 1], differences of shares in [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end; at most `value`.
    pub low: f64,
    /// Upper end; at least `value`.
    pub high: f64,
}

impl Estimate {
    /// A number that is known exactly, such as a bar to be met.
    pub fn exactly(value: f64) -> Estimate {
        Estimate { value, low: value, high: value }
    }

    /// `self - other` with the interval recovered from the two intervals (MOVER; for two Wilson intervals it is Newcombe's
    /// method 10, Statistics in Medicine 17, 1998, 873-890). It takes the two for independent. Our arms answer the same
    /// prompts, so their errors agree more than that and the interval is, if anything, too wide.
    pub fn minus(self, other: Estimate) -> Estimate {
        let value = self.value - other.value;
        let below = (self.value - self.low).hypot(other.high - other.value);
        let above = (self.high - self.value).hypot(other.value - other.low);
        Estimate { value, low: value - below, high: value + above }
    }
}

impl std::fmt::Display for Estimate {
    /// In percent: `6.0 [3.5, 10.2]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} [{:.1}, {:.1}]", percent(self.value), percent(self.low), percent(self.high))
    }
}

/// In percent, without a negative zero.
pub(crate) fn percent(share: f64) -> f64 {
    let tenths = (1000.0 * share).round() / 10.0;
    if tenths == 0.0 { 0.0 } else { tenths }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(Estimate { value: -0.0001, low: -0.02, high: 0.02 }.to_string(), "0.0 [-2.0, 2.0]");
    }
}
