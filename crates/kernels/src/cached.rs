//! Attention of new positions against what their sequence has cached. Keys and values lie in blocks of [`BLOCK`] positions;
//! sequences that begin alike share the blocks of their common beginning, and write into blocks of their own.
//!
//! What a position gets depends on its own sequence alone: every sum runs over the same numbers in the same order, whatever
//! other positions or sequences pass through with it, and in the order in which [`attention`](crate::attention) has it.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::heads::Heads;
use crate::lanes::{COLUMN_TILE, dispatch, fetch, softmax};
use crate::rotary::Rotary;
use crate::sequence::turn;

/// Positions of a block.
pub const BLOCK: usize = 32;

/// Rotated keys and values of [`BLOCK`] consecutive positions of a sequence, all layers. Clones are the same block.
#[derive(Clone, Debug)]
pub struct Block(Arc<Stored>);

impl Block {
    /// Whether nothing else holds this block.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Memory of one block of such a model, bytes.
    pub fn bytes(n_layers: usize, heads: Heads) -> usize {
        let value_stride = heads.width.next_multiple_of(COLUMN_TILE);
        n_layers * heads.n_kv * BLOCK * (heads.width + value_stride) * size_of::<f32>()
    }
}

#[derive(Clone, Debug)]
struct Stored {
    keys: Vec<f32>,   // [layers, K, d, BLOCK]: transposed, so that scores are a product with it
    values: Vec<f32>, // [layers, K, BLOCK, d rounded up to a tile]
}

/// What one sequence has cached. A clone shares the blocks.
#[derive(Clone, Debug)]
pub struct CachedRow {
    n_layers: usize,
    heads: Heads,
    len: usize,
    blocks: Vec<Block>,
}

impl CachedRow {
    /// A sequence that begins with the positions of `blocks`, all of them full.
    pub fn new(n_layers: usize, heads: Heads, blocks: Vec<Block>) -> CachedRow {
        CachedRow { n_layers, heads, len: blocks.len() * BLOCK, blocks }
    }

    /// Positions cached in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks, the last of which may not be full.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Makes room for `n` more positions, in `spare` blocks first. A block that is not full and that something else holds is
    /// copied.
    fn grow(&mut self, n: usize, spare: &mut Vec<Block>) {
        if !self.len.is_multiple_of(BLOCK) {
            Arc::make_mut(&mut self.blocks[self.len / BLOCK].0);
        }
        let stride = self.value_stride();
        let per_position = self.n_layers * self.heads.n_kv * BLOCK;
        while self.blocks.len() * BLOCK < self.len + n {
            self.blocks.push(spare.pop().unwrap_or_else(|| {
                let (keys, values) = (vec![0.0; per_position * self.heads.width], vec![0.0; per_position * stride]);
                Block(Arc::new(Stored { keys, values }))
            }));
        }
    }

    fn value_stride(&self) -> usize {
        self.heads.width.next_multiple_of(COLUMN_TILE)
    }

    /// Keeps, in `layer`, the keys and values of the positions that follow, one per row of the projections `qkv`
    /// [n, (H + 2K) d]. There is room.
    fn store(&mut self, layer: usize, qkv: &[f32], rotary: &Rotary) {
        let (Heads { n_query, n_kv, width }, stride) = (self.heads, self.value_stride());
        for (offset, qkv) in qkv.chunks_exact(self.heads.fused_width()).enumerate() {
            let position = self.len + offset;
            let (block, at) = (&mut self.blocks[position / BLOCK].0, position % BLOCK);
            let block = Arc::get_mut(block).expect("new positions go to blocks of the sequence's own");
            let (cos, sin) = rotary.at(position);
            for head in 0..n_kv {
                let (low, high) = qkv[(n_query + head) * width..][..width].split_at(width / 2);
                let keys = &mut block.keys[(layer * n_kv + head) * width * BLOCK..][..width * BLOCK];
                for (i, (((low, high), cos), sin)) in low.iter().zip(high).zip(cos).zip(sin).enumerate() {
                    keys[i * BLOCK + at] = low * cos - high * sin;
                    keys[(width / 2 + i) * BLOCK + at] = high * cos + low * sin;
                }
                let values = &mut block.values[((layer * n_kv + head) * BLOCK + at) * stride..];
                values[..width].copy_from_slice(&qkv[(n_query + n_kv + head) * width..][..width]);
            }
        }
    }
}

