//! One token from one row of logits.

use std::borrow::Cow;
use std::cell::RefCell;

use collimate_kernels::{at_share, highest, logprob, masses};
use collimate_schema::{Sampled, Sampling};
use rand::Rng;

/// Draws a token that is not `barred` from raw `logits`, [V], as `how` says; at temperature 0 the highest, the lowest id
/// among equals. The recorded log-probability is that of the whole distribution at temperature 1, whatever the draw was
/// from; it is not finite where the logits are not. One uniform number per token is used, none when greedy.
pub(crate) fn draw(logits: &[f32], how: &Sampling, barred: &[u32], rng: &mut impl Rng) -> Sampled {
    let mut allowed = Cow::Borrowed(logits);
    barred.iter().for_each(|token| allowed.to_mut()[*token as usize] = f32::NEG_INFINITY);
    thread_local! {
        static MASSES: RefCell<Vec<f32>> = RefCell::default();
    }
    let mut token = None;
    if how.temperature > 0.0 {
        token = MASSES.with_borrow_mut(|it| {
            masses(&allowed, how.temperature, it);
            barred.iter().for_each(|token| it[*token as usize] = 0.0);
            keep_likeliest(it, how);
            at_share(it, rng.random()).map(|it| it as u32)
        });
    }
    let token = token.unwrap_or_else(|| highest(&allowed));
    Sampled { token, logprob: logprob(logits, token) }
}

/// Takes the mass of every token that `how` excludes: by `top_k`, then by `top_p` of what that left, then by `min_p`, as
/// Transformers does. Equals stay or go together, but for `top_p`: of these it keeps the last. The likeliest always stays.
fn keep_likeliest(masses: &mut [f32], how: &Sampling) {
    let k = how.top_k as usize;
    if (1..masses.len()).contains(&k) {
        let least = *masses.to_vec().select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
        keep_from(masses, least);
    }
    if how.top_p < 1.0 {
        keep_nucleus(masses, how.top_p);
    }
    keep_from(masses, how.min_p); // the likeliest has mass 1
}

fn keep_from(masses: &mut [f32], least: f32) {
    masses.iter_mut().filter(|mass| **mass < least).for_each(|mass| *mass = 0.0);
}

