//! A share of scored samples, with its counts and its uncertainty.

use serde::{Deserialize, Serialize};

use super::estimate::Estimate;

/// The 97.5th percentile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// `hits` of `scored`; samples whose grader failed are counted apart and never as misses.
///
/// Prints as `12/200 = 6.0% [3.5, 10.2], 3 unscored`, and as `no data` when nothing was scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Counts", into = "Counts")]
pub struct Rate {
    hits: u32,
    scored: u32,
    unscored: u32,
}

/// The serialised form, checked on its way in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    hits: u32,
    scored: u32,
    unscored: u32,
}

impl Rate {
    /// `None` unless `hits <= scored`.
    pub fn new(hits: u32, scored: u32, unscored: u32) -> Option<Rate> {
        (hits <= scored).then_some(Rate { hits, scored, unscored })
    }

    /// How many passed.
    pub fn hits(self) -> u32 {
        self.hits
    }

    /// How many were scored.
    pub fn scored(self) -> u32 {
        self.scored
    }

    /// How many were not.
    pub fn unscored(self) -> u32 {
        self.unscored
    }

    /// The share with its Wilson 95% score interval (Wilson 1927), all in [0, 1]. `None` when nothing was scored.
    pub fn estimate(self) -> Option<Estimate> {
        if self.scored == 0 {
            return None;
        }
        let n = f64::from(self.scored);
        let share = f64::from(self.hits) / n;
        let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
        // At the ends the bound is the share itself; say so exactly, whatever the rounding.
        let low = if self.hits == 0 { 0.0 } else { centre - half };
        let high = if self.hits == self.scored { 1.0 } else { centre + half };
        Some(Estimate { value: share, low, high })
    }
}

impl FromIterator<Option<bool>> for Rate {
    /// Counts passes; `None` is unscored.
    fn from_iter<I: IntoIterator<Item = Option<bool>>>(passes: I) -> Rate {
        passes.into_iter().fold(Rate::default(), |mut rate, pass| {
            match pass {
                Some(hit) => {
                    rate.hits += u32::from(hit);
                    rate.scored += 1;
                }
                None => rate.unscored += 1,
            }
            rate
        })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.estimate() {
            None => f.write_str("no data")?,
            Some(Estimate { value, low, high }) => write!(
                f,
                "{}/{} = {:.1}% [{:.1}, {:.1}]",
                self.hits,
                self.scored,
                100.0 * value,
                100.0 * low,
                100.0 * high
            )?,
        }
        match self.unscored {
            0 => Ok(()),
            n => write!(f, ", {n} unscored"),
        }
    }
}

impl TryFrom<Counts> for Rate {
    type Error = String;
    fn try_from(Counts { hits, scored, unscored }: Counts) -> Result<Rate, String> {
        Rate::new(hits, scored, unscored).ok_or_else(|| format!("a rate of {hits} hits in {scored} scored samples"))
    }
}

impl From<Rate> for Counts {
    fn from(Rate { hits, scored, unscored }: Rate) -> Counts {
        Counts { hits, scored, unscored }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(hits: u32, scored: u32, unscored: u32, expect: Expect) {
        expect.assert_eq(&Rate::new(hits, scored, unscored).map_or("impossible".to_owned(), |it| it.to_string()));
    }

    #[test]
    fn prints_its_counts() {
        check(12, 200, 3, expect!["12/200 = 6.0% [3.5, 10.2], 3 unscored"]);
        check(12, 200, 0, expect!["12/200 = 6.0% [3.5, 10.2]"]);
        check(0, 0, 0, expect!["no data"]);
        check(0, 0, 4, expect!["no data, 4 unscored"]);
        check(3, 2, 0, expect!["impossible"]);
    }

    /// Newcombe, Statistics in Medicine 17 (1998), table I, method 3: Wilson score intervals without continuity correction.
    #[test]
    fn wilson_agrees_with_newcombe() {
        let published =
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)];
        for (hits, n, low, high) in published {
            let ours = Rate::new(hits, n, 0).and_then(Rate::estimate).expect("scored");
            assert!((ours.low - low).abs() < 5e-5 && (ours.high - high).abs() < 5e-5, "{hits}/{n}: {ours:?}");
        }
    }

    /// Newcombe 1998 (the paper on differences), table II, method 10.
    #[test]
    fn difference_agrees_with_newcombe() {
        let published = [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((10, 10), (0, 20), 0.6791, 1.0000),
            ((10, 10), (0, 10), 0.6075, 1.0000),
        ];
        for ((a, m), (b, n), low, high) in published {
            let share = |hits, n| Rate::new(hits, n, 0).and_then(Rate::estimate).expect("scored");
            let ours = share(a, m).minus(share(b, n));
            assert!((ours.low - low).abs() < 6e-5 && (ours.high - high).abs() < 6e-5, "{a}/{m} - {b}/{n}: {ours:?}");
        }
    }

    #[test]
    fn a_rate_with_more_hits_than_samples_does_not_load() {
        assert!(serde_json::from_str::<Rate>(r#"{"hits":3,"scored":2,"unscored":0}"#).is_err());
    }

    proptest! {
        #[test]
        fn the_interval_of_a_difference_holds_it_and_turns_with_it(a in 0u32..50, b in 0u32..50) {
            let share = |hits| Rate::new(hits, 50, 0).and_then(Rate::estimate).expect("scored");
            let (there, back) = (share(a).minus(share(b)), share(b).minus(share(a)));
            prop_assert!(there.low <= there.value && there.value <= there.high);
            prop_assert!((there.low + back.high).abs() < 1e-12 && (there.value + back.value).abs() < 1e-12);
        }

        #[test]
        fn the_interval_holds_the_share(hits in 0u32..500, misses in 0u32..500) {
            let rate = Rate::new(hits, hits + misses, 0).expect("possible");
            if let Some(Estimate { value, low, high }) = rate.estimate() {
                prop_assert!(0.0 <= low && low <= value && value <= high && high <= 1.0);
            } else {
                prop_assert_eq!(hits + misses, 0);
            }
        }

        #[test]
        fn collecting_equals_counting(passes in proptest::collection::vec(proptest::option::of(any::<bool>()), 0..50)) {
            let rate: Rate = passes.iter().copied().collect();
            prop_assert_eq!(rate.hits() as usize, passes.iter().filter(|it| **it == Some(true)).count());
            prop_assert_eq!((rate.scored() + rate.unscored()) as usize, passes.len());
        }
    }
}
