//! Operands rounded to bf16 and cut into tiles. A left and a right operand are arranged alike: what lies in memory line by line
//! becomes lines of tiles, and those of the other kind are exchanged with their words.

use std::mem::MaybeUninit;

use crate::amx::unit::{Line, TILE, Tile, Unit, Word};
use crate::amx::{DEPTH, STRIP};
use crate::lanes::fetch;
use crate::tile::Left;

/// Rows of a matrix that are asked for before they are read.
const AHEAD: usize = 2 * DEPTH;

/// A matrix [outer, inner]: rows of a left operand or columns of a right one, each of the indices that are summed over.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    values: &'a [f32],
    n_outer: usize,
    n_inner: usize,
    stride: usize,
    /// Neighbours in memory are outer indices.
    is_across: bool,
}

impl<'a> Operand<'a> {
    /// Whose inner indices are neighbours.
    pub(crate) fn along(values: &'a [f32], [n_outer, n_inner]: [usize; 2]) -> Operand<'a> {
        Operand { values, n_outer, n_inner, stride: n_inner, is_across: false }
    }

    /// Whose outer indices are neighbours.
    pub(crate) fn across(values: &'a [f32], [n_outer, n_inner]: [usize; 2]) -> Operand<'a> {
        Operand { values, n_outer, n_inner, stride: n_outer, is_across: true }
    }

    /// The same with lines of memory so far apart.
    pub(crate) fn with_stride(self, stride: usize) -> Operand<'a> {
        Operand { stride, ..self }
    }

    /// The first `n_rows` rows of a left operand.
    pub(crate) fn of_left(left: Left<'a>, n_rows: usize) -> Operand<'a> {
        match left {
            Left::Rows { values, n_inner } => Operand::along(values, [n_rows, n_inner]),
            Left::Columns { values, stride, n_inner } => Operand::across(values, [n_rows, n_inner]).with_stride(stride),
        }
    }

    /// [`Operand::strips`] in `out`, whose memory is used again.
    #[inline(always)]
    pub(crate) fn left<U: Unit>(self, unit: &U, out: &mut Vec<Tile>) {
        out.resize(self.n_outer.div_ceil(TILE) * self.n_inner.div_ceil(DEPTH), [Line::ZERO; TILE]);
        self.strips(unit, out);
    }

    /// All its [`Operand::panels`] in `out`, whose memory is used again.
    #[inline(always)]
    pub(crate) fn right<U: Unit>(self, unit: &U, out: &mut Vec<Word>) {
        let n_words = self.n_outer.div_ceil(STRIP) * self.n_inner.div_ceil(DEPTH) * TILE;
        out.clear();
        out.reserve(n_words);
        self.panels(unit, 0, &mut out.spare_capacity_mut()[..n_words]);
        #[expect(unsafe_code, reason = "the compiler does not see what is written")]
        // SAFETY: there is room, and all words of the panels are written.
        unsafe {
            out.set_len(n_words);
        }
    }

    /// As a left operand: strips of two tiles of rows, the last perhaps of one; in each, step by step of the inner index. All of
    /// `out`.
    #[inline(always)]
    pub(crate) fn strips<U: Unit>(self, unit: &U, out: &mut [Tile]) {
        let (n_tiles, n_steps) = (self.n_outer.div_ceil(TILE), self.n_inner.div_ceil(DEPTH));
        for at in 0..n_tiles * n_steps {
            let (tile, step) = self.place(at, n_tiles, n_steps);
            let (strip, half) = (tile / 2, tile % 2);
            let in_strip = (n_tiles - 2 * strip).min(2);
            let to = &mut out[2 * strip * n_steps + step * in_strip + half];
            *to = self.lines(unit, tile * TILE, step * DEPTH);
            if self.is_across {
                unit.transpose(to);
            }
        }
    }

    /// As a right operand: panels of 32 columns, from column `first` on, word by word. All of `out`.
    #[inline(always)]
    pub(crate) fn panels<U: Unit>(self, unit: &U, first: usize, out: &mut [MaybeUninit<Word>]) {
        if out.is_empty() {
            return;
        }
        let n_steps = self.n_inner.div_ceil(DEPTH);
        let n_tiles = 2 * out.len() / (n_steps * TILE);
        let lines = halves(out);
        for at in 0..n_tiles * n_steps {
            let (tile, step) = self.place(at, n_tiles, n_steps);
            let mut from = self.lines(unit, first + tile * TILE, step * DEPTH);
            if !self.is_across {
                unit.transpose(&mut from);
            }
            let (panel, half) = (tile / 2, tile % 2);
            let to = &mut lines[(panel * n_steps + step) * TILE..][..TILE];
            to.iter_mut().zip(from).for_each(|(to, from)| _ = to[half].write(from));
        }
    }

    /// The tile and step that come as number `at`, in the order in which the matrix lies in memory.
    #[inline(always)]
    fn place(self, at: usize, n_tiles: usize, n_steps: usize) -> (usize, usize) {
        if self.is_across { (at % n_tiles, at / n_tiles) } else { (at / n_steps, at % n_steps) }
    }

    /// The tile at a place, zeros past the ends: a line per outer index, or per pair of inner ones. Loops, since closures are not
    /// compiled for the unit where they are not inlined.
    #[inline(always)]
    fn lines<U: Unit>(self, unit: &U, outer: usize, inner: usize) -> Tile {
        let mut tile = [Line::ZERO; TILE];
        if !self.is_across {
            for (i, line) in tile.iter_mut().enumerate() {
                *line = unit.neighbours(&self.read(outer + i, inner));
            }
            return tile;
        }
        for (row, line) in (inner..).step_by(2).zip(&mut tile) {
            for ahead in [row + AHEAD, row + AHEAD + 1] {
                if let Some(values) = self.values.get(ahead * self.stride + outer..) {
                    fetch(&values[..values.len().min(TILE)]);
                }
            }
            *line = unit.pairs(&self.read(row, outer), &self.read(row + 1, outer));
        }
        tile
    }

    /// N values of a line of memory, zeros past its end and past the last.
    #[inline(always)]
    fn read<const N: usize>(self, line: usize, from: usize) -> [f32; N] {
        let (n_lines, length) =
            if self.is_across { (self.n_inner, self.n_outer) } else { (self.n_outer, self.n_inner) };
        let mut values = [0.0; N];
        if line < n_lines && from < length {
            let there = &self.values[line * self.stride + from..][..N.min(length - from)];
            match there.first_chunk::<N>() {
                Some(all) => values = *all,
                None => values[..there.len()].copy_from_slice(there),
            }
        }
        values
    }
}

/// Words that have no values yet, line by line.
fn halves(words: &mut [MaybeUninit<Word>]) -> &mut [[MaybeUninit<Line>; 2]] {
    #[expect(unsafe_code, reason = "the standard library has no such cast")]
    // SAFETY: whether a pair is uninitialised, or both its halves are, says the same of the same memory.
    unsafe {
        &mut *(std::ptr::from_mut(words) as *mut [[MaybeUninit<Line>; 2]])
    }
}
