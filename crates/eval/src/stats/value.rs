//! What one observation is worth.

use collimate_schema::{Unscored, Verdict};
use serde::{Deserialize, Serialize};

/// A number in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Share {
    /// `None` unless `value` is in [0, 1].
    pub fn new(value: f64) -> Option<Share> {
        (0.0..=1.0).contains(&value).then_some(Share(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;
    fn try_from(value: f64) -> Result<Share, String> {
        Share::new(value).ok_or_else(|| format!("a score lies in [0, 1], not at {value}"))
    }
}

impl From<Share> for f64 {
    fn from(it: Share) -> f64 {
        it.0
    }
}

/// What one observation is worth: passed or not, better or worse, or nothing that could be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Whether the output did what was measured.
    Pass(bool),
    /// How well it did it.
    Score(Share),
    /// Nothing could grade it; why. It says nothing about the model, and is counted apart.
    Unscored(String),
}

impl Value {
    /// The value as a number in [0, 1]: 1 for a pass, 0 for a failure.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Pass(pass) => Some(f64::from(u8::from(*pass))),
            Value::Score(score) => Some(score.get()),
            Value::Unscored(_) => None,
        }
    }

    /// Whether it passed, if it is that kind of value.
    pub fn pass(&self) -> Option<bool> {
        match self {
            Value::Pass(pass) => Some(*pass),
            Value::Score(_) | Value::Unscored(_) => None,
        }
    }
}

impl From<&Verdict> for Value {
    /// A judge's grade from 1 to 5 as a score from 0 to 1.
    fn from(verdict: &Verdict) -> Value {
        match verdict {
            Verdict::Scored { score, .. } => Value::Score(Share(f64::from(score.reward()))),
            Verdict::Unscored(why) => Value::Unscored(
                match why {
                    Unscored::Unparsed => "the judge gave no grade",
                    Unscored::TwoGrades => "the judge gave two grades",
                    Unscored::Truncated => "the judge ran out of tokens",
                    Unscored::Malformed => "the judge's turn was malformed",
                    Unscored::Failed => "the judge could not be asked",
                }
                .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_outside_its_range_does_not_load() {
        let read = |text| serde_json::from_str::<Value>(text);
        assert_eq!(read(r#"{"score":0.25}"#).expect("a score"), Value::Score(Share(0.25)));
        let error = read(r#"{"score":1.5}"#).expect_err("too much").to_string();
        assert!(error.starts_with("a score lies in [0, 1], not at 1.5"), "{error}");
        assert_eq!(Share::new(f64::NAN), None);
    }
}
