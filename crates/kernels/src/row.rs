//! One row of logits as plain numbers: what sampling needs of it, by the sums that training takes.

use crate::lanes::{exp, max, simd, sum2};
use crate::softmax::Sums;

/// The first of the highest `logits`, [V]; 0 where none is a number.
pub fn highest(logits: &[f32]) -> u32 {
    let highest = simd(
        #[inline(always)]
        || max(logits),
    );
    logits.iter().position(|it| *it == highest).unwrap_or(0) as u32
}

/// Natural-log probability of `token` under the softmax of `logits`, [V]: to the bit what [`head_scores`](crate::head_scores)
/// says of the same row.
pub fn logprob(logits: &[f32], token: u32) -> f32 {
    let norm = simd(
        #[inline(always)]
        || Sums::of(logits).norm(),
    );
    norm.logprob(logits[token as usize])
}

/// Unnormalised probabilities of `logits`, [V], at `temperature` above 0, into `masses`; that of the highest is 1.
pub fn masses(logits: &[f32], temperature: f32, masses: &mut Vec<f32>) {
    masses.resize(logits.len(), 0.0);
    simd(
        #[inline(always)]
        || {
            let (highest, scale) = (max(logits), temperature.recip());
            for (mass, logit) in masses.iter_mut().zip(logits) {
                *mass = exp((logit - highest) * scale);
            }
        },
    );
}

/// The index at which the sum of `masses`, none of which is negative, first exceeds the share `at`, in 0..1, of all; where
/// rounding leaves none, nothing.
pub fn at_share(masses: &[f32], at: f32) -> Option<usize> {
    /// Masses whose sum is skipped at once.
    const RUN: usize = 256;
    simd(
        #[inline(always)]
        || {
            let sum = |run: &[f32]| sum2(run, run, |mass, _| mass);
            let mut left = at * masses.chunks(RUN).map(sum).sum::<f32>();
            for (index, run) in masses.chunks(RUN).enumerate() {
                let of_run = sum(run);
                if left < of_run {
                    let within = run.iter().position(|mass| {
                        left -= mass;
                        left < 0.0
                    });
                    // Added one by one, they may come to less than their sum.
                    let last = || run.iter().rposition(|it| *it > 0.0);
                    return within.or_else(last).map(|it| index * RUN + it);
                }
                left -= of_run;
            }
            None
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_falls_where_the_masses_add_up_to_it() {
        let masses: Vec<f32> = (0..1000_u32).map(|it| if it % 3 == 0 { 0.0 } else { (it * it % 17) as f32 }).collect();
        let total: f64 = masses.iter().map(|it| f64::from(*it)).sum();
        for step in 0..500 {
            let at = step as f32 / 500.0;
            let index = at_share(&masses, at).expect("some mass");
            let before: f64 = masses[..index].iter().map(|it| f64::from(*it)).sum();
            let (from, to) = (before / total, (before + f64::from(masses[index])) / total);
            assert!(masses[index] > 0.0 && from - 1e-6 <= at.into() && f64::from(at) <= to + 1e-6, "{at}: {index}");
        }
        assert_eq!(at_share(&[0.0, 0.0, 2.0, 0.0], 0.0), Some(2));
        assert_eq!(at_share(&[0.0, 0.0, 2.0, 0.0], 1.0_f32.next_down()), Some(2));
        assert_eq!((at_share(&[], 0.5), at_share(&[0.0; 300], 0.5), at_share(&[f32::NAN], 0.5)), (None, None, None));
    }
}
