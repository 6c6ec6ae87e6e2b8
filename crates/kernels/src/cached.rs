//! Attention of new positions against what their sequence has cached. Keys and values lie in blocks of [`BLOCK`] positions;
//! sequences that begin alike share the blocks of their common beginning, and write into blocks of their own.
//!
//! What a position gets depends on its own sequence alone: every sum runs over the same numbers in the same order, whatever
//! other positions or sequences pass through with it, and in the order in which [`attention`](crate::attention) has it.

mod attend;
mod blocks;
mod tiled;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use self::attend::{Attend, Scratch};
pub use self::blocks::{BLOCK, Block, CachedRow};
use crate::amx::with_unit;
use crate::heads::Heads;
use crate::lanes::dispatch;
use crate::rotary::Rotary;

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
        self.0.extend(row.into_blocks().into_iter().filter(Block::is_unshared));
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
            row.lengthen(positions.len());
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
    let row_of = |index: usize| Some(&rows[tiles.get(index / heads.n_kv)?.sequence]);
    plan.mixed.par_chunks_mut(per_head).enumerate().for_each(|(index, out)| {
        let (tile, head) = (tiles[index / heads.n_kv], index % heads.n_kv);
        let first = sequences[tile.sequence].start + tile.first;
        let qkv = &qkv[first * fused..(first + tile.n) * fused];
        let row = &rows[tile.sequence];
        let before = row.len() + tile.first;
        SCRATCH.with_borrow_mut(|scratch| {
            let attend = Attend { row, layer, head, before, qkv, rotary, out, scratch, next: row_of(index + 1) };
            if row.of_tiles { with_unit(attend) } else { dispatch(attend) }
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

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
