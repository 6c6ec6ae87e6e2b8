//! The attention of some new positions of a sequence, for the query heads that share a key-value head.

use pulp::{Simd, WithSimd};

use super::blocks::{BLOCK, CachedRow};
use crate::amx::Tile;
use crate::lanes::{COLUMN_TILE, fetch, softmax};
use crate::rotary::Rotary;
use crate::sequence::turn;

/// The query heads of a tile's positions that share one key-value head.
pub(super) struct Attend<'a> {
    pub(super) row: &'a CachedRow,
    pub(super) layer: usize,
    pub(super) head: usize,
    /// Positions of the sequence before the tile's first.
    pub(super) before: usize,
    pub(super) qkv: &'a [f32],
    pub(super) rotary: &'a Rotary,
    pub(super) out: &'a mut [f32], // [positions, H / K, d]
    pub(super) scratch: &'a mut Scratch,
    /// The sequence that is likely attended next.
    pub(super) next: Option<&'a CachedRow>,
}

/// Memory that is used again.
#[derive(Default)]
pub(super) struct Scratch {
    /// Of a tile, [positions, H / K, d].
    pub(super) queries: Vec<f32>,
    pub(super) scores: Vec<f32>,
    /// A left operand, and sums.
    pub(super) left: Vec<Tile>,
    pub(super) mixed: Vec<f32>,
}

impl Attend<'_> {
    /// The tile's queries, rotated, times the scale of the scores.
    #[inline(always)]
    pub(super) fn load(&self, queries: &mut Vec<f32>) {
        let (heads, n_shared) = (self.row.heads, self.row.heads.n_query / self.row.heads.n_kv);
        let positions = self.qkv.chunks_exact(heads.fused_width());
        queries.resize(positions.len() * n_shared * heads.width, 0.0);
        let mut turned = queries.chunks_exact_mut(heads.width);
        for (offset, qkv) in positions.enumerate() {
            for query in qkv[self.head * n_shared * heads.width..][..n_shared * heads.width].chunks_exact(heads.width) {
                let turned = turned.next().expect("one per query");
                turn(query, turned, self.rotary.at(self.before + offset), false);
                turned.iter_mut().for_each(|it| *it *= heads.scale());
            }
        }
    }
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (mut scratch, heads, stride) = (std::mem::take(self.scratch), self.row.heads, self.row.value_stride());
        let Scratch { queries, scores, .. } = &mut scratch;
        self.load(queries);
        let Attend { row, layer, head, before, qkv, out, next, scratch: kept, .. } = self;
        let (width, n_shared) = (heads.width, heads.n_query / heads.n_kv);
        let n_seen = before + qkv.len() / heads.fused_width(); // by the tile's last
        let n_rows = queries.len() / width;
        let columns = n_seen.next_multiple_of(BLOCK);
        scores.resize(n_rows * columns, 0.0);
        let blocks = &row.blocks()[..columns / BLOCK];
        let keys_at = (layer * heads.n_kv + head) * width * BLOCK;
        let keys = |at: usize| &blocks[at].whole().keys[keys_at..][..width * BLOCK];
        let fetch_keys = |at: usize| {
            if at < blocks.len() {
                fetch(keys(at));
            }
        };
        let mut index = 0;
        while index < blocks.len() {
            let pair = [keys(index), keys((index + 1).min(blocks.len() - 1))];
            fetch_keys(index + 2);
            fetch_keys(index + 3);
            fetch(&blocks[index].whole().values[(layer * heads.n_kv + head) * BLOCK * stride..][..BLOCK * stride]);
            let n_blocks = if n_rows < 4 { pair.len().min(blocks.len() - index) } else { 1 };
            let mut at = 0;
            while at < n_rows {
                let (queries, out) = (&queries[at * width..], &mut scores[at * columns + index * BLOCK..]);
                let n = if n_rows - at >= 4 { 4 } else { 1 };
                match (n, n_blocks, S::F32_LANES) {
                    (4, ..) => dots::<S, 4, 1, 2>(simd, queries, [pair[0]], out, columns),
                    // A block's keys in the order in which they lie.
                    (_, 2, 8) => dots::<S, 1, 2, 4>(simd, queries, pair, out, columns),
                    (_, _, 8) => dots::<S, 1, 1, 4>(simd, queries, [pair[0]], out, columns),
                    (_, 2, _) => dots::<S, 1, 2, 2>(simd, queries, pair, out, columns),
                    _ => dots::<S, 1, 1, 2>(simd, queries, [pair[0]], out, columns),
                }
                at += n;
            }
            index += n_blocks;
        }
        if let Some(row) = next {
            row.blocks().iter().take(2).for_each(|it| fetch(&it.whole().keys[keys_at..][..width * BLOCK]));
        }
        for (index, scores) in scores.chunks_exact_mut(columns).take(n_rows).enumerate() {
            let (seen, future) = scores.split_at_mut(before + index / n_shared + 1);
            softmax(seen);
            future.fill(0.0);
        }
        let values = blocks
            .iter()
            .map(|it| &it.whole().values[(layer * heads.n_kv + head) * BLOCK * stride..][..BLOCK * stride]);
        let mut at = 0;
        while at < n_rows {
            let (probs, out) = (&scores[at * columns..], &mut out[at * width..]);
            let step = if at + 4 <= n_rows { 4 } else { 1 };
            let mut column = 0;
            while column < width {
                let place = (columns, stride, column, width);
                let values = values.clone();
                column += match (step, (stride - column) / S::F32_LANES) {
                    (4, 2..) => mix::<S, 4, 2>(simd, probs, values, out, place),
                    (4, _) => mix::<S, 4, 1>(simd, probs, values, out, place),
                    (_, 8..) if S::F32_LANES == 8 => mix::<S, 1, 8>(simd, probs, values, out, place),
                    (_, 4..) => mix::<S, 1, 4>(simd, probs, values, out, place),
                    (_, 2..) => mix::<S, 1, 2>(simd, probs, values, out, place),
                    _ => mix::<S, 1, 1>(simd, probs, values, out, place),
                };
            }
            at += step;
        }
        *kept = scratch;
    }
}

