//! Attention of one sequence, forward and backward, in buffers that stay in the cache. Per key-value head: rotate, then the
//! causal triangle of scores as blocked products. The backward pass recomputes the probabilities.
//!
//! Buffers have T and d rounded up to the tiles of [`product`](crate::lanes::product), padded with zeros: padded keys get
//! probability zero, padded queries produce rows that are never read.

use pulp::{Simd, WithSimd};

use crate::lanes::{COLUMN_TILE, Matrix, axpy, dot, product, softmax};
use crate::{Heads, Rotary};

/// Attention of one sequence: `qkv` [T, (H + 2K) d] to `out` [T, H d].
pub(crate) struct SequenceForward<'a> {
    pub(crate) heads: Heads,
    pub(crate) rotary: &'a Rotary,
    pub(crate) time: usize,
    pub(crate) qkv: &'a [f32],
    pub(crate) out: &'a mut [f32],
}

/// Its derivative: `grad` [T, H d] to `dqkv` [T, (H + 2K) d].
pub(crate) struct SequenceBackward<'a> {
    pub(crate) heads: Heads,
    pub(crate) rotary: &'a Rotary,
    pub(crate) time: usize,
    pub(crate) qkv: &'a [f32],
    pub(crate) grad: &'a [f32],
    pub(crate) dqkv: &'a mut [f32],
}

/// One head's rows [T, d] inside rows of `stride`, starting at column `start`.
#[derive(Clone, Copy)]
struct HeadRows {
    start: usize,
    stride: usize,
    width: usize,
}

impl HeadRows {
    #[inline(always)]
    fn at(self, position: usize) -> std::ops::Range<usize> {
        let start = position * self.stride + self.start;
        start..start + self.width
    }
}

/// The padded sizes of one head's buffers.
#[derive(Clone, Copy)]
struct Padded {
    time: usize,
    width: usize,
}

impl Padded {
    fn new(time: usize, width: usize) -> Padded {
        Padded { time: time.next_multiple_of(COLUMN_TILE), width: width.next_multiple_of(COLUMN_TILE) }
    }

    fn rows(self) -> Vec<f32> {
        vec![0.0; self.time * self.width]
    }

    fn square(self) -> Vec<f32> {
        vec![0.0; self.time * self.time]
    }

    #[inline(always)]
    fn matrix(self, data: &[f32]) -> Matrix<'_> {
        Matrix { data, stride: self.width }
    }

    #[inline(always)]
    fn triangle(self, data: &[f32]) -> Matrix<'_> {
        Matrix { data, stride: self.time }
    }

    /// Columns of a block of query rows that the causal triangle needs, rounded up.
    #[inline(always)]
    fn keys(self) -> impl Fn(usize) -> usize {
        move |row| (row + 1).next_multiple_of(COLUMN_TILE).min(self.time)
    }
}

/// Turns one head's row by the angle of its position, or back.
#[inline(always)]
pub(crate) fn turn(input: &[f32], out: &mut [f32], (cos, sin): (&[f32], &[f32]), backwards: bool) {
    let half = input.len() / 2;
    let (low, high) = input.split_at(half);
    let (out_low, out_high) = out.split_at_mut(half);
    let sign = if backwards { -1.0 } else { 1.0 };
    for i in 0..half {
        let (cos, sin) = (cos[i], sign * sin[i]);
        out_low[i] = low[i] * cos - high[i] * sin;
        out_high[i] = high[i] * cos + low[i] * sin;
    }
}

#[inline(always)]
fn transpose(rows: &[f32], padded: Padded, out: &mut [f32]) {
    for (position, row) in rows.chunks_exact(padded.width).enumerate() {
        for (i, value) in row.iter().enumerate() {
            out[i * padded.time + position] = *value;
        }
    }
}

/// Scores of all queries against all keys they see, then their softmax: `probs` [T, T], zero above the diagonal.
#[inline(always)]
fn probabilities<S: Simd>(
    simd: S,
    probs: &mut [f32],
    queries: &[f32],
    keys_transposed: &[f32],
    (padded, time, width): (Padded, usize, usize),
) {
    let operands = (padded.matrix(queries), padded.triangle(keys_transposed));
    product::<S, false>(simd, (probs, padded.time), operands, padded.time, padded.keys(), |_| 0..width);
    for (position, row) in probs.chunks_exact_mut(padded.time).take(time).enumerate() {
        let (seen, future) = row.split_at_mut(position + 1);
        softmax(seen);
        future.fill(0.0);
    }
}

impl WithSimd for SequenceForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let SequenceForward { heads, rotary, time, qkv, out } = self;
        let width = heads.width;
        let padded = Padded::new(time, width);
        let [mut queries, mut keys, mut values, mut keys_transposed, mut mixed] = [(); 5].map(|()| padded.rows());
        let mut probs = padded.square();
        for kv_head in 0..heads.n_kv {
            let rows = |index: usize| HeadRows { start: index * width, stride: heads.fused_width(), width };
            let (key_rows, value_rows) = (rows(heads.n_query + kv_head), rows(heads.n_query + heads.n_kv + kv_head));
            for position in 0..time {
                let to = position * padded.width..position * padded.width + width;
                turn(&qkv[key_rows.at(position)], &mut keys[to.clone()], rotary.at(position), false);
                values[to].copy_from_slice(&qkv[value_rows.at(position)]);
            }
            transpose(&keys, padded, &mut keys_transposed);
            let group = heads.n_query / heads.n_kv;
            for head in kv_head * group..(kv_head + 1) * group {
                load_queries(&mut queries, qkv, rows(head), rotary, (padded, time, heads.scale()));
                probabilities(simd, &mut probs, &queries, &keys_transposed, (padded, time, width));
                let operands = (padded.triangle(&probs), padded.matrix(&values));
                let keys = padded.keys();
                product::<S, false>(
                    simd,
                    (&mut mixed, padded.width),
                    operands,
                    time.next_multiple_of(crate::lanes::ROW_TILE),
                    |_| padded.width,
                    |row| 0..keys(row),
                );
                let out_rows = HeadRows { start: head * width, stride: heads.out_width(), width };
                for position in 0..time {
                    out[out_rows.at(position)].copy_from_slice(&mixed[position * padded.width..][..width]);
                }
            }
        }
    }
}

