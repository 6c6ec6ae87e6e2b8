//! Attention of one key-value head of one sequence and the queries it serves, forward and backward, in buffers that stay in
//! the cache: rotate, then the causal triangle of scores, [`BLOCK`] queries at a time, so that memory grows with T and not
//! with its square. The backward pass recomputes the probabilities.
//!
//! Buffers have T and d rounded up to the tiles of [`product`](crate::lanes::product), padded with zeros: padded keys get
//! probability zero, padded queries produce rows that are never read.

mod tiled;

use pulp::{Simd, WithSimd};

use crate::heads::Heads;
use crate::lanes::{COLUMN_TILE, Matrix, ROW_TILE, axpy, dot, product, softmax};
use crate::rotary::Rotary;

/// Queries whose scores are in memory together; a multiple of [`COLUMN_TILE`].
const BLOCK: usize = 64;

/// A key-value head of one sequence, with the H / K query heads it serves.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) heads: Heads,
    pub(crate) kv_head: usize,
    pub(crate) rotary: &'a Rotary,
    /// The sequence's projections, [T, (H + 2K) d].
    pub(crate) qkv: &'a [f32],
}

impl Group<'_> {
    /// T.
    fn time(&self) -> usize {
        self.qkv.len() / self.heads.fused_width()
    }

    /// Query heads.
    fn n_query(&self) -> usize {
        self.heads.n_query / self.heads.n_kv
    }

    /// The projection's rows of the group's query head `index`, its keys, or its values.
    fn rows(&self, index: Part) -> HeadRows {
        let [queries, keys, values] = self.heads.places(self.kv_head).map(|it| it.start);
        let start = match index {
            Part::Query(head) => queries + head * self.heads.width,
            Part::Key => keys,
            Part::Value => values,
        };
        HeadRows { start, stride: self.heads.fused_width(), width: self.heads.width }
    }

    /// Rotated keys and the values, [T, d] padded.
    #[inline(always)]
    fn load(&self, keys: &mut [f32], values: &mut [f32], padded: Padded) {
        let (key_rows, value_rows, width) = (self.rows(Part::Key), self.rows(Part::Value), self.heads.width);
        for position in 0..self.time() {
            let to = position * padded.width..position * padded.width + width;
            turn(&self.qkv[key_rows.at(position)], &mut keys[to.clone()], self.rotary.at(position), false);
            values[to].copy_from_slice(&self.qkv[value_rows.at(position)]);
        }
    }
}

/// What the columns of a projection are.
#[derive(Clone, Copy)]
enum Part {
    Query(usize),
    Key,
    Value,
}

/// Attention of a group: [T, (H / K) d].
pub(crate) struct Forward<'a>(pub(crate) Group<'a>);

/// Its derivative by the projections: for the sequence's `grad` [T, H d], of its queries, keys and values side by side,
/// [T, (H / K + 2) d].
pub(crate) struct Derivative<'a> {
    pub(crate) group: Group<'a>,
    pub(crate) grad: &'a [f32],
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

    fn block(self) -> Vec<f32> {
        vec![0.0; BLOCK * self.width]
    }

    fn block_of_scores(self) -> Vec<f32> {
        vec![0.0; BLOCK * self.time]
    }

    #[inline(always)]
    fn matrix(self, data: &[f32]) -> Matrix<'_> {
        Matrix { data, stride: self.width }
    }

    #[inline(always)]
    fn triangle(self, data: &[f32]) -> Matrix<'_> {
        Matrix { data, stride: self.time }
    }

    /// Keys that the queries from `start + row` to the end of their tile see, rounded up.
    #[inline(always)]
    fn keys(self, start: usize) -> impl Fn(usize) -> usize {
        move |row| (start + row + 1).next_multiple_of(COLUMN_TILE).min(self.time)
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

/// Scores of the queries from position `start` on against all keys they see, then their softmax: `probs` [BLOCK, T], zero
/// above the diagonal as far as it is ever read.
#[inline(always)]
fn probabilities<S: Simd>(
    simd: S,
    probs: &mut [f32],
    queries: &[f32],
    keys_transposed: &[f32],
    (start, n_queries, width): (usize, usize, usize),
    padded: Padded,
) {
    let operands = (padded.matrix(queries), padded.triangle(keys_transposed));
    let n_rows = n_queries.next_multiple_of(COLUMN_TILE);
    product::<S, false>(simd, (probs, padded.time), operands, n_rows, padded.keys(start), |_| 0..width);
    for (row, probs) in probs.chunks_exact_mut(padded.time).take(n_queries).enumerate() {
        let (seen, future) = probs.split_at_mut(start + row + 1);
        softmax(seen);
        let tile = padded.keys(start)(row) - seen.len();
        future[..tile].fill(0.0);
    }
}

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Forward(group) = self;
        let (time, width, stride) = (group.time(), group.heads.width, group.n_query() * group.heads.width);
        let padded = Padded::new(time, width);
        let mut out = vec![0.0; time * stride];
        let [mut keys, mut values, mut keys_transposed] = [(); 3].map(|()| padded.rows());
        let [mut queries, mut mixed] = [(); 2].map(|()| padded.block());
        let mut probs = padded.block_of_scores();
        group.load(&mut keys, &mut values, padded);
        transpose(&keys, padded, &mut keys_transposed);
        for head in 0..group.n_query() {
            for start in (0..time).step_by(BLOCK) {
                let n_queries = BLOCK.min(time - start);
                load_queries(&mut queries, &group, head, (start, n_queries));
                let sizes = (start, n_queries, width);
                probabilities(simd, &mut probs, &queries, &keys_transposed, sizes, padded);
                let (operands, seen) = ((padded.triangle(&probs), padded.matrix(&values)), padded.keys(start));
                let to = (&mut mixed[..], padded.width);
                let n_rows = n_queries.next_multiple_of(ROW_TILE);
                product::<S, false>(simd, to, operands, n_rows, |_| padded.width, |row| 0..seen(row));
                let out_rows = HeadRows { start: head * width, stride, width };
                for (row, mixed) in mixed.chunks_exact(padded.width).take(n_queries).enumerate() {
                    out[out_rows.at(start + row)].copy_from_slice(&mixed[..width]);
                }
            }
        }
        out
    }
}