/// New positions of one sequence that are attended together: they read the same keys.
const TILE: usize = 4;

/// Blocks that no sequence uses any more, for those that grow.
#[derive(Debug, Default)]
pub struct Spare(Vec<Block>);

impl Spare {
    /// Makes room for `counts[i]` more positions in row i, for every i.
    pub fn make_room(&mut self, rows: &mut [CachedRow], counts: &[usize]) {
        for (row, n) in rows.iter_mut().zip(counts) {
            row.grow(*n, &mut self.0);
        }
    }

    /// Takes the blocks of a finished sequence; those that are shared go on.
    pub fn recycle(&mut self, row: CachedRow) {
        self.0.extend(row.blocks.into_iter().filter(Block::is_unshared));
    }
}

/// The new positions of a step, sequence by sequence, and its working memory; kept from step to step.
#[derive(Debug, Default)]
pub struct Plan {
    sequences: Vec<Range<usize>>, // of the step's N positions
    tiles: Vec<Tile>,
    mixed: Vec<f32>, // [tiles, K, TILE, H / K, d]
}

#[derive(Clone, Copy, Debug)]
struct Tile {
    sequence: usize,
    /// Among the sequence's new positions.
    first: usize,
    n: usize,
}

impl Plan {
    /// Begins a step that gives `counts` new positions to its sequences, which have room for them.
    pub fn begin(&mut self, counts: &[usize]) {
        self.sequences.clear();
        self.tiles.clear();
        let mut at = 0;
        for (sequence, n) in counts.iter().copied().enumerate() {
            self.sequences.push(at..at + n);
            self.tiles.extend((0..n).step_by(TILE).map(|first| Tile { sequence, first, n: TILE.min(n - first) }));
            at += n;
        }
    }

    /// Ends it: the new positions count as cached.
    pub fn end(&self, rows: &mut [CachedRow]) {
        for (row, positions) in rows.iter_mut().zip(&self.sequences) {
            row.len += positions.len();
        }
    }
}

/// Caches, in `layer`, the keys and values of the new positions that `plan` began with, and attends from each of them over
/// everything its sequence has up to itself: `qkv` is [N, (H + 2K) d], before rotation; `out` is [N, H d].
pub fn cached_attention(
    qkv: &[f32],
    rows: &mut [CachedRow],
    plan: &mut Plan,
    (layer, heads): (usize, Heads),
    rotary: &Rotary,
    out: &mut [f32],
) {
    assert_eq!(rows.len(), plan.sequences.len(), "the rows of the plan");
    let (fused, shared) = (heads.fused_width(), heads.n_query / heads.n_kv * heads.width);
    rows.par_iter_mut().zip(&plan.sequences).for_each(|(row, positions)| {
        row.store(layer, &qkv[positions.start * fused..positions.end * fused], rotary);
    });
    let per_head = TILE * shared;
    plan.mixed.resize(plan.tiles.len() * heads.n_kv * per_head, 0.0);
    let (rows, tiles, sequences) = (&*rows, &plan.tiles, &plan.sequences);
    let keys_of = |index: usize| {
        let row = &rows[tiles.get(index / heads.n_kv)?.sequence];
        let start = (layer * heads.n_kv + index % heads.n_kv) * heads.width * BLOCK;
        Some((row, start..start + heads.width * BLOCK))
    };
    plan.mixed.par_chunks_mut(per_head).enumerate().for_each(|(index, out)| {
        let (tile, head) = (tiles[index / heads.n_kv], index % heads.n_kv);
        let first = sequences[tile.sequence].start + tile.first;
        let qkv = &qkv[first * fused..(first + tile.n) * fused];
        let row = &rows[tile.sequence];
        let before = row.len + tile.first;
        SCRATCH.with_borrow_mut(|scratch| {
            dispatch(Attend { row, layer, head, before, qkv, rotary, out, scratch, next: keys_of(index + 1) });
        });
    });
    let width = heads.out_width();
    for (tile, mixed) in plan.tiles.iter().zip(plan.mixed.chunks_exact(heads.n_kv * per_head)) {
        let first = plan.sequences[tile.sequence].start + tile.first;
        for (offset, out) in out[first * width..].chunks_exact_mut(width).take(tile.n).enumerate() {
            for (out, mixed) in out.chunks_exact_mut(shared).zip(mixed.chunks_exact(per_head)) {
                out.copy_from_slice(&mixed[offset * shared..][..shared]);
            }
        }
    }
}

