//! Matrices arranged for being multiplied from the left. A matrix [inner, columns] is cut into panels of [`PANEL`] columns, so
//! that the inner loop reads one stream of values in order; what it is multiplied with is read where it is. Every sum runs
//! over its inner index in order, whatever the number of rows or threads: a row's product does not depend on what else is in
//! the batch.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::bf16::{self, Left};
use crate::lanes::{dispatch, simd};

/// What the operands of a product are rounded to. Sums are f32 in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// To the nearest bf16, ties to even, in the forward pass and in both gradients: half the bytes, 8 bits of precision.
    /// Numbers below 2^-126 count as zero.
    Bf16,
}

/// Columns of a panel: two of the widest vectors.
pub(crate) const PANEL: usize = 32;
/// Rows of a tile where vectors are widest: its sums fill the registers.
pub(crate) const ROWS: usize = 12;
/// Rows of a tile elsewhere, and at the end. Divides [`ROWS`].
pub(crate) const FEW_ROWS: usize = 4;
/// Steps of the inner loop before the next panel: a panel's part stays in the first-level cache.
pub(crate) const DEPTH: usize = 256;
/// Rows of one task.
pub(crate) const TASK_ROWS: usize = 8 * ROWS;
/// Multiplications that take longer than handing them to another thread.
const WORTH_A_TASK: usize = 1 << 18;

/// A matrix [inner, columns] in panels: panel by panel, row by row, [`PANEL`] columns each, zeros past the end.
#[derive(Debug)]
pub(crate) struct Packed {
    inner: usize,
    columns: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    Bf16(Vec<u32>),
}

/// The part of a matrix that a product reads: a range of its inner indices, which starts even, and of its panels.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) inner: Range<usize>,
    pub(crate) panels: Range<usize>,
}

impl Packed {
    /// Arranges the elements of `source`.
    pub(crate) fn new(precision: Precision, [inner, columns]: [usize; 2], source: Source<'_>) -> Packed {
        let values = match precision {
            Precision::F32 => Values::F32(panels([inner, columns], source, 1, |block, out| {
                out.copy_from_slice(&block[..out.len()]);
            })),
            Precision::Bf16 => Values::Bf16(panels([inner, columns], source, 2, bf16::round_pairs::<PANEL>)),
        };
        Packed { inner, columns, values }
    }

    pub(crate) fn n_panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Part {
        Part { inner: 0..self.inner, panels: 0..self.n_panels() }
    }

    /// The columns of `panels`.
    pub(crate) fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * PANEL..(panels.end * PANEL).min(self.columns)
    }

    /// out [N, columns] = a [N, inner] times the matrix.
    pub(crate) fn product(&self, a: &[f32], out: &mut [f32]) {
        let few = out.len() <= TASK_ROWS * self.columns && self.inner * out.len() > WORTH_A_TASK;
        if few && rayon::current_num_threads() > 1 {
            return self.product_of_few(a, out);
        }
        let tasks = a.par_chunks(TASK_ROWS * self.inner).zip(out.par_chunks_mut(TASK_ROWS * self.columns));
        tasks.for_each(|(a, out)| self.multiply(self.whole(), a, out, false));
    }

    /// The same where rows make a single task: strips of columns are computed side by side.
    fn product_of_few(&self, a: &[f32], out: &mut [f32]) {
        let n_rows = out.len() / self.columns;
        let n_panels = self.n_panels().div_ceil(2 * rayon::current_num_threads());
        let strips = (0..self.n_panels().div_ceil(n_panels)).into_par_iter().map(|strip| {
            let panels = strip * n_panels..((strip + 1) * n_panels).min(self.n_panels());
            let mut out = vec![0.0; n_rows * self.columns(&panels).len()];
            self.multiply(Part { inner: 0..self.inner, panels }, a, &mut out, false);
            out
        });
        let strips: Vec<Vec<f32>> = strips.collect();
        for (row, out) in out.chunks_exact_mut(self.columns).enumerate() {
            for (out, strip) in out.chunks_mut(n_panels * PANEL).zip(&strips) {
                out.copy_from_slice(&strip[row * out.len()..][..out.len()]);
            }
        }
    }

    /// out [N, columns of the part] = a [N, inner of the part] times `part`, or that added to `out`; on this thread.
    pub(crate) fn multiply(&self, part: Part, a: &[f32], out: &mut [f32], adds: bool) {
        let Part { inner, panels } = part;
        let columns = self.columns(&panels).len();
        let of = |height: usize| panels.start * height * PANEL..panels.end * height * PANEL;
        match &self.values {
            Values::F32(values) => {
                let panels = &values[of(self.inner)];
                dispatch(Rows {
                    a,
                    width: inner.len(),
                    panels,
                    height: self.inner,
                    from: inner.start,
                    out,
                    columns,
                    adds,
                });
            }
            Values::Bf16(values) => {
                assert_eq!(inner.start % 2, 0, "a part starts at a whole pair");
                let height = self.inner.div_ceil(2);
                let a = Left::Rows { values: a, n_inner: inner.len() };
                let place = (&mut *out, columns, adds);
                bf16::multiply(a, (&values[of(height)], height, inner.start / 2), place);
            }
        }
    }

    /// out [m, columns] = aᵀ times the matrix: `a` is [inner, m].
    pub(crate) fn outer(&self, a: &[f32], out: &mut [f32]) {
        let (n_out, columns) = (a.len() / self.inner, self.columns);
        match &self.values {
            Values::F32(panels) => {
                for from in (0..self.inner).step_by(DEPTH) {
                    let depth = from..(from + DEPTH).min(self.inner);
                    let a = &a[depth.start * n_out..depth.end * n_out];
                    out.par_chunks_mut(ROWS * columns).enumerate().for_each(|(task, out)| {
                        let first = task * ROWS;
                        dispatch(Columns { a, first, n_out, panels, height: self.inner, from, out, columns });
                    });
                }
            }
            Values::Bf16(panels) => {
                out.par_chunks_mut(TASK_ROWS * columns).enumerate().for_each(|(task, out)| {
                    let a = Left::Columns { values: &a[task * TASK_ROWS..], stride: n_out, n_inner: self.inner };
                    bf16::multiply(a, (panels, self.inner.div_ceil(2), 0), (out, columns, false));
                });
            }
        }
    }
}

