//! Products of a left operand with panels, tile by tile: some rows of the one against one panel of the other, whose sums stay
//! in registers. Both are words: an f32, or a pair of bf16 of which the even inner index is in the low half.

use std::cell::Cell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::area::Area;
use crate::bf16;
use crate::dot::{Dot, Sums, Whole};
use crate::lanes::{dispatch, fetch};
use crate::precision::Precision;

/// A left operand [N, n_inner], where it is.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Row after row.
    Rows { values: &'a [f32], n_inner: usize },
    /// Column after column, `stride` apart.
    Columns { values: &'a [f32], stride: usize, n_inner: usize },
}

/// Panels that are `height` words high.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) height: usize,
}

/// How sums are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Write {
    /// Added to what is there, not in its place.
    pub(crate) adds: bool,
    /// Transposed: a row of the left operand makes a column.
    pub(crate) across: bool,
}

/// Most words of the inner index before the next panel: the left operand's part stays in the second-level cache.
const DEPTH: usize = 768;
/// Words of a cache line.
const LINE: usize = 16;

/// out = `a` times `panels`, of which `out` is as large as it has rows and they have columns.
pub(crate) fn multiply(precision: Precision, a: Left<'_>, panels: Panels<'_>, out: Area<'_>, write: Write) {
    let tiles = Tiles { precision, a, panels, out, write };
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16
        && let Some(dot) = bf16::Native::chosen()
    {
        #[expect(unsafe_code, reason = "the compiler cannot know what the machine has")]
        // SAFETY: there is a `Native` only where the machine was found to have every feature that `native` enables.
        return unsafe { native(tiles, dot) };
    }
    dispatch(tiles);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
fn native(tiles: Tiles<'_>, dot: bf16::Native) {
    tiles.run(dot);
}

/// One task of a product.
struct Tiles<'a> {
    precision: Precision,
    a: Left<'a>,
    panels: Panels<'a>,
    out: Area<'a>,
    write: Write,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.precision {
            Precision::F32 => self.run(Whole(simd)),
            Precision::Bf16 => self.run(bf16::Widened(simd)),
        }
    }
}

thread_local! {
    /// A task's left operand, kept for its memory.
    static ARRANGED: Cell<Vec<u32>> = Cell::default();
}

impl<'a> Tiles<'a> {
    #[inline(always)]
    fn run<D: Dot>(self, dot: D) {
        // Taken out meanwhile: what runs inside another function's closure is not compiled for the instruction set.
        let mut arranged = ARRANGED.take();
        match D::Vectors::F32_LANES {
            16 => self.by_depth::<D, 32>(dot, &mut arranged),
            _ => self.by_depth::<D, 16>(dot, &mut arranged),
        }
        ARRANGED.set(arranged);
    }