/// The query heads of a tile's positions that share one key-value head.
struct Attend<'a> {
    row: &'a CachedRow,
    layer: usize,
    head: usize,
    /// Positions of the sequence before the tile's first.
    before: usize,
    qkv: &'a [f32],
    rotary: &'a Rotary,
    out: &'a mut [f32], // [positions, H / K, d]
    scratch: &'a mut Scratch,
    /// The sequence that is likely attended next, and where its keys lie in a block.
    next: Option<(&'a CachedRow, Range<usize>)>,
}

/// Queries and scores of a tile.
type Scratch = (Vec<f32>, Vec<f32>);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Attend { row, layer, head, before, qkv, rotary, out, scratch: (queries, scores), next } = self;
        let (heads, stride) = (row.heads, row.value_stride());
        let (width, n_shared) = (heads.width, heads.n_query / heads.n_kv);
        let positions = qkv.chunks_exact(heads.fused_width());
        let n_seen = before + positions.len(); // by the tile's last
        let n_rows = positions.len() * n_shared;
        let columns = n_seen.next_multiple_of(BLOCK);
        queries.resize(n_rows * width, 0.0);
        scores.resize(n_rows * columns, 0.0);
        let mut turned = queries.chunks_exact_mut(width);
        for (offset, qkv) in positions.enumerate() {
            for query in qkv[head * n_shared * width..][..n_shared * width].chunks_exact(width) {
                let turned = turned.next().expect("one per query");
                turn(query, turned, rotary.at(before + offset), false);
                turned.iter_mut().for_each(|it| *it *= heads.scale());
            }
        }
        let blocks = &row.blocks[..columns / BLOCK];
        let keys = |at: usize| &blocks[at].0.keys[(layer * heads.n_kv + head) * width * BLOCK..][..width * BLOCK];
        let fetch_keys = |at: usize| {
            if let Some(ahead) = blocks.get(at) {
                fetch(&ahead.0.keys[(layer * heads.n_kv + head) * width * BLOCK..][..width * BLOCK]);
            }
        };
        let mut index = 0;
        while index < blocks.len() {
            let pair = [keys(index), keys((index + 1).min(blocks.len() - 1))];
            fetch_keys(index + 2);
            fetch_keys(index + 3);
            fetch(&blocks[index].0.values[(layer * heads.n_kv + head) * BLOCK * stride..][..BLOCK * stride]);
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
        if let Some((row, keys)) = next {
            row.blocks.iter().take(2).for_each(|it| fetch(&it.0.keys[keys.clone()]));
        }
        for (index, scores) in scores.chunks_exact_mut(columns).take(n_rows).enumerate() {
            let (seen, future) = scores.split_at_mut(before + index / n_shared + 1);
            softmax(seen);
            future.fill(0.0);
        }
        let values =
            blocks.iter().map(|it| &it.0.values[(layer * heads.n_kv + head) * BLOCK * stride..][..BLOCK * stride]);
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