/// Where the elements of a matrix [inner, columns] are.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Row after row.
    Rows(&'a [f32]),
    /// Column after column.
    Columns(&'a [f32]),
}

/// Rows that are read at a time: a column's share of them is one cache line. Even.
const BLOCK: usize = 16;

impl Source<'_> {
    /// Rows `row`.. of the columns `first`.., zeros past the ends.
    #[inline(always)]
    fn read(self, [inner, columns]: [usize; 2], (row, first): (usize, usize), block: &mut [[f32; PANEL]; BLOCK]) {
        let (n_rows, n_columns) = (BLOCK.min(inner - row), PANEL.min(columns - first));
        if (n_rows, n_columns) != (BLOCK, PANEL) {
            *block = [[0.0; PANEL]; BLOCK];
        }
        match self {
            Source::Rows(values) => {
                for (i, block) in block[..n_rows].iter_mut().enumerate() {
                    block[..n_columns].copy_from_slice(&values[(row + i) * columns + first..][..n_columns]);
                }
            }
            Source::Columns(values) => {
                for column in 0..n_columns {
                    let values = &values[(first + column) * inner + row..][..n_rows];
                    for (block, value) in block.iter_mut().zip(values) {
                        block[column] = *value;
                    }
                }
            }
        }
    }
}

/// The panels of a matrix [inner, columns], whose rows are `n_together` of the matrix's: `write` gets some of these, zeros
/// past the end, and what they become.
fn panels<T: Default + Clone + Send>(
    [inner, columns]: [usize; 2],
    source: Source<'_>,
    n_together: usize,
    write: impl Fn(&[f32], &mut [T]) + Sync,
) -> Vec<T> {
    let height = inner.div_ceil(n_together);
    let mut out = vec![T::default(); columns.div_ceil(PANEL) * height * PANEL];
    out.par_chunks_mut(height * PANEL).enumerate().for_each(|(panel, out)| {
        simd(
            #[inline(always)]
            || {
                let mut block = [[0.0; PANEL]; BLOCK];
                for (index, out) in out.chunks_mut(BLOCK / n_together * PANEL).enumerate() {
                    source.read([inner, columns], (index * BLOCK, panel * PANEL), &mut block);
                    write(block.as_flattened(), out);
                }
            },
        );
    });
    out
}

/// One task of [`Packed::product`] in f32: rows of `a`, [N, width], times the rows `from..from + width` of `panels`, which are
/// `height` high.
struct Rows<'a> {
    a: &'a [f32],
    width: usize,
    panels: &'a [f32],
    height: usize,
    from: usize,
    out: &'a mut [f32],
    columns: usize,
    adds: bool,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { a, width, panels, height, from, out, columns, adds } = self;
        for start in (0..width).step_by(DEPTH) {
            let depth = start..(start + DEPTH).min(width);
            for (index, panel) in panels.chunks_exact(height * PANEL).enumerate() {
                let panel = &panel[(from + depth.start) * PANEL..(from + depth.end) * PANEL];
                let place = Place { first: index * PANEL, columns, adds: adds || start > 0 };
                let (n_rows, mut row) = (out.len() / columns, 0);
                while S::F32_LANES == 16 && row + ROWS <= n_rows {
                    rows::<S, ROWS>(simd, a, panel, out, (row, width, depth.clone()), place);
                    row += ROWS;
                }
                while row + FEW_ROWS <= n_rows {
                    rows::<S, FEW_ROWS>(simd, a, panel, out, (row, width, depth.clone()), place);
                    row += FEW_ROWS;
                }
                while row < n_rows {
                    rows::<S, 1>(simd, a, panel, out, (row, width, depth.clone()), place);
                    row += 1;
                }
            }
        }
    }
}

