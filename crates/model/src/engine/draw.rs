//! One token from one row of logits.

use std::borrow::Cow;
use std::cell::RefCell;

use collimate_kernels::{at_share, highest, logprob, masses};
use collimate_schema::{Sampled, Sampling};
use rand::Rng;

/// Draws a token that is not `barred` from raw `logits`, [V], as `how` says; at temperature 0 the highest, the lowest id
/// among equals. The recorded log-probability is that of the whole distribution at temperature 1, whatever the draw was
/// from. One uniform number per token is used, none when greedy.
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

/// Takes the mass of every token that `top_k`, `top_p` or `min_p` excludes; the likeliest is never excluded, and equals stay
/// or go together.
fn keep_likeliest(masses: &mut [f32], how: &Sampling) {
    let mut least = how.min_p; // the likeliest has mass 1
    let is_cut = how.top_k > 0 && (how.top_k as usize) < masses.len();
    if is_cut || how.top_p < 1.0 {
        let mut sorted = masses.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        if is_cut {
            least = least.max(sorted[how.top_k as usize - 1]);
        }
        if how.top_p < 1.0 {
            let wanted = how.top_p * sorted.iter().sum::<f32>();
            let mut sum = 0.0;
            let reached = sorted.into_iter().find(|mass| {
                sum += mass;
                sum >= wanted
            });
            least = least.max(reached.unwrap_or(0.0));
        }
    }
    if least > 0.0 {
        masses.iter_mut().filter(|mass| **mass < least).for_each(|mass| *mass = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collimate_schema::Seed;

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
