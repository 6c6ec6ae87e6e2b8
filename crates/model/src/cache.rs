//! The key-value cache of a batch of rows, each of its own length.

use burn::Tensor;
use collimate_kernels::{CachedRow, Heads, Rotary};

/// Keys and values of every layer, row by row. Room is allocated once; rows are dropped without copying the others.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    rows: Vec<CachedRow>,
}

impl Cache {
    pub(crate) fn new(n_layers: usize, heads: Heads, rooms: impl Iterator<Item = usize>) -> Cache {
        Cache { rows: rooms.map(|room| CachedRow::new(n_layers, heads, room)).collect() }
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Positions cached in each row.
    pub fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(CachedRow::len).collect()
    }

    /// The rows `indices`, in that order; a row may be repeated (n samples of one prompt) or left out (finished). A row's
    /// last mention takes it over, the others copy it.
    pub fn select(self, indices: &[usize]) -> Cache {
        let mut mentions = vec![0_usize; self.rows.len()];
        for index in indices {
            mentions[*index] += 1;
        }
        let mut rows: Vec<Option<CachedRow>> = self.rows.into_iter().map(Some).collect();
        let take = |index: &usize| {
            mentions[*index] -= 1;
            let row = if mentions[*index] == 0 { rows[*index].take() } else { rows[*index].clone() };
            row.expect("a row is there until its last mention")
        };
        Cache { rows: indices.iter().map(take).collect() }
    }

    /// Puts the rows of `other` after these.
    pub fn append(&mut self, other: Cache) {
        self.rows.extend(other.rows);
    }

    /// Stores, in `layer`, the first `lengths[b]` of the `time` positions of each row's projections [B*T, (H + 2K) d].
    pub(crate) fn store(&mut self, layer: usize, qkv: &Tensor<2>, lengths: &[usize], time: usize, rotary: &Rotary) {
        let width = qkv.dims()[1];
        let qkv = qkv.to_data();
        let qkv = qkv.as_slice::<f32>().expect("activations are f32");
        for ((row, qkv), length) in self.rows.iter_mut().zip(qkv.chunks_exact(time * width)).zip(lengths) {
            row.store(layer, &qkv[..length * width], rotary);
        }
    }

    pub(crate) fn rows(&mut self) -> &mut [CachedRow] {
        &mut self.rows
    }

    pub(crate) fn advance(&mut self, by: &[usize]) {
        for (row, by) in self.rows.iter_mut().zip(by) {
            row.advance(*by);
        }
    }
}