    #[inline(always)]
    fn by_depth<D: Dot, const WIDTH: usize>(self, dot: D, arranged: &mut Vec<u32>) {
        let Tiles { a, panels: Panels { words, height }, mut out, write, .. } = self;
        let n_rows = if write.across { out.n_columns() } else { out.n_rows() };
        let n_words = a.n_inner().div_ceil(D::TOGETHER);
        let each = n_words.div_ceil(n_words.div_ceil(DEPTH)); // parts of about the same depth
        for start in (0..n_words).step_by(each) {
            if start > 0 {
                #[expect(unsafe_code, reason = "the compiler does not see what is written")]
                // SAFETY: the parts before wrote every row and column.
                unsafe {
                    out.written();
                }
            }
            let end = (start + each).min(n_words);
            let depth = end - start;
            arranged.resize(arranged.len().max(n_rows * depth), 0); // tile by tile, [words, rows of the tile]
            a.arrange::<D>(dot, n_rows, start..end, &mut arranged[..n_rows * depth]);
            let part = |panel: &'a [u32]| &panel[start * WIDTH..end * WIDTH];
            let mut panels = words.chunks_exact(height * WIDTH).map(part).enumerate().peekable();
            while let Some((index, panel)) = panels.next() {
                // The next panel is fetched while this one is multiplied with, a share by each tile.
                let mut ahead = panels.peek().map_or(&[][..], |it| it.1);
                let share = (ahead.len() * D::ROWS).div_ceil(n_rows);
                let write = Write { adds: write.adds || start > 0, ..write };
                for strip in (0..WIDTH).step_by(2 * D::Vectors::F32_LANES) {
                    let mut row = 0;
                    while row < n_rows {
                        let n = D::rows(n_rows - row);
                        let a = &arranged[row * depth..(row + n) * depth];
                        let at = (row, index * WIDTH + strip);
                        let (now, later) = ahead.split_at(if strip == 0 { share.min(ahead.len()) } else { 0 });
                        ahead = later;
                        let panel = (panel, strip, now);
                        match n {
                            12 if D::ROWS == 12 => tile::<D, WIDTH, 12>(dot, a, panel, &mut out, at, write),
                            6 if D::ROWS == 6 => tile::<D, WIDTH, 6>(dot, a, panel, &mut out, at, write),
                            4 => tile::<D, WIDTH, 4>(dot, a, panel, &mut out, at, write),
                            3 => tile::<D, WIDTH, 3>(dot, a, panel, &mut out, at, write),
                            2 => tile::<D, WIDTH, 2>(dot, a, panel, &mut out, at, write),
                            _ => tile::<D, WIDTH, 1>(dot, a, panel, &mut out, at, write),
                        }
                        row += n;
                    }
                }
            }
        }
    }
}

impl Left<'_> {
    fn n_inner(self) -> usize {
        let (Left::Rows { n_inner, .. } | Left::Columns { n_inner, .. }) = self;
        n_inner
    }

    /// The words `depth` of the first `n_rows` rows, tile by tile, each [words, rows of the tile].
    #[inline(always)]
    fn arrange<D: Dot>(self, dot: D, n_rows: usize, depth: Range<usize>, out: &mut [u32]) {
        let mut row = 0;
        while row < n_rows {
            let (n, left) = (D::rows(n_rows - row), self.from(row));
            // As many tiles as are alike: rows of the source are then read once, from their first column to the last.
            let n_tiles = (row..n_rows).step_by(n).take_while(|at| D::rows(n_rows - at) == n).count();
            let out = &mut out[row * depth.len()..][..n_tiles * n * depth.len()];
            match n {
                12 if D::ROWS == 12 => left.arrange_tiles::<D, 12>(dot, depth.clone(), out),
                6 if D::ROWS == 6 => left.arrange_tiles::<D, 6>(dot, depth.clone(), out),
                4 => left.arrange_tiles::<D, 4>(dot, depth.clone(), out),
                3 => left.arrange_tiles::<D, 3>(dot, depth.clone(), out),
                2 => left.arrange_tiles::<D, 2>(dot, depth.clone(), out),
                _ => left.arrange_tiles::<D, 1>(dot, depth.clone(), out),
            }
            row += n_tiles * n;
        }
    }

    /// Rows from `row` on.
    pub(crate) fn from(self, row: usize) -> Self {
        match self {
            Left::Rows { values, n_inner } => Left::Rows { values: &values[row * n_inner..], n_inner },
            Left::Columns { values, stride, n_inner } => Left::Columns { values: &values[row..], stride, n_inner },
        }
    }

    /// The words `depth` of the first tiles of N rows, all of `out`.
    #[inline(always)]
    fn arrange_tiles<D: Dot, const N: usize>(self, dot: D, depth: Range<usize>, out: &mut [u32]) {
        /// Rows that are asked for before they are read.
        const AHEAD: usize = 8;
        let (first, end) = (depth.start * D::TOGETHER, (depth.end * D::TOGETHER).min(self.n_inner()));
        match self {
            Left::Rows { values, n_inner } => {
                let tiles = out.chunks_exact_mut(N * depth.len()).zip(values.chunks(N * n_inner));
                let n_whole = (end - first) / (BLOCK * D::TOGETHER) * BLOCK;
                for (tile, values) in tiles {
                    let mut values = values.chunks_exact(n_inner).map(|row| &row[first..end]);
                    let mut rows = std::array::from_fn(|_| values.next().expect("a tile has its rows"));
                    let (whole, rest) = tile.as_chunks_mut::<N>().0.split_at_mut(n_whole);
                    let whole = whole.as_chunks_mut::<BLOCK>().0.iter_mut();
                    whole.for_each(|out| interleave(dot, &mut rows, BLOCK * D::TOGETHER, out));
                    let left = rows[0].len();
                    interleave(dot, &mut rows, left, rest);
                }
            }
            Left::Columns { values, stride, .. } => {
                let n_rows = out.len() / depth.len();
                let column = |inner: usize| &values[inner * stride..][..n_rows];
                for (word, inner) in (first..end).step_by(D::TOGETHER).enumerate() {
                    (inner + AHEAD..end.min(inner + AHEAD + D::TOGETHER)).for_each(|inner| fetch(column(inner)));
                    let evens = column(inner).as_chunks::<N>().0;
                    let odds = if D::TOGETHER == 2 && inner + 1 < end { column(inner + 1) } else { &[] };
                    let odds = odds.as_chunks::<N>().0.iter().chain(std::iter::repeat(&[0.0; N]));
                    let tiles = out.chunks_exact_mut(N * depth.len());
                    for ((tile, evens), odds) in tiles.zip(evens).zip(odds) {
                        let words = std::array::from_fn(|row| dot.word(evens[row], odds[row]));
                        tile.as_chunks_mut::<N>().0[word] = words;
                    }
                }
            }
        }
    }
}

