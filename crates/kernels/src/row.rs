//! One row of logits as plain numbers: what sampling needs of it, by the sums that training takes.

use crate::lanes::{exp, max, simd};
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
