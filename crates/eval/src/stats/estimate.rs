//! A number with its 95% interval, and the difference of two.

use serde::{Deserialize, Serialize};

/// A point estimate and the ends of its 95% interval: finite numbers, the estimate between the ends. Shares are in [0, 1],
/// differences of shares in [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Ends", into = "Ends")]
pub struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

/// The serialised form, checked on its way in.
#[derive(Serialize, Deserialize)]
struct Ends {
    value: f64,
    low: f64,
    high: f64,
}

impl Estimate {
    /// `None` unless all are finite and `low <= value <= high`.
    pub fn new(value: f64, low: f64, high: f64) -> Option<Estimate> {
        (low.is_finite() && high.is_finite() && low <= value && value <= high).then_some(Estimate { value, low, high })
    }

    /// A number that is known exactly, such as a bar to be met. `None` unless it is finite.
    pub fn exactly(value: f64) -> Option<Estimate> {
        Estimate::new(value, value, value)
    }

    /// The point estimate.
    pub fn value(self) -> f64 {
        self.value
    }

    /// Lower end; at most [`Estimate::value`].
    pub fn low(self) -> f64 {
        self.low
    }

    /// Upper end; at least [`Estimate::value`].
    pub fn high(self) -> f64 {
        self.high
    }

    /// `self - other` with the interval recovered from the two intervals (MOVER; for two Wilson intervals it is Newcombe's
    /// method 10, Statistics in Medicine 17, 1998, 873-890). It takes the two for independent: where they agree more than that,
    /// the interval is too wide.
    pub fn minus(self, other: Estimate) -> Estimate {
        let value = self.value - other.value;
        let below = (self.value - self.low).hypot(other.high - other.value);
        let above = (self.high - self.value).hypot(other.value - other.low);
        Estimate { value, low: value - below, high: value + above }
    }

    /// The same number, with another and independent source of error: both ends move away from it, their distances and
    /// `margin` adding up in squares, but stay in `[least, most]`.
    pub(super) fn widened(self, margin: f64, (least, most): (f64, f64)) -> Estimate {
        let Estimate { value, low, high } = self;
        let low = (value - (value - low).hypot(margin)).max(least).min(value);
        Estimate { value, low, high: (value + (high - value).hypot(margin)).min(most).max(value) }
    }
}

impl TryFrom<Ends> for Estimate {
    type Error = String;
    fn try_from(Ends { value, low, high }: Ends) -> Result<Estimate, String> {
        Estimate::new(value, low, high).ok_or_else(|| format!("an estimate of {value} in [{low}, {high}]"))
    }
}

impl From<Estimate> for Ends {
    fn from(Estimate { value, low, high }: Estimate) -> Ends {
        Ends { value, low, high }
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
        assert_eq!(Estimate::new(-0.0001, -0.02, 0.02).expect("in order").to_string(), "0.0 [-2.0, 2.0]");
    }

    #[test]
    fn fault_34_no_estimate_is_made_or_read_of_what_is_no_number() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for it in bad {
            assert_eq!(
                [Estimate::new(it, 0.0, 1.0), Estimate::new(0.5, it, 1.0), Estimate::new(0.5, 0.0, it)],
                [None; 3]
            );
            assert_eq!(Estimate::exactly(it), None);
        }
        let read = |text| serde_json::from_str::<Estimate>(text).map_err(|it| it.to_string());
        assert!(read(r#"{"value":0.5,"low":0.25,"high":1}"#).is_ok());
        assert_eq!(read(r#"{"value":0.5,"low":0.75,"high":1}"#), Err("an estimate of 0.5 in [0.75, 1]".to_owned()));
        assert!(read(r#"{"value":null,"low":0.75,"high":1}"#).is_err());
    }

    #[test]
    fn errors_add_up_in_squares() {
        let of = |value, low, high| Estimate::new(value, low, high).expect("in order");
        assert_eq!(of(0.5, 0.2, 0.8).widened(0.4, (0.0, 1.0)), of(0.5, 0.0, 1.0));
        assert_eq!(of(0.5, 0.2, 0.5).widened(0.0, (0.0, 1.0)), of(0.5, 0.2, 0.5));
    }
}