/// Words of a row that are arranged at a time.
const BLOCK: usize = 16;

/// Takes the next `n` values of each row as words [words, rows], at most a block of them.
#[inline(always)]
fn interleave<D: Dot, const N: usize>(dot: D, rows: &mut [&[f32]; N], n: usize, out: &mut [[u32; N]]) {
    let mut words = [[0; BLOCK]; N];
    for (words, row) in words.iter_mut().zip(rows) {
        let (values, rest) = row.split_at(n);
        for (word, values) in words.iter_mut().zip(values.chunks(D::TOGETHER)) {
            *word = dot.word(values[0], values.get(1).copied().unwrap_or(0.0));
        }
        *row = rest;
    }
    for (word, out) in out.iter_mut().enumerate() {
        *out = std::array::from_fn(|row| words[row][word]);
    }
}

/// N rows times a strip of a panel's columns, at row and column `at`: `a` is [words, N]. Meanwhile `ahead` is fetched.
#[inline(always)]
fn tile<D: Dot, const WIDTH: usize, const N: usize>(
    dot: D,
    a: &[u32],
    (panel, strip, ahead): (&[u32], usize, &[u32]),
    out: &mut Area<'_>,
    at: (usize, usize),
    write: Write,
) {
    /// Words per turn of the loop.
    const TOGETHER: usize = 4;
    let simd = dot.vectors();
    let (rows, columns) = (at.0..at.0 + N, at.1..at.1 + 2 * D::Vectors::F32_LANES);
    if write.across {
        ask(out, columns, rows)
    } else {
        ask(out, rows, columns)
    }
    let mut sums = [[simd.splat_f32s(0.0); 2]; N];
    let (mut turns, mut panel_turns) = (a.chunks_exact(TOGETHER * N), panel.chunks_exact(TOGETHER * WIDTH));
    // A few lines a turn: many at once would keep the operands waiting.
    let mut ahead = ahead.chunks(ahead.len().div_ceil(turns.len().max(1)).next_multiple_of(LINE).max(LINE));
    for (a, panel) in (&mut turns).zip(&mut panel_turns) {
        fetch(ahead.next().unwrap_or_default());
        for word in 0..TOGETHER {
            step::<D, N>(dot, &a[word * N..], &panel[word * WIDTH + strip..], &mut sums);
        }
    }
    let rest = panel_turns.remainder().chunks_exact(WIDTH);
    for (a, panel) in turns.remainder().chunks_exact(N).zip(rest) {
        step::<D, N>(dot, a, &panel[strip..], &mut sums);
    }
    if write.across { across(simd, sums, out, at, write.adds) } else { along(simd, sums, out, at, write.adds) }
}

