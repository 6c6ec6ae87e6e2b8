//! Attention of one new token per row against what each row has cached. A row owns its cache, so rows of different
//! lengths share a batch without padding, and finished rows are dropped without copying the others.

use burn::Tensor;
use burn::tensor::TensorData;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::lanes::{COLUMN_TILE, Matrix, ROW_TILE, product, softmax};
use crate::sequence::turn;
use crate::{Heads, Rotary};

/// Rotated keys and values of one row, all layers, with room for a fixed number of positions.
#[derive(Clone, Debug)]
pub struct CachedRow {
    heads: Heads,
    room: usize,
    len: usize,
    key_stride: usize,   // room, rounded up to a tile
    value_stride: usize, // d, rounded up to a tile
    keys: Vec<f32>,      // [layers, K, d, key_stride]: transposed, so that scores are a product with it
    values: Vec<f32>,    // [layers, K, key_stride, value_stride]
}

impl CachedRow {
    /// An empty cache of `n_layers` layers with room for `room` positions.
    pub fn new(n_layers: usize, heads: Heads, room: usize) -> CachedRow {
        let key_stride = room.next_multiple_of(COLUMN_TILE);
        let value_stride = heads.width.next_multiple_of(COLUMN_TILE);
        let keys = vec![0.0; n_layers * heads.n_kv * heads.width * key_stride];
        let values = vec![0.0; n_layers * heads.n_kv * key_stride * value_stride];
        CachedRow { heads, room, len: 0, key_stride, value_stride, keys, values }
    }

    /// Positions cached in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there is room for.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Caches, in `layer`, the keys and values of the positions that follow, one per row of the fused projections `qkv`
    /// [n, (H + 2K) d]; they count from [`CachedRow::advance`] on.
    pub fn store(&mut self, layer: usize, qkv: &[f32], rotary: &Rotary) {
        let Heads { n_query, n_kv, width } = self.heads;
        let mut turned = vec![0.0; width];
        for (offset, qkv) in qkv.chunks_exact(self.heads.fused_width()).enumerate() {
            let position = self.len + offset;
            assert!(position < self.room, "the cache has room for {} positions only", self.room);
            for head in 0..n_kv {
                turn(&qkv[(n_query + head) * width..][..width], &mut turned, rotary.at(position), false);
                let keys = &mut self.keys[(layer * n_kv + head) * width * self.key_stride..];
                for (i, value) in turned.iter().enumerate() {
                    keys[i * self.key_stride + position] = *value;
                }
                let values = &mut self.values[(layer * n_kv + head) * self.key_stride * self.value_stride..];
                let value = &qkv[(n_query + n_kv + head) * width..][..width];
                values[position * self.value_stride..][..width].copy_from_slice(value);
            }
        }
    }

    /// Counts `n` more positions as cached, once every layer has stored them.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// Attention of the newest position, just stored in `layer`: `qkv` [(H + 2K) d] to `out` [H d]. The query heads that
    /// share keys are the rows of two small products.
    #[inline(always)]
    fn attend<S: Simd>(&self, simd: S, layer: usize, qkv: &[f32], rotary: &Rotary, out: &mut [f32]) {
        let Heads { n_query, n_kv, width } = self.heads;
        let n_seen = self.len + 1;
        let (n_shared, columns) = (n_query / n_kv, n_seen.next_multiple_of(COLUMN_TILE));
        let n_rows = n_shared.next_multiple_of(ROW_TILE);
        let mut queries = vec![0.0_f32; n_rows * width];
        let mut scores = vec![0.0_f32; n_rows * columns];
        let mut mixed = vec![0.0_f32; n_rows * self.value_stride];
        for head in 0..n_kv {
            let shared = head * n_shared * width..(head + 1) * n_shared * width;
            for (query, turned) in qkv[shared.clone()].chunks_exact(width).zip(queries.chunks_exact_mut(width)) {
                turn(query, turned, rotary.at(self.len), false);
                turned.iter_mut().for_each(|it| *it *= self.heads.scale());
            }
            let at = (layer * n_kv + head) * width * self.key_stride;
            let keys = Matrix { data: &self.keys[at..at + width * self.key_stride], stride: self.key_stride };
            let queries = Matrix { data: &queries, stride: width };
            product::<S, false>(simd, (&mut scores, columns), (queries, keys), n_rows, |_| columns, |_| 0..width);
            for scores in scores.chunks_exact_mut(columns).take(n_shared) {
                softmax(&mut scores[..n_seen]);
            }
            let at = (layer * n_kv + head) * self.key_stride * self.value_stride;
            let values =
                Matrix { data: &self.values[at..at + self.key_stride * self.value_stride], stride: self.value_stride };
            let probs = Matrix { data: &scores, stride: columns };
            let stride = self.value_stride;
            product::<S, false>(simd, (&mut mixed, stride), (probs, values), n_rows, |_| stride, |_| 0..n_seen);
            for (out, mixed) in out[shared].chunks_exact_mut(width).zip(mixed.chunks_exact(stride)) {
                out.copy_from_slice(&mixed[..width]);
            }
        }
    }
}

/// One row's share of [`cached_attention`].
struct Step<'a> {
    row: &'a mut CachedRow,
    layer: usize,
    qkv: &'a [f32],
    rotary: &'a Rotary,
    out: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.row.store(self.layer, self.qkv, self.rotary);
        self.row.attend(simd, self.layer, self.qkv, self.rotary, self.out);
    }
}

/// Stores one new position per row in `layer` and attends over everything the row has: `qkv` is [R, (H + 2K) d], before
/// rotation; returns [R, H d]. Call [`CachedRow::advance`] after the last layer.
pub fn cached_attention(
    qkv: Tensor<2>,
    rows: &mut [CachedRow],
    layer: usize,
    heads: Heads,
    rotary: &Rotary,
) -> Tensor<2> {
    let device = qkv.device();
    let [n_rows, _] = qkv.dims();
    assert_eq!(n_rows, rows.len(), "one projection per cached row");
    let qkv = qkv.into_data();
    let qkv = qkv.as_slice::<f32>().expect("activations are f32");
    let mut out = vec![0.0_f32; n_rows * heads.out_width()];
    let inputs = qkv.par_chunks(heads.fused_width()).zip(rows);
    out.par_chunks_mut(heads.out_width()).zip(inputs).for_each(|(out, (qkv, row))| {
        crate::lanes::dispatch(Step { row, layer, qkv, rotary, out });
    });
    Tensor::from_data(TensorData::new(out, [n_rows, heads.out_width()]), &device)
}