/// Rotated queries times the scale of the scores, [T, d] padded.
#[inline(always)]
fn load_queries(
    queries: &mut [f32],
    qkv: &[f32],
    rows: HeadRows,
    rotary: &Rotary,
    (padded, time, scale): (Padded, usize, f32),
) {
    for position in 0..time {
        let query = &mut queries[position * padded.width..][..rows.width];
        turn(&qkv[rows.at(position)], query, rotary.at(position), false);
        for value in query {
            *value *= scale;
        }
    }
}

/// With P the probabilities, O = P V, scores S = Q Kᵀ (Q already scaled):
/// dV = Pᵀ dO, dP = dO Vᵀ, dS = P (dP - rowsum(P dP)), dQ = scale dS K, dK = dSᵀ Q; then turned back.
impl WithSimd for SequenceBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let SequenceBackward { heads, rotary, time, qkv, grad, dqkv } = self;
        let width = heads.width;
        let padded = Padded::new(time, width);
        let [mut queries, mut keys, mut values, mut transposed] = [(); 4].map(|()| padded.rows());
        let [mut values_transposed, mut d_out, mut turned, mut sum_keys, mut sum_values] =
            [(); 5].map(|()| padded.rows());
        let [mut probs, mut d_scores] = [(); 2].map(|()| padded.square());
        for kv_head in 0..heads.n_kv {
            let rows = |index: usize| HeadRows { start: index * width, stride: heads.fused_width(), width };
            let (key_rows, value_rows) = (rows(heads.n_query + kv_head), rows(heads.n_query + heads.n_kv + kv_head));
            for position in 0..time {
                let to = position * padded.width..position * padded.width + width;
                turn(&qkv[key_rows.at(position)], &mut keys[to.clone()], rotary.at(position), false);
                values[to].copy_from_slice(&qkv[value_rows.at(position)]);
            }
            transpose(&keys, padded, &mut transposed);
            transpose(&values, padded, &mut values_transposed);
            sum_keys.fill(0.0);
            sum_values.fill(0.0);
            let group = heads.n_query / heads.n_kv;
            for head in kv_head * group..(kv_head + 1) * group {
                load_queries(&mut queries, qkv, rows(head), rotary, (padded, time, heads.scale()));
                probabilities(simd, &mut probs, &queries, &transposed, (padded, time, width));
                let out_rows = HeadRows { start: head * width, stride: heads.out_width(), width };
                for position in 0..time {
                    d_out[position * padded.width..][..width].copy_from_slice(&grad[out_rows.at(position)]);
                }

                let operands = (padded.matrix(&d_out), padded.triangle(&values_transposed));
                let all = padded.time;
                product::<S, false>(simd, (&mut d_scores, all), operands, all, padded.keys(), |_| 0..width);
                for (position, (probs, d_scores)) in
                    probs.chunks_exact(all).zip(d_scores.chunks_exact_mut(all)).take(time).enumerate()
                {
                    let (seen, future) = d_scores.split_at_mut(position + 1);
                    let mean = dot(&probs[..=position], seen);
                    for (d_score, prob) in seen.iter_mut().zip(probs) {
                        *d_score = prob * (*d_score - mean);
                    }
                    future.fill(0.0);
                }

                // Sums over queries: row blocks are keys, the inner index is the query, from the block's first key on.
                let padded_time = time.next_multiple_of(crate::lanes::ROW_TILE);
                let operands = (padded.triangle(&probs), padded.matrix(&d_out));
                let to = (&mut turned[..], padded.width);
                product::<S, true>(simd, to, operands, padded_time, |_| padded.width, |row| row..time);
                axpy(1.0, &turned, &mut sum_values);
                let operands = (padded.triangle(&d_scores), padded.matrix(&queries));
                let to = (&mut turned[..], padded.width);
                product::<S, true>(simd, to, operands, padded_time, |_| padded.width, |row| row..time);
                axpy(1.0, &turned, &mut sum_keys);

                let keys_seen = padded.keys();
                let operands = (padded.triangle(&d_scores), padded.matrix(&keys));
                let to = (&mut turned[..], padded.width);
                product::<S, false>(simd, to, operands, padded_time, |_| padded.width, |row| 0..keys_seen(row));
                for position in 0..time {
                    let row = &mut turned[position * padded.width..][..width];
                    for value in row.iter_mut() {
                        *value *= heads.scale();
                    }
                    turn(row, &mut dqkv[rows(head).at(position)], rotary.at(position), true);
                }
            }
            for position in 0..time {
                let from = position * padded.width..position * padded.width + width;
                turn(&sum_keys[from.clone()], &mut dqkv[key_rows.at(position)], rotary.at(position), true);
                dqkv[value_rows.at(position)].copy_from_slice(&sum_values[from]);
            }
        }
    }
}
