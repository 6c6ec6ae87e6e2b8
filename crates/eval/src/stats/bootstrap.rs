//! The mean of a number per prompt, with a percentile bootstrap interval over prompts (section 5 of the paper). The interval
//! covers the choice of prompts, not the training of the model.

use collimate_schema::Seed;
use rand::Rng;

use super::estimate::Estimate;

/// Resamples per interval; the paper uses 1,000.
const RESAMPLES: usize = 2_000;

/// The mean of `values` (one per prompt) and the 2.5th and 97.5th percentile of the means of 2,000 resamples with
/// replacement. `None` when there is no value.
pub fn bootstrap(values: &[f64], seed: Seed) -> Option<Estimate> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let mean = |sum: f64| sum / n as f64;
    let mut rng = seed.rng();
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| mean((0..n).map(|_| values[rng.random_range(0..n)]).sum())).collect();
    means.sort_by(f64::total_cmp);
    let value = mean(values.iter().sum());
    // With a handful of skewed values the percentiles may miss the mean by rounding; an interval always holds its value.
    Some(Estimate { value, low: quantile(&means, 0.025).min(value), high: quantile(&means, 0.975).max(value) })
}

/// The quantile of sorted numbers, interpolated linearly between order statistics (type 7 of Hyndman and Fan).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_mean() {
        assert_eq!(bootstrap(&[], Seed(0)), None);
    }

    #[test]
    fn quantiles_agree_with_numpy() {
        // numpy.quantile([1, 2, 4, 8, 16], [0.025, 0.5, 0.975])
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(quantile(&sorted, 0.025), 1.1);
        close(quantile(&sorted, 0.5), 4.0);
        close(quantile(&sorted, 0.975), 15.2);
    }

    /// For 0/1 values the resampled sum is binomial: with n = 100 and p = 0.3 its 2.5th and 97.5th percentiles are 21 and 39
    /// (`scipy.stats.binom.ppf([.025, .975], 100, .3)`).
    #[test]
    fn interval_agrees_with_the_binomial() {
        let values: Vec<f64> = (0..100).map(|it| f64::from(it < 30)).collect();
        let Estimate { value, low, high } = bootstrap(&values, Seed(7)).expect("values");
        assert!((value - 0.3).abs() < 1e-12);
        assert!((low - 0.21).abs() <= 0.0101 && (high - 0.39).abs() <= 0.0101, "[{low}, {high}]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_function_of_values_and_seed(values in proptest::collection::vec(0.0f64..=1.0, 1..40), seed: u64) {
            let once = bootstrap(&values, Seed(seed)).expect("values");
            prop_assert_eq!(once, bootstrap(&values, Seed(seed)).expect("values"));
            prop_assert!(once.low <= once.value && once.value <= once.high);
            let (least, most) = values.iter().fold((1.0f64, 0.0f64), |(a, b), it| (a.min(*it), b.max(*it)));
            prop_assert!(least - 1e-12 <= once.low && once.high <= most + 1e-12);
        }
    }
}
