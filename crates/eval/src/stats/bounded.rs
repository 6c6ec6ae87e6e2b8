//! The mean of numbers that cannot leave a range, with an interval that is never empty.
//!
//! A bootstrap over n values can only find what the n values hold: if they are all alike, it finds nothing else, and an interval
//! of no width. So each end of ours is that of a Bayesian bootstrap (the values get random weights, uniform over all weights that
//! sum to 1) of the n values and one more that lies at that end of the range: the worst that a next value could be. Gaffke
//! proposed it (2005); Learned-Miller and Thomas (arXiv 1905.06208) study it. For zeros and ones it is the exact binomial interval
//! (Clopper and Pearson 1934), for differences of which each is 0 or favours the same side it rules as the exact sign test does.
//!
//! Nothing is drawn. With exponential weights E, the weighted mean of x exceeds m where the sum of (x - m) E exceeds 0, and the
//! chance of that is an integral over its moment-generating function, taken through the saddle point (Lugannani and Rice 1980 start
//! from the same integral; we add it up instead of expanding it).

use std::f64::consts::PI;

use super::estimate::Estimate;

/// What may lie beyond each end of a 95% interval.
const TAIL: f64 = 0.025;

/// The mean of `values` with its 95% interval, where each lies in `[least, most]`. `None` without values, or if one does not.
pub fn bounded_mean(values: &[f64], (least, most): (f64, f64)) -> Option<Estimate> {
    if values.is_empty() || !values.iter().all(|it| (least..=most).contains(it)) {
        return None;
    }
    let value = (values.iter().sum::<f64>() / values.len() as f64).clamp(least, most);
    let turned: Vec<f64> = values.iter().map(|it| -it).collect();
    let (below, above) = (-upper_end(&turned, -least), upper_end(values, most));
    Estimate::new(value, below.clamp(least, value), above.clamp(value, most))
}

/// The 97.5th percentile of the weighted mean of `values` and `most`.
fn upper_end(values: &[f64], most: f64) -> f64 {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut sorted = values.to_vec();
    sorted.push(most);
    sorted.sort_by(f64::total_cmp);
    for value in sorted {
        match points.last_mut() {
            Some((last, n)) if *last == value => *n += 1.0,
            _ => points.push((value, 1.0)),
        }
    }
    let expected = points.iter().map(|(value, n)| n * value).sum::<f64>() / (values.len() + 1) as f64;
    let (mut low, mut high) = (expected.min(most), most);
    while high - low > 1e-8 {
        let middle = 0.5 * (low + high);
        if exceeds_often(&points, middle) { low = middle } else { high = middle }
    }
    high
}

/// Whether the weighted mean of `points`, each a value and how often it occurs, exceeds `m` with more than the chance of a tail.
fn exceeds_often(points: &[(f64, f64)], m: f64) -> bool {
    let terms: Vec<(f64, f64)> = points.iter().map(|(value, n)| (value - m, *n)).collect();
    let scale = terms.iter().map(|(by, n)| n * by * by).sum::<f64>().sqrt();
    let drift = terms.iter().map(|(by, n)| n * by).sum::<f64>() / scale;
    // A sum of exponentials exceeds its mean with a chance of at least 1/e (Gruenbaum); by x standard deviations with one of
    // less than (1 + x) exp(-x) (Chernoff).
    if drift >= 0.0 {
        return true;
    }
    drift > -8.0 && chance_above_zero(&terms) > TAIL
}

