//! Products of operands rounded to bf16 by tiles: 16 rows by 16 words of a left operand, 16 words by 16 columns of a right one,
//! where a word is a pair of neighbouring inner indices, the even one in the low half. What multiplies tiles is a [`Unit`]: the
//! processor's own, or plain Rust that computes the same bits.
//!
//! Left operands are rounded and arranged by the task that multiplies with them. Right ones are the panels of
//! [`Packed`](crate::packed::Packed), 32 columns wide and whole tiles high.

mod arrange;
mod emulated;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native;
#[cfg(test)]
mod tests;
mod unit;

use std::cell::Cell;
use std::mem::MaybeUninit;

pub(crate) use arrange::Operand;
pub(crate) use emulated::Emulated;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use native::Native;
pub(crate) use unit::{DEPTH, How, Line, STRIP, TILE, Tile, Unit, WithUnit, Word, zeros};

use crate::area::{Area, Block};
use crate::isa;
use crate::lanes::simd;
use crate::tile::{Left, Panels, Write};

/// Rows of a task: arranged, they and some panels stay in the second-level cache.
pub(crate) const TASK_ROWS: usize = 256;
/// Bytes of panels that stay in the second-level cache while strips of rows pass.
const NEAR: usize = 768 << 10;
/// Most steps of the inner index before the next panel: a strip's part stays in the first-level cache.
const MOST_STEPS: usize = 24;

/// Whatever unit this process has: it does `work` compiled for it.
pub(crate) fn with_unit<W: WithUnit>(work: W) -> W::Output {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if let Some(unit) = Native::chosen() {
        return unit.run(work);
    }
    assert!(isa::chosen().0.has_tiles(), "who asks for tiles looks whether there are some");
    simd(
        #[inline(always)]
        || work.with_unit(&Emulated),
    )
}

/// out = `a` times `panels`, of which `out` is as large as it has rows and they have columns.
pub(crate) fn multiply(a: Left<'_>, Panels { words, height }: Panels<'_>, out: Area<'_>, write: Write) {
    #[expect(unsafe_code, reason = "the standard library has no such cast")]
    // SAFETY: a word of a panel is 32 numbers of any bits.
    let (before, words, after) = unsafe { words.align_to::<Word>() };
    assert!(before.is_empty() && after.is_empty(), "whole words from the start of a line");
    with_unit(Task { a, words, height, out, write });
}

/// Arranges panels of a matrix, from its column `first` on: all of `out`, which begins at a cache line.
pub(crate) fn arrange_panels(source: Operand<'_>, first: usize, out: &mut [MaybeUninit<u32>]) {
    #[expect(unsafe_code, reason = "the standard library has no such cast")]
    // SAFETY: a word of a panel is 32 numbers of any bits.
    let (before, out, after) = unsafe { out.align_to_mut::<MaybeUninit<Word>>() };
    assert!(before.is_empty() && after.is_empty(), "whole words from the start of a line");
    with_unit(Arrange { source, first, out });
}

struct Arrange<'a> {
    source: Operand<'a>,
    first: usize,
    out: &'a mut [MaybeUninit<Word>],
}

impl WithUnit for Arrange<'_> {
    type Output = ();

    #[inline(always)]
    fn with_unit<U: Unit>(self, unit: &U) {
        self.source.panels(unit, self.first, self.out);
    }
}

/// One task of a product.
struct Task<'a> {
    a: Left<'a>,
    /// Panel by panel, `height` of each.
    words: &'a [Word],
    height: usize,
    out: Area<'a>,
    write: Write,
}

thread_local! {
    /// A task's left operand, kept for its memory.
    static ARRANGED: Cell<Vec<Tile>> = Cell::default();
}

impl WithUnit for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_unit<U: Unit>(self, unit: &U) {
        let Task { a, words, height, mut out, write } = self;
        assert!(out.is_written() || !write.adds, "nothing is added to what is not there");
        let n_rows = if write.across { out.n_columns() } else { out.n_rows() };
        let (n_steps, n_tiles) = (height / TILE, n_rows.div_ceil(TILE));
        let mut arranged = ARRANGED.take();
        arranged.resize(arranged.len().max(n_tiles * n_steps), [Line::ZERO; TILE]);
        let left = &mut arranged[..n_tiles * n_steps];
        Operand::of_left(a, n_rows).strips(unit, left);

        let panels: Vec<&[Word]> = words.chunks_exact(height).collect();
        let group = (NEAR / (height * size_of::<Word>())).max(1);
        let each = n_steps.div_ceil(n_steps.div_ceil(MOST_STEPS)); // parts of about the same depth
        for (first, group) in (0..).step_by(group).zip(panels.chunks(group)) {
            for start in (0..n_steps).step_by(each) {
                let steps = start..(start + each).min(n_steps);
                for (strip, tiles) in left.chunks(2 * n_steps).enumerate() {
                    let in_strip = tiles.len() / n_steps;
                    for (panel, words) in (first..).zip(group) {
                        let at = (strip * STRIP, panel * STRIP);
                        let streams = n_rows <= TILE;
                        let whole = if write.across { None } else { out.block(at, in_strip * TILE) };
                        if let Some(sums) = whole {
                            let tiles = &tiles[steps.start * in_strip..steps.end * in_strip];
                            let words = &words[steps.start * TILE..steps.end * TILE];
                            unit.multiply(tiles, words, sums, How { adds: write.adds || start > 0, streams });
                        } else if start == 0 {
                            edge(unit, (tiles, in_strip), words, &mut out, at, write);
                        }
                    }
                }
            }
        }
        ARRANGED.set(arranged);
    }
}

/// The product of a strip of rows and a panel that reach beyond `out`, or lie across it: all of the inner index at once.
#[inline(always)]
fn edge<U: Unit>(
    unit: &U,
    (left, n_tiles): (&[Tile], usize),
    right: &[Word],
    out: &mut Area<'_>,
    (row, column): (usize, usize),
    write: Write,
) {
    let mut sums = [[0.0; STRIP]; STRIP];
    let sums = &mut sums[..n_tiles * TILE];
    if write.adds && write.across {
        for (column, j) in (column..out.n_rows()).zip(0..STRIP) {
            let from = out.values(column)[row..].iter();
            from.zip(&mut *sums).for_each(|(from, sums)| sums[j] = *from);
        }
    } else if write.adds {
        for (row, sums) in (row..out.n_rows()).zip(&mut *sums) {
            let from = &out.values(row)[column..];
            let n = from.len().min(STRIP);
            sums[..n].copy_from_slice(&from[..n]);
        }
    }
    unit.multiply(left, right, Block::of(sums), How { adds: write.adds, streams: false });
    if write.across {
        for (row, sums) in (row..).step_by(TILE).zip(sums.as_chunks::<TILE>().0) {
            for (column, half) in (column..).step_by(TILE).zip([0, TILE]) {
                let mut tile = sums.map(|it| Line::of(&it[half..]));
                unit.transpose(&mut tile);
                for (column, line) in (column..out.n_rows()).zip(&tile) {
                    put(out.row(column).get_mut(row..).unwrap_or_default(), &line.values());
                }
            }
        }
    } else {
        for (row, sums) in (row..out.n_rows()).zip(&*sums) {
            put(&mut out.row(row)[column..], sums);
        }
    }
}

/// Writes `values`, as many as there is room for.
#[inline(always)]
fn put(room: &mut [MaybeUninit<f32>], values: &[f32]) {
    room.iter_mut().zip(values).for_each(|(room, value)| _ = room.write(*value));
}