/// Rotated queries of one head from position `start` on times the scale of the scores, [BLOCK, d] padded.
#[inline(always)]
fn load_queries(queries: &mut [f32], group: &Group<'_>, head: usize, (start, n_queries): (usize, usize)) {
    let (rows, scale, stride) = (group.rows(Part::Query(head)), group.heads.scale(), queries.len() / BLOCK);
    for (row, query) in queries.chunks_exact_mut(stride).take(n_queries).enumerate() {
        let query = &mut query[..rows.width];
        turn(&group.qkv[rows.at(start + row)], query, group.rotary.at(start + row), false);
        for value in query {
            *value *= scale;
        }
    }
}

/// With P the probabilities, O = P V, scores S = Q Kᵀ (Q already scaled):
/// dV = Pᵀ dO, dP = dO Vᵀ, dS = P (dP - rowsum(P dP)), dQ = scale dS K, dK = dSᵀ Q; then turned back.
impl WithSimd for Derivative<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Derivative { group, grad } = self;
        let (heads, rotary, n_query, time) = (group.heads, group.rotary, group.n_query(), group.time());
        let (width, stride) = (heads.width, (n_query + 2) * heads.width);
        let padded = Padded::new(time, width);
        let mut out = vec![0.0; time * stride];
        let out_rows = |index: usize| HeadRows { start: index * width, stride, width };
        let [mut keys, mut values, mut transposed, mut values_transposed] = [(); 4].map(|()| padded.rows());
        let [mut part, mut sum_keys, mut sum_values] = [(); 3].map(|()| padded.rows());
        let [mut queries, mut d_out, mut d_queries] = [(); 3].map(|()| padded.block());
        let [mut probs, mut d_scores] = [(); 2].map(|()| padded.block_of_scores());
        group.load(&mut keys, &mut values, padded);
        transpose(&keys, padded, &mut transposed);
        transpose(&values, padded, &mut values_transposed);
        let blocks = (0..time).step_by(BLOCK).map(|start| (start, BLOCK.min(time - start)));
        for (head, (start, n_queries)) in (0..n_query).flat_map(|head| blocks.clone().map(move |it| (head, it))) {
            load_queries(&mut queries, &group, head, (start, n_queries));
            probabilities(simd, &mut probs, &queries, &transposed, (start, n_queries, width), padded);
            let first = heads.places(group.kv_head)[0].start + head * width;
            let grad_rows = HeadRows { start: first, stride: heads.out_width(), width };
            for (row, d_out) in d_out.chunks_exact_mut(padded.width).take(n_queries).enumerate() {
                d_out[..width].copy_from_slice(&grad[grad_rows.at(start + row)]);
            }

            let n_rows = n_queries.next_multiple_of(COLUMN_TILE);
            let operands = (padded.matrix(&d_out), padded.triangle(&values_transposed));
            let to = (&mut d_scores[..], padded.time);
            product::<S, false>(simd, to, operands, n_rows, padded.keys(start), |_| 0..width);
            let both = probs.chunks_exact(padded.time).zip(d_scores.chunks_exact_mut(padded.time));
            for (row, (probs, d_scores)) in both.take(n_queries).enumerate() {
                let (seen, future) = d_scores.split_at_mut(start + row + 1);
                let mean = dot(&probs[..seen.len()], seen);
                for (d_score, prob) in seen.iter_mut().zip(probs) {
                    *d_score = prob * (*d_score - mean);
                }
                let tile = padded.keys(start)(row) - seen.len();
                future[..tile].fill(0.0);
            }

            // Sums over queries: rows are keys, the inner index is the query, from the first that sees the key on.
            let n_keys = padded.keys(start)(n_queries - 1);
            let part_of = n_keys * padded.width;
            let seeing = |key: usize| key.saturating_sub(start)..n_queries;
            let operands = (padded.triangle(&probs), padded.matrix(&d_out));
            product::<S, true>(simd, (&mut part, padded.width), operands, n_keys, |_| padded.width, seeing);
            axpy(1.0, &part[..part_of], &mut sum_values[..part_of]);
            let operands = (padded.triangle(&d_scores), padded.matrix(&queries));
            product::<S, true>(simd, (&mut part, padded.width), operands, n_keys, |_| padded.width, seeing);
            axpy(1.0, &part[..part_of], &mut sum_keys[..part_of]);

            let (operands, seen) = ((padded.triangle(&d_scores), padded.matrix(&keys)), padded.keys(start));
            let to = (&mut d_queries[..], padded.width);
            product::<S, false>(simd, to, operands, n_rows, |_| padded.width, |row| 0..seen(row));
            for (row, d_query) in d_queries.chunks_exact_mut(padded.width).take(n_queries).enumerate() {
                let d_query = &mut d_query[..width];
                for value in d_query.iter_mut() {
                    *value *= heads.scale();
                }
                turn(d_query, &mut out[out_rows(head).at(start + row)], rotary.at(start + row), true);
            }
        }
        for position in 0..time {
            let from = position * padded.width..position * padded.width + width;
            turn(&sum_keys[from.clone()], &mut out[out_rows(n_query).at(position)], rotary.at(position), true);
            out[out_rows(n_query + 1).at(position)].copy_from_slice(&sum_values[from]);
        }
        out
    }
}