/// The chance that the sum of exponentials, each with a factor and how often it occurs, exceeds 0. It is unlikely: some factor is
/// above 0, and their sum below.
fn chance_above_zero(terms: &[(f64, f64)]) -> f64 {
    let most = terms.iter().map(|(by, _)| *by).fold(0.0, f64::max);
    // The saddle point: where the moment-generating function over s has its least value between the poles 0 and 1 / most.
    let slope = |s: f64| terms.iter().map(|(by, n)| n * by / (1.0 - by * s)).sum::<f64>() - 1.0 / s;
    let (mut low, mut high) = (0.0, 1.0 / most);
    while high - low > 1e-3 * (1.0 / most - high).min(low) {
        let middle = 0.5 * (low + high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    let saddle = 0.5 * (low + high);
    let curvature = terms.iter().map(|(by, n)| n * (by / (1.0 - by * saddle)).powi(2)).sum::<f64>() + saddle.powi(-2);
    // From there along a hyperbola that opens to the right, where the function dies off.
    let width = curvature.powf(-0.5);
    let mut sum = 0.0;
    for step in 0..N_STEPS {
        let (sinh, cosh) = ((STEP * f64::from(step)).sinh(), (STEP * f64::from(step)).cosh());
        let (x, y) = (saddle + 0.5 * width * (cosh - 1.0), width * sinh);
        let (mut log_size, mut angle) = (-0.5 * (x * x + y * y).ln(), -y.atan2(x));
        for (by, n) in terms {
            let (re, im) = (1.0 - by * x, by * y);
            log_size -= 0.5 * n * (re * re + im * im).ln();
            angle += n * im.atan2(re);
        }
        let size = log_size.exp();
        let whole = size * width * (angle.cos() * cosh + 0.5 * angle.sin() * sinh);
        sum += if step == 0 { 0.5 * whole } else { whole };
        if size * width * cosh < 1e-12 {
            break;
        }
    }
    STEP * sum / PI
}

/// Steps along the path, in its own parameter, and how many at most.
const STEP: f64 = 0.1;
const N_STEPS: u32 = 400;

#[cfg(test)]
mod tests {
    use collimate_schema::Seed;
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;

    fn shares(values: &[f64]) -> Estimate {
        bounded_mean(values, (0.0, 1.0)).expect("shares")
    }

    fn passes(hits: u32, n: u32) -> Vec<f64> {
        (0..n).map(|it| f64::from(it < hits)).collect()
    }

    /// `[scipy.stats.beta.ppf(.025, k, n - k + 1), beta.ppf(.975, k + 1, n - k)]`, as R's `binom.test` prints them.
    #[test]
    fn fault_27_goodness_of_twelve_alike_is_not_certain() {
        let exact = [
            (0, 12, 0.0, 0.264_648),
            (12, 12, 0.735_352, 1.0),
            (11, 12, 0.615_204, 0.997_892),
            (0, 1, 0.0, 0.975),
            (1, 1, 0.025, 1.0),
            (1, 10, 0.002_529, 0.445_016),
            (3, 10, 0.066_739, 0.652_453),
            (0, 500, 0.0, 0.007_351),
        ];
        for (hits, n, low, high) in exact {
            let ours = shares(&passes(hits, n));
            assert!((ours.low() - low).abs() < 1e-6 && (ours.high() - high).abs() < 1e-6, "{hits}/{n}: {ours:?}");
        }
    }

    /// Many values do not upset the integral: the normal distribution's ends are near.
    #[test]
    fn thousands_of_values() {
        let values: Vec<f64> = (0..5_000).map(|it| f64::from(it % 11) / 10.0).collect();
        let (found, half) = (shares(&values), 1.96 * (0.1f64 / 5_000.0).sqrt());
        let reach = [found.value() - found.low(), found.high() - found.value()];
        assert!(reach.iter().all(|it| (half..half + 2e-4).contains(it)), "{found:?}");
    }

    /// Whatever the one value is, the interval reaches beyond it to both sides, and further with fewer prompts.
    #[test]
    fn fault_27_alike_in_between_is_not_certain_either() {
        for value in [0.1, 0.25, 0.5, 2.0 / 3.0, 0.99] {
            let mut last = 1.0;
            for n in [1, 2, 12, 200] {
                let found = shares(&vec![value; n]);
                let reach = 1.0 - TAIL.powf(1.0 / n as f64);
                assert!((found.high() - (value + (1.0 - value) * reach)).abs() < 1e-6, "{n} times {value}: {found:?}");
                assert!((found.low() - value * (1.0 - reach)).abs() < 1e-6, "{n} times {value}: {found:?}");
                assert!(found.high() - found.low() < last);
                last = found.high() - found.low();
            }
        }
    }

    /// Five prompts that favour one arm, and none the other, rule nothing; six do. So does the exact sign test.
    #[test]
    fn fault_27_a_difference_is_ruled_as_by_the_sign_test() {
        for n in [6, 12, 100] {
            let low = |n_favour| bounded_mean(&passes(n_favour, n), (-1.0, 1.0)).expect("differences").low();
            assert!(low(5) < 0.0 && low(6) > 0.0, "{n}: {} {}", low(5), low(6));
        }
    }

    #[test]
    fn what_is_no_number_of_the_range_has_no_mean() {
        for values in [&[][..], &[f64::NAN], &[0.5, 1.5], &[f64::INFINITY]] {
            assert_eq!(bounded_mean(values, (0.0, 1.0)), None);
        }
    }

    /// Over many samples, 95% intervals hold the true mean at least 95 times in 100, near the ends too.
    #[test]
    fn fault_27_intervals_hold_what_they_should() {
        let mut rng = Seed(5).rng();
        for (kind, n) in [(0, 1), (0, 12), (0, 60), (1, 12), (2, 12), (2, 60), (3, 30)] {
            for chance in [0.02, 0.1, 0.5, 0.9] {
                let mut n_held = 0;
                for _ in 0..N_TRIALS {
                    let mut draw = |_| match kind {
                        0 => f64::from(rng.random::<f64>() < chance),
                        1 => {
                            if rng.random::<f64>() < chance {
                                rng.random::<f64>()
                            } else {
                                0.0
                            }
                        }
                        2 => f64::from((0..3).map(|_| u32::from(rng.random::<f64>() < chance)).sum::<u32>()) / 3.0,
                        _ => rng.random::<f64>().powf(1.0 / chance),
                    };
                    let found = shares(&(0..n).map(&mut draw).collect::<Vec<_>>());
                    let truth = match kind {
                        0 | 2 => chance,
                        1 => 0.5 * chance,
                        _ => chance / (1.0 + chance),
                    };
                    n_held += u32::from((found.low()..=found.high()).contains(&truth));
                }
                let share = f64::from(n_held) / f64::from(N_TRIALS);
                assert!(share > 0.92, "kind {kind}, {n} values, chance {chance}: {share}");
            }
        }
    }

    const N_TRIALS: u32 = 200;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn an_interval_holds_its_mean_is_not_empty_and_turns_with_it(
            values in proptest::collection::vec(prop_oneof![0.0f64..=1.0, Just(0.0), Just(1.0), Just(0.5)], 1..40),
        ) {
            let found = shares(&values);
            prop_assert!(0.0 <= found.low() && found.high() <= 1.0);
            prop_assert!(found.low() < found.value() || found.value() < found.high());
            let turned = shares(&values.iter().map(|it| 1.0 - it).collect::<Vec<_>>());
            prop_assert!((found.low() + turned.high() - 1.0).abs() < 1e-7);
        }

        /// A better value never lowers an end.
        #[test]
        fn monotone(values in proptest::collection::vec(0.0f64..=1.0, 1..20), at: prop::sample::Index, to in 0.0f64..=1.0) {
            let mut better = values.clone();
            let it = &mut better[at.index(values.len())];
            *it = it.max(to);
            let (before, after) = (shares(&values), shares(&better));
            prop_assert!(after.low() >= before.low() - 1e-7 && after.high() >= before.high() - 1e-7);
        }
    }
}
