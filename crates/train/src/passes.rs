//! The order of examples.

use collimate_schema::Seed;
use rand::seq::SliceRandom;

/// Which of `n_examples` step `step` learns from if every step takes `n`: pass after pass, each in its own order. No other step
/// has to be drawn for it.
pub fn draw(n_examples: usize, step: usize, n: usize, seed: Seed) -> Vec<usize> {
    if n_examples == 0 {
        return Vec::new();
    }
    let (start, end) = (step * n, (step + 1) * n);
    let order = |pass: usize| {
        let mut order: Vec<usize> = (0..n_examples).collect();
        order.shuffle(&mut seed.child(&pass.to_string()).rng());
        order
    };
    let passes = start / n_examples..end.div_ceil(n_examples);
    passes.flat_map(order).skip(start % n_examples).take(n).collect()
}
