//! Rotary angles for sequences longer than those of pretraining: how fast each pair of a head turns, by the position.

use std::f64::consts::TAU;

/// How the speeds are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// All are divided by `factor`: positions lie closer together.
    Linear {
        /// By how much.
        factor: f64,
    },
    /// Pairs that turn seldom within `original` positions are divided by `factor`, those that turn often stay (Llama 3.1).
    Llama3 {
        /// By how much.
        factor: f64,
        /// Turns up to which a pair counts as slow.
        low: f64,
        /// Turns from which it counts as fast.
        high: f64,
        /// Positions of pretraining.
        original: f64,
    },
    /// The same with a ramp over the pairs, and scores multiplied by `attention` squared (YaRN).
    Yarn {
        /// By how much.
        factor: f64,
        /// Turns from which a pair counts as fast.
        fast: f64,
        /// Turns up to which it counts as slow.
        slow: f64,
        /// Positions of pretraining.
        original: f64,
        /// What cosines and sines are multiplied by.
        attention: f64,
        /// Whether the ramp begins and ends at whole pairs.
        truncates: bool,
    },
}

impl RopeScaling {
    /// The first of its numbers that cannot be computed with: by the name that `config.json` has for it, and what it may be.
    pub(super) fn outside(self) -> Option<(&'static str, f64, &'static str)> {
        let within = |field, found, range: std::ops::RangeInclusive<f64>, expected| {
            (!range.contains(&found)).then_some((field, found, expected))
        };
        let factor = |it| within("factor", it, 1.0..=1e6, "a number from 1 to 1e6");
        let original = |it| within("original_max_position_embeddings", it, 1.0..=1e9, "a number from 1 to 1e9");
        // Turns up to which a pair is slow and from which it is fast, by the name of the first.
        let turns = |field, slow: f64, fast: f64| {
            let is_ramp = slow > 0.0 && slow < fast && fast <= 1e6;
            (!is_ramp).then_some((field, slow, "a positive number below its counterpart"))
        };
        match self {
            RopeScaling::None => None,
            RopeScaling::Linear { factor: by } => factor(by),
            RopeScaling::Llama3 { factor: by, low, high, original: positions } => {
                factor(by).or(original(positions)).or(turns("low_freq_factor", low, high))
            }
            RopeScaling::Yarn { factor: by, fast, slow, original: positions, attention, .. } => {
                let attention = within("attention_factor", attention, 1e-3..=1e3, "a number from 0.001 to 1000");
                factor(by).or(original(positions)).or(attention).or(turns("beta_slow", slow, fast))
            }
        }
    }

    /// How far each pair of a head of `width` turns from one position to the next, radians, [d/2].
    pub(crate) fn speeds(self, width: usize, theta: f64) -> Vec<f64> {
        let plain = |pair: usize| theta.powf(-2.0 * pair as f64 / width as f64);
        let all = 0..width / 2;
        match self {
            RopeScaling::None => all.map(plain).collect(),
            RopeScaling::Linear { factor } => all.map(|pair| plain(pair) / factor).collect(),
            RopeScaling::Llama3 { factor, low, high, original } => all
                .map(|pair| {
                    let turns = original * plain(pair) / TAU;
                    let fast = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    plain(pair) * (fast + (1.0 - fast) / factor)
                })
                .collect(),
            RopeScaling::Yarn { factor, fast, slow, original, truncates, .. } => {
                // The pair, not always a whole one, that turns so many times within the original positions.
                let turning = |n: f64| width as f64 * (original / (n * TAU)).ln() / (2.0 * theta.ln());
                let (mut from, mut to) = (turning(fast), turning(slow));
                if truncates {
                    (from, to) = (from.floor(), to.ceil());
                }
                let (from, to) = (from.max(0.0), to.min(width as f64 - 1.0));
                let length = if to == from { 1e-3 } else { to - from };
                all.map(|pair| {
                    let slow = ((pair as f64 - from) / length).clamp(0.0, 1.0);
                    plain(pair) * (1.0 - slow + slow / factor)
                })
                .collect()
            }
        }
    }

    /// What cosines and sines are multiplied by.
    pub(crate) fn magnitude(self) -> f64 {
        match self {
            RopeScaling::Yarn { attention, .. } => attention,
            _ => 1.0,
        }
    }
}