/// Where a tile's sums go: columns `first`.. of rows of `columns`, added to what is there or in its place.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) columns: usize,
    pub(crate) adds: bool,
}

impl Place {
    /// Stores the sums of one row's strip of columns, as far as the row reaches.
    #[inline(always)]
    pub(crate) fn put<S: Simd>(self, simd: S, out: &mut [f32], strip: usize, sums: [S::f32s; 2]) {
        let width = 2 * S::F32_LANES;
        let first = self.first + strip;
        if first + width <= self.columns {
            let (out, _) = S::as_mut_simd_f32s(&mut out[first..first + width]);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if self.adds { simd.add_f32s(*out, sum) } else { sum };
            }
        } else if first < self.columns {
            let mut edge = [0.0_f32; PANEL];
            let (vectors, _) = S::as_mut_simd_f32s(&mut edge[..width]);
            vectors.copy_from_slice(&sums);
            for (out, sum) in out[first..self.columns].iter_mut().zip(edge) {
                *out = if self.adds { *out + sum } else { sum };
            }
        }
    }
}

/// Rows `row..row + N` of a panel's product.
#[inline(always)]
fn rows<S: Simd, const N: usize>(
    simd: S,
    a: &[f32],
    panel: &[f32],
    out: &mut [f32],
    (row, width, depth): (usize, usize, Range<usize>),
    place: Place,
) {
    let a: [&[f32]; N] = std::array::from_fn(|i| &a[(row + i) * width..][depth.clone()]);
    for strip in (0..PANEL).step_by(2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; N];
        for (k, b) in panel.chunks_exact(PANEL).enumerate() {
            let (b, _) = S::as_simd_f32s(&b[strip..strip + 2 * S::F32_LANES]);
            for (sums, a) in sums.iter_mut().zip(a) {
                let a = simd.splat_f32s(a[k]);
                sums[0] = simd.mul_add_f32s(a, b[0], sums[0]);
                sums[1] = simd.mul_add_f32s(a, b[1], sums[1]);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            place.put(simd, &mut out[(row + i) * place.columns..(row + i + 1) * place.columns], strip, sums);
        }
    }
}

/// One task of [`Packed::outer`] in f32: the rows of `out` that belong to columns `first`.. of `a`, [depth, n_out], at most
/// [`ROWS`]; `from` is the first row of the panels that `a` is multiplied with.
struct Columns<'a> {
    a: &'a [f32],
    first: usize,
    n_out: usize,
    panels: &'a [f32],
    height: usize,
    from: usize,
    out: &'a mut [f32],
    columns: usize,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Columns { a: rows, first, n_out, panels, height, from, out, columns } = self;
        let (depth, n_rows) = (rows.len() / n_out, out.len() / columns);
        let mut a = [0.0_f32; ROWS * DEPTH];
        for (a, row) in a.chunks_exact_mut(ROWS).zip(rows.chunks_exact(n_out)) {
            a[..n_rows].copy_from_slice(&row[first..first + n_rows]);
        }
        let a = &a[..depth * ROWS];
        for (index, panel) in panels.chunks_exact(height * PANEL).enumerate() {
            let panel = &panel[from * PANEL..(from + depth) * PANEL];
            let place = Place { first: index * PANEL, columns, adds: from > 0 };
            if S::F32_LANES == 16 {
                transposed::<S, ROWS>(simd, a, 0, panel, out, place);
            } else {
                for first in (0..ROWS).step_by(FEW_ROWS) {
                    transposed::<S, FEW_ROWS>(simd, a, first, panel, out, place);
                }
            }
        }
    }
}

#[inline(always)]
fn transposed<S: Simd, const N: usize>(simd: S, a: &[f32], first: usize, panel: &[f32], out: &mut [f32], place: Place) {
    for strip in (0..PANEL).step_by(2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; N];
        for (a, b) in a.chunks_exact(ROWS).zip(panel.chunks_exact(PANEL)) {
            let (b, _) = S::as_simd_f32s(&b[strip..strip + 2 * S::F32_LANES]);
            for (sums, a) in sums.iter_mut().zip(&a[first..first + N]) {
                let a = simd.splat_f32s(*a);
                sums[0] = simd.mul_add_f32s(a, b[0], sums[0]);
                sums[1] = simd.mul_add_f32s(a, b[1], sums[1]);
            }
        }
        let rows = out.chunks_exact_mut(place.columns).skip(first);
        for (out, sums) in rows.zip(sums) {
            place.put(simd, out, strip, sums);
        }
    }
}
