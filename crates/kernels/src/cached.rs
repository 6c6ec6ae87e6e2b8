//! Attention of one new token per row against what each row has cached. A row owns its cache, so rows of different
//! lengths share a batch without padding, and finished rows are dropped without copying the others.

use burn::Tensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use crate::lanes::{axpy, simd, softmax};
use crate::sequence::turn;
use crate::{Heads, Rotary};

/// Rotated keys and values of one row, all layers, with room for a fixed number of positions.
#[derive(Clone, Debug)]
pub struct CachedRow {
    heads: Heads,
    room: usize,
    len: usize,
    keys: Vec<f32>,   // [layers, K, d, room]: transposed, so that scores are sums of rows
    values: Vec<f32>, // [layers, K, room, d]
}

impl CachedRow {
    /// An empty cache of `n_layers` layers with room for `room` positions.
    pub fn new(n_layers: usize, heads: Heads, room: usize) -> CachedRow {
        let size = n_layers * heads.n_kv * heads.width * room;
        CachedRow { heads, room, len: 0, keys: vec![0.0; size], values: vec![0.0; size] }
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
                let start = (layer * n_kv + head) * width * self.room;
                for (i, value) in turned.iter().enumerate() {
                    self.keys[start + i * self.room + position] = *value;
                }
                let value = &qkv[(n_query + n_kv + head) * width..][..width];
                self.values[start + position * width..][..width].copy_from_slice(value);
            }
        }
    }

    /// Counts `n` more positions as cached, once every layer has stored them.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// Attention of the newest position, just stored in `layer`: `qkv` [(H + 2K) d] to `out` [H d].
    #[inline(always)]
    fn attend(&self, layer: usize, qkv: &[f32], rotary: &Rotary, out: &mut [f32]) {
        let Heads { n_query, n_kv, width } = self.heads;
        let n_seen = self.len + 1;
        let (mut query, mut scores) = (vec![0.0_f32; width], vec![0.0_f32; n_seen]);
        for (head, out) in out.chunks_exact_mut(width).enumerate() {
            turn(&qkv[head * width..][..width], &mut query, rotary.at(self.len), false);
            let start = (layer * n_kv + head / (n_query / n_kv)) * width * self.room;
            scores.fill(0.0);
            for (i, value) in query.iter().enumerate() {
                axpy(value * self.heads.scale(), &self.keys[start + i * self.room..][..n_seen], &mut scores);
            }
            softmax(&mut scores);
            out.fill(0.0);
            for (position, prob) in scores.iter().enumerate() {
                axpy(*prob, &self.values[start + position * width..][..width], out);
            }
        }
    }
}

/// Stores one new position per row in `layer` and attends over everything the row has: `qkv` is [R, (H + 2K) d], before
/// rotation; returns [R, H d]. Call [`CachedRow::advance`] after the last layer.
pub fn cached_attention(qkv: Tensor<2>, rows: &mut [CachedRow], layer: usize, heads: Heads, rotary: &Rotary) -> Tensor<2> {
    let device = qkv.device();
    let [n_rows, _] = qkv.dims();
    assert_eq!(n_rows, rows.len(), "one projection per cached row");
    let qkv = qkv.into_data();
    let qkv = qkv.as_slice::<f32>().expect("activations are f32");
    let mut out = vec![0.0_f32; n_rows * heads.out_width()];
    let inputs = qkv.par_chunks(heads.fused_width()).zip(rows);
    out.par_chunks_mut(heads.out_width()).zip(inputs).for_each(|(out, (qkv, row))| {
        simd(
            #[inline(always)]
            || {
                row.store(layer, qkv, rotary);
                row.attend(layer, qkv, rotary, out);
            },
        );
    });
    Tensor::from_data(TensorData::new(out, [n_rows, heads.out_width()]), &device)
}
