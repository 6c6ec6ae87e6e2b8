//! Rotary position tables in Transformers' rotate-half convention: pair (i, i + d/2) turns by `position * theta^(-2i/d)`.

use std::sync::Arc;

use rayon::prelude::*;

/// Cosines and sines of every position up to a context length. Clones share them.
#[derive(Clone, Debug)]
pub struct Rotary {
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    half: usize,
}

impl Rotary {
    /// Tables for `n_positions` positions of heads of `width` (even), base angle `theta`.
    pub fn new(n_positions: usize, width: usize, theta: f64) -> Rotary {
        let speeds: Vec<f64> = (0..width / 2).map(|pair| theta.powf(-2.0 * pair as f64 / width as f64)).collect();
        Rotary::with_speeds(n_positions, &speeds, 1.0)
    }

    /// Tables for `n_positions` positions of heads whose pairs turn by `speeds` [d/2] from one to the next, radians; cosines and
    /// sines times `magnitude`.
    pub fn with_speeds(n_positions: usize, speeds: &[f64], magnitude: f64) -> Rotary {
        let half = speeds.len();
        let of = |wave: fn(f64) -> f64| {
            let at = |index: usize| (wave((index / half) as f64 * speeds[index % half]) * magnitude) as f32;
            (0..n_positions * half).into_par_iter().map(at).collect::<Vec<f32>>().into()
        };
        Rotary { cos: of(f64::cos), sin: of(f64::sin), half }
    }

    /// Cosines, [positions, d/2], row by row.
    pub fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// Sines, [positions, d/2], row by row.
    pub fn sin(&self) -> &[f32] {
        &self.sin
    }

    /// Positions the tables cover.
    pub fn n_positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Cosines and sines of one position, [d/2] each.
    #[inline(always)]
    pub(crate) fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}
