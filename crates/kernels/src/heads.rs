//! Which columns of attention's input and output belong to which head.

use std::ops::Range;

/// How a projection [.., (H + 2K) d] divides into heads: queries, then keys, then values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// H, a multiple of K.
    pub n_query: usize,
    /// K; each serves H / K query heads.
    pub n_kv: usize,
    /// d, even.
    pub width: usize,
}

impl Heads {
    /// Width of the fused projection, (H + 2K) d.
    pub fn fused_width(self) -> usize {
        (self.n_query + 2 * self.n_kv) * self.width
    }

    /// Width of the output, H d.
    pub fn out_width(self) -> usize {
        self.n_query * self.width
    }

    /// The columns of the fused projection that belong to a key-value head: of the queries it serves, its keys, its values.
    /// The first are also those of the output.
    pub(crate) fn places(self, kv_head: usize) -> [Range<usize>; 3] {
        let (width, group) = (self.width, self.n_query / self.n_kv);
        let heads = |first: usize, n: usize| first * width..(first + n) * width;
        let (key, value) = (self.n_query + kv_head, self.n_query + self.n_kv + kv_head);
        [heads(kv_head * group, group), heads(key, 1), heads(value, 1)]
    }

    /// What scores are multiplied by, 1 / sqrt(d).
    pub(crate) fn scale(self) -> f32 {
        (self.width as f32).powf(-0.5)
    }
}