#[inline(always)]
fn step<D: Dot, const N: usize>(dot: D, a: &[u32], panel: &[u32], sums: &mut [[Sums<D>; 2]; N]) {
    let (simd, a) = (dot.vectors(), &a[..N]);
    let (b, _) = D::Vectors::as_simd_u32s(&panel[..2 * D::Vectors::F32_LANES]);
    for (sums, a) in sums.iter_mut().zip(a) {
        let a = simd.splat_u32s(*a);
        sums[0] = dot.add(sums[0], a, b[0]);
        sums[1] = dot.add(sums[1], a, b[1]);
    }
}

/// Asks for what sums will be written to, as far as it reaches. Its rows may begin anywhere in a cache line.
#[inline(always)]
fn ask(out: &mut Area<'_>, rows: Range<usize>, columns: Range<usize>) {
    for row in rows.start..rows.end.min(out.n_rows()) {
        let out = out.row(row);
        let (start, end) = (columns.start.min(out.len()), (columns.end + LINE - 1).min(out.len()));
        fetch(&out[start..end]);
    }
}

/// Writes sums row by row, as far as rows reach.
#[inline(always)]
fn along<S: Simd, const N: usize>(
    simd: S,
    sums: [[S::f32s; 2]; N],
    out: &mut Area<'_>,
    (row, first): (usize, usize),
    adds: bool,
) {
    let width = 2 * S::F32_LANES;
    let is_whole = first + width <= out.n_columns();
    for (row, sums) in (row..).zip(sums) {
        if is_whole && adds {
            let (out, _) = S::as_mut_simd_f32s(&mut out.values(row)[first..first + width]);
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = simd.add_f32s(*out, sum));
        } else if is_whole {
            let (out, _) = S::as_uninit_mut_simd_f32s(&mut out.row(row)[first..first + width]);
            out.iter_mut().zip(sums).for_each(|(out, sum)| _ = out.write(sum));
        } else if first < out.n_columns() {
            let mut edge = [0.0; 32];
            S::as_mut_simd_f32s(&mut edge[..width]).0.copy_from_slice(&sums);
            if adds {
                out.values(row)[first..].iter_mut().zip(edge).for_each(|(out, sum)| *out += sum);
            } else {
                out.row(row)[first..].iter_mut().zip(edge).for_each(|(out, sum)| _ = out.write(sum));
            }
        }
    }
}

/// Writes sums column by column, as many columns as there are.
#[inline(always)]
fn across<S: Simd, const N: usize>(
    _: S,
    sums: [[S::f32s; 2]; N],
    out: &mut Area<'_>,
    (row, first): (usize, usize),
    adds: bool,
) {
    let mut rows = [[0.0; 32]; N];
    for (row, sums) in rows.iter_mut().zip(sums) {
        S::as_mut_simd_f32s(&mut row[..2 * S::F32_LANES]).0.copy_from_slice(&sums);
    }
    for column in 0..(2 * S::F32_LANES).min(out.n_rows().saturating_sub(first)) {
        if adds {
            let out = &mut out.values(first + column)[row..row + N];
            out.iter_mut().zip(&rows).for_each(|(out, row)| *out += row[column]);
        } else {
            let out = &mut out.row(first + column)[row..row + N];
            out.iter_mut().zip(&rows).for_each(|(out, row)| _ = out.write(row[column]));
        }
    }
}