/// `R` rows of scores against `B` blocks that follow each other, `V` vectors of each at a time: `queries` [R, d], `keys`
/// [d, BLOCK] each.
#[inline(always)]
fn dots<S: Simd, const R: usize, const B: usize, const V: usize>(
    simd: S,
    queries: &[f32],
    keys: [&[f32]; B],
    out: &mut [f32],
    stride: usize,
) {
    let width = keys[0].len() / BLOCK;
    for strip in (0..BLOCK).step_by(V * S::F32_LANES) {
        let mut sums = [[[simd.splat_f32s(0.0); V]; B]; R];
        for k in 0..width {
            let keys = keys.map(|it| S::as_simd_f32s(&it[k * BLOCK + strip..][..V * S::F32_LANES]).0);
            for (row, sums) in sums.iter_mut().enumerate() {
                let query = simd.splat_f32s(queries[row * width + k]);
                for (sums, keys) in sums.iter_mut().zip(keys) {
                    for (sum, key) in sums.iter_mut().zip(keys) {
                        *sum = simd.mul_add_f32s(query, *key, *sum);
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (block, sums) in sums.iter().enumerate() {
                let at = row * stride + block * BLOCK + strip;
                S::as_mut_simd_f32s(&mut out[at..at + V * S::F32_LANES]).0.copy_from_slice(sums);
            }
        }
    }
}

/// `R` rows of `V` vectors of mixed values, from column `column` on: `probs` [R, columns], `values` [BLOCK, stride] each, `out`
/// [R, d]. Returns how many columns that is.
#[inline(always)]
fn mix<'a, S: Simd, const R: usize, const V: usize>(
    simd: S,
    probs: &[f32],
    values: impl Iterator<Item = &'a [f32]>,
    out: &mut [f32],
    (columns, stride, column, width): (usize, usize, usize, usize),
) -> usize {
    let n = V * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (index, values) in values.enumerate() {
        let probs: [&[f32]; R] = std::array::from_fn(|row| &probs[row * columns + index * BLOCK..][..BLOCK]);
        for at in 0..BLOCK {
            let (values, _) = S::as_simd_f32s(&values[at * stride + column..][..n]);
            for (sums, probs) in sums.iter_mut().zip(probs) {
                let prob = simd.splat_f32s(probs[at]);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = simd.mul_add_f32s(prob, *value, *sum);
                }
            }
        }
    }
    let kept = n.min(width - column);
    let mut edge = [0.0_f32; 4 * COLUMN_TILE];
    for (row, sums) in sums.iter().enumerate() {
        S::as_mut_simd_f32s(&mut edge[..n]).0.copy_from_slice(sums);
        out[row * width + column..][..kept].copy_from_slice(&edge[..kept]);
    }
    n
}
