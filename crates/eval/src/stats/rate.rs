//! A share of scored samples, with its counts and its uncertainty.

use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, percent};

/// The 97.5th percentile of the standard normal distribution.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// `hits` of `scored`; samples whose grader failed are counted apart and never as misses.
///
/// Samples that are not independent, such as the answers of several models to one question, tell less than their number: they
/// are worth [`Rate::effective`] independent ones.
///
/// Prints as `12/200 = 6.0% [3.5, 10.2], 3 unscored`, as `24/400 = 6.0% [3.1, 11.4], worth 150 independent` where samples are
/// not, and as `no data` when nothing was scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Counts", into = "Counts")]
pub struct Rate {
    hits: u32,
    scored: u32,
    unscored: u32,
    effective: f64,
}

/// The serialised form, checked on its way in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    hits: u32,
    scored: u32,
    unscored: u32,
    /// How many independent samples the scored ones are worth; absent if all are independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effective: Option<f64>,
}

impl Rate {
    /// Of independent samples. `None` unless `hits <= scored`.
    pub fn new(hits: u32, scored: u32, unscored: u32) -> Option<Rate> {
        (hits <= scored).then_some(Rate { hits, scored, unscored, effective: f64::from(scored) })
    }

    /// The same counts, of samples that are worth only `effective` independent ones. `None` unless it is a number above 0 that is
    /// no greater than the number of samples.
    pub fn worth(self, effective: f64) -> Option<Rate> {
        (0.0 < effective && effective <= f64::from(self.scored)).then_some(Rate { effective, ..self })
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

    /// How many independent samples the scored ones are worth; at most their number.
    pub fn effective(self) -> f64 {
        self.effective
    }

    /// The share with its Wilson 95% score interval (Wilson 1927) for the number of samples that it is worth, all in [0, 1]. `None`
    /// when nothing was scored.
    pub fn estimate(self) -> Option<Estimate> {
        if self.scored == 0 {
            return None;
        }
        let n = self.effective;
        let share = f64::from(self.hits) / f64::from(self.scored);
        let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
        // At the ends the bound is the share itself; say so exactly, whatever the rounding.
        let low = if self.hits == 0 { 0.0 } else { centre - half };
        let high = if self.hits == self.scored { 1.0 } else { centre + half };
        Estimate::new(share, low.clamp(0.0, share), high.clamp(share, 1.0))
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
                    rate.effective += 1.0;
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
            Some(it) => {
                let [value, low, high] = [it.value(), it.low(), it.high()].map(percent);
                write!(f, "{}/{} = {value:.1}% [{low:.1}, {high:.1}]", self.hits, self.scored)?;
                if self.effective < f64::from(self.scored) {
                    write!(f, ", worth {:.0} independent", self.effective.max(1.0))?;
                }
            }
        }
        match self.unscored {
            0 => Ok(()),
            n => write!(f, ", {n} unscored"),
        }
    }
}

impl TryFrom<Counts> for Rate {
    type Error = String;
    fn try_from(Counts { hits, scored, unscored, effective }: Counts) -> Result<Rate, String> {
        let rate = Rate::new(hits, scored, unscored)
            .ok_or_else(|| format!("a rate of {hits} hits in {scored} scored samples"))?;
        match effective {
            None => Ok(rate),
            Some(it) => rate.worth(it).ok_or_else(|| format!("{scored} scored samples that are worth {it}")),
        }
    }
}

impl From<Rate> for Counts {
    fn from(Rate { hits, scored, unscored, effective }: Rate) -> Counts {
        let effective = (effective < f64::from(scored)).then_some(effective);
        Counts { hits, scored, unscored, effective }
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
            assert!((ours.low() - low).abs() < 5e-5 && (ours.high() - high).abs() < 5e-5, "{hits}/{n}: {ours:?}");
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
            assert!(
                (ours.low() - low).abs() < 6e-5 && (ours.high() - high).abs() < 6e-5,
                "{a}/{m} - {b}/{n}: {ours:?}"
            );
        }
    }

    #[test]
    fn a_rate_with_more_hits_than_samples_does_not_load() {
        assert!(serde_json::from_str::<Rate>(r#"{"hits":3,"scored":2,"unscored":0}"#).is_err());
    }

    #[test]
    fn fault_26_what_samples_are_worth_is_kept_with_their_counts() {
        let rate = Rate::new(24, 400, 1).and_then(|it| it.worth(150.5)).expect("possible");
        expect!["24/400 = 6.0% [3.2, 11.0], worth 150 independent, 1 unscored"].assert_eq(&rate.to_string());
        let text = serde_json::to_string(&rate).expect("plain data");
        expect![[r#"{"hits":24,"scored":400,"unscored":1,"effective":150.5}"#]].assert_eq(&text);
        assert_eq!(serde_json::from_str::<Rate>(&text).expect("a rate"), rate);
        let plain = Rate::new(24, 400, 1).expect("possible");
        expect![[r#"{"hits":24,"scored":400,"unscored":1}"#]].assert_eq(&serde_json::to_string(&plain).expect("data"));
        for bad in [0.0, -1.0, 400.5, f64::NAN, f64::INFINITY] {
            assert_eq!(plain.worth(bad), None);
        }
        assert!(serde_json::from_str::<Rate>(r#"{"hits":1,"scored":2,"unscored":0,"effective":3}"#).is_err());
    }

    proptest! {
        #[test]
        fn the_interval_of_a_difference_holds_it_and_turns_with_it(a in 0u32..50, b in 0u32..50) {
            let share = |hits| Rate::new(hits, 50, 0).and_then(Rate::estimate).expect("scored");
            let (there, back) = (share(a).minus(share(b)), share(b).minus(share(a)));
            prop_assert!(there.low() <= there.value() && there.value() <= there.high());
            prop_assert!((there.low() + back.high()).abs() < 1e-12 && (there.value() + back.value()).abs() < 1e-12);
        }

        #[test]
        fn the_interval_holds_the_share(hits in 0u32..500, misses in 0u32..500) {
            let rate = Rate::new(hits, hits + misses, 0).expect("possible");
            if let Some(it) = rate.estimate() {
                prop_assert!(0.0 <= it.low() && it.low() <= it.value());
                prop_assert!(it.value() <= it.high() && it.high() <= 1.0);
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