/// Takes, from the least likely on, what together has a probability of at most 1 - `top_p`.
fn keep_nucleus(masses: &mut [f32], top_p: f32) {
    // The bits of numbers that are not negative have their order.
    let key = |(token, mass): (u64, &f32)| u64::from(mass.to_bits()) << 32 | token;
    let mut rising: Vec<u64> = (0..).zip(&*masses).filter(|it| *it.1 > 0.0).map(key).collect();
    rising.sort_unstable();
    let total: f64 = masses.iter().map(|it| f64::from(*it)).sum();
    let (most, mut sum) = (1.0 - f64::from(top_p), 0.0);
    for key in &rising[..rising.len().saturating_sub(1)] {
        let mass = &mut masses[(key & u64::from(u32::MAX)) as usize];
        sum += f64::from(*mass) / total;
        if sum as f32 > most as f32 {
            break;
        }
        *mass = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collimate_schema::Seed;
    use proptest::prelude::*;

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        let drawn = draw(&[0.0, 2.0, 2.0, 1.0], &Sampling::greedy(1), &[], &mut Seed(0).rng());
        assert_eq!(drawn.token, 1);
        let total = (1.0f32 + 2.0 * 2f32.exp() + 1f32.exp()).ln();
        assert!((drawn.logprob - (2.0 - total)).abs() < 1e-6);
    }

    #[test]
    fn draws_follow_the_tempered_distribution_and_record_the_plain_one() {
        let logits = [0.0_f32, 1.0, 2.0];
        for temperature in [0.5_f32, 1.0, 2.0] {
            let mut rng = Seed(7).rng();
            let mut counts = [0_u32; 3];
            for _ in 0..20_000 {
                let drawn = draw(&logits, &Sampling::at(temperature, 1), &[], &mut rng);
                counts[drawn.token as usize] += 1;
                assert_eq!(drawn.logprob, logprob(&logits, drawn.token));
            }
            let total: f32 = logits.iter().map(|it| (it / temperature).exp()).sum();
            for (count, logit) in counts.into_iter().zip(logits) {
                let (seen, wanted) = (count as f32 / 20_000.0, (logit / temperature).exp() / total);
                assert!((seen - wanted).abs() < 0.015, "{seen} {wanted} at {temperature}");
            }
        }
    }

    #[test]
    fn only_the_likeliest_are_drawn() {
        let logits = [0.6_f32, 0.1, 0.25, 0.05].map(f32::ln);
        let whole = Sampling::at(1.0, 1);
        let drawn = |how: Sampling| {
            let mut rng = Seed(8).rng();
            (0..2000).map(|_| draw(&logits, &how, &[], &mut rng).token).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(drawn(whole), [0, 1, 2, 3].into());
        assert_eq!(drawn(Sampling { top_k: 2, ..whole }), [0, 2].into());
        assert_eq!(drawn(Sampling { top_p: 0.84, ..whole }), [0, 2].into());
        assert_eq!(drawn(Sampling { top_p: 0.86, ..whole }), [0, 1, 2].into());
        assert_eq!(drawn(Sampling { min_p: 0.15, ..whole }), [0, 1, 2].into());
        assert_eq!(drawn(Sampling { top_p: 0.0, ..whole }), [0].into());
        assert_eq!(drawn(Sampling { top_k: 3, min_p: 0.3, ..whole }), [0, 2].into());
    }

    /// What `how` leaves of `logits`, as probabilities.
    fn left(logits: &[f32], how: &Sampling) -> Vec<f64> {
        let mut left = Vec::new();
        masses(logits, how.temperature, &mut left);
        keep_likeliest(&mut left, how);
        let total: f64 = left.iter().map(|it| f64::from(*it)).sum();
        left.into_iter().map(|it| f64::from(it) / total).collect()
    }

    #[test]
    fn fault_19_each_filter_sees_what_the_one_before_left() {
        let logits = [0.1_f32, 0.2, 0.3, 0.4].map(f32::ln);
        let kept = |logits: &[f32], top_k: u32, top_p: f32, min_p: f32| {
            let left = left(logits, &Sampling { top_k, top_p, min_p, ..Sampling::at(1.0, 1) });
            (0..left.len()).filter(|it| left[*it] > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(kept(&logits, 2, 0.5, 0.0), [3], "3/7 is at most one half");
        assert_eq!(kept(&logits, 2, 0.58, 0.0), [2, 3]);
        assert_eq!(kept(&logits, 3, 0.75, 0.0), [2, 3], "2/9 is at most a quarter");
        assert_eq!(kept(&logits, 0, 0.75, 0.6), [2, 3]);
        assert_eq!(kept(&logits, 4, 0.0, 1.0), [3]);
        let equal = [0.0_f32; 4];
        assert_eq!(kept(&equal, 2, 1.0, 0.0), [0, 1, 2, 3], "which of them would be a matter of chance");
        assert_eq!(kept(&equal, 2, 0.6, 1.0), [1, 2, 3], "the last of equals stay");
        assert_eq!(kept(&equal, 0, 0.0, 0.0), [3]);
    }

    /// The four `LogitsWarper`s of Transformers, one after the other, as they are written there. None where a probability is
    /// so near a threshold that rounding decides.
    fn warped(logits: &[f32], how: &Sampling) -> Option<Vec<f64>> {
        let softmax = |scores: &[f64]| -> Vec<f64> {
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let masses: Vec<f64> = scores.iter().map(|it| (it - largest).exp()).collect();
            masses.iter().map(|it| it / masses.iter().sum::<f64>()).collect()
        };
        let mut is_clear = true;
        let mut at_most = |a: f64, b: f64| {
            is_clear &= (a - b).abs() > 1e-5;
            a <= b
        };
        let mut scores: Vec<f64> = logits.iter().map(|it| f64::from(*it) / f64::from(how.temperature)).collect();
        if how.top_k > 0 {
            let mut falling = scores.clone();
            falling.sort_by(|a, b| b.total_cmp(a));
            let least = falling[(how.top_k as usize).min(scores.len()) - 1];
            scores.iter_mut().filter(|it| **it < least).for_each(|it| *it = f64::NEG_INFINITY);
        }
        if how.top_p < 1.0 {
            let probabilities = softmax(&scores);
            let mut rising: Vec<usize> = (0..scores.len()).collect();
            rising.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let mut sum = 0.0;
            for token in &rising[..rising.len() - 1] {
                sum += probabilities[*token];
                if at_most(sum, 1.0 - f64::from(how.top_p)) {
                    scores[*token] = f64::NEG_INFINITY;
                }
            }
        }
        if how.min_p > 0.0 {
            let probabilities = softmax(&scores);
            let largest = probabilities.iter().copied().fold(0.0, f64::max);
            for (score, probability) in scores.iter_mut().zip(probabilities) {
                if probability < largest && at_most(probability, f64::from(how.min_p) * largest) {
                    *score = f64::NEG_INFINITY;
                }
            }
        }
        is_clear.then(|| softmax(&scores))
    }

    fn some_logits() -> impl Strategy<Value = Vec<f32>> {
        let logit = prop_oneof![(-3..3_i8).prop_map(f32::from), -6.0..6.0_f32];
        prop::collection::vec(logit, 1..40)
    }

    proptest! {
        #[test]
        fn fault_19_filters_are_those_of_transformers(
            logits in some_logits(),
            temperature in 0.3..3.0_f32,
            top_k in prop_oneof![Just(0), 1..50_u32],
            top_p in prop_oneof![Just(1.0), Just(0.0), 0.0..1.0_f32],
            min_p in prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f32],
        ) {
            let how = Sampling { top_k, top_p, min_p, ..Sampling::at(temperature, 1) };
            let wanted = warped(&logits, &how);
            prop_assume!(wanted.is_some());
            for (found, wanted) in left(&logits, &how).into_iter().zip(wanted.unwrap_or_default()) {
                prop_assert!((found - wanted).abs() < 1e-5 && (found > 0.0) == (wanted > 0.0), "{found} {wanted}");
            }
        }
    }

    #[test]
    fn fault_13_logits_that_are_not_finite_show_in_the_log_probability() {
        for damage in [f32::NAN, f32::INFINITY] {
            for n in [1, 5, 64, 3000] {
                let mut logits = vec![0.5_f32; n];
                logits[n / 2] = damage;
                for how in [Sampling::greedy(1), Sampling::at(1.0, 1), Sampling { top_p: 0.9, ..Sampling::at(0.7, 1) }]
                {
                    assert!(!draw(&logits, &how, &[], &mut Seed(1).rng()).logprob.is_finite(), "{damage} in {n}");
                }
            }
        }
    }

    #[test]
    fn what_is_barred_is_not_drawn_however_likely() {
        let logits = [90.0_f32, 1.0, 95.0, 0.0];
        for how in [Sampling::greedy(1), Sampling::at(1.0, 1), Sampling { top_k: 1, ..Sampling::at(1.0, 1) }] {
            let mut rng = Seed(9).rng();
            let drawn: Vec<Sampled> = (0..200).map(|_| draw(&logits, &how, &[0, 2], &mut rng)).collect();
            assert!(drawn.iter().all(|it| [1, 3].contains(&it.token)));
            assert!(drawn.iter().all(|it| it.logprob == logprob(&logits, it.token)), "the model's own");
        }
    }
}
