//! Matrices arranged for being multiplied from the left. A matrix [inner, columns] is cut into panels of some columns, so that
//! the inner loop reads one stream of values in order. Every sum runs over its inner index in order, whatever the number of
//! rows or threads: a row's product does not depend on what else is in the batch.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use crate::area::{Area, filled_by_columns};
use crate::bf16;
use crate::isa;
use crate::lanes::{fetch, filled, simd};
use crate::precision::Precision;
use crate::tile::{self, Left, Panels, Write};

/// Most rows of one task: arranged, they stay in the second-level cache.
pub(crate) const TASK_ROWS: usize = 96;
/// Rows of a task are a multiple of it, so that no tile is thin.
const FEW_ROWS: usize = 4;
/// Fewest rows of each thread for which tasks are made of rows.
const THREAD_ROWS: usize = 16;
/// Fewest columns of a task that has few rows.
const FEW_COLUMNS: usize = 128;
/// Columns of the widest panel.
const WIDEST: usize = 32;

/// A matrix [inner, columns] in panels: panel by panel, word by word of the inner index, zeros past the ends. Each panel row
/// begins at a cache line.
#[derive(Debug)]
pub(crate) struct Packed {
    precision: Precision,
    inner: usize,
    columns: usize,
    width: usize,
    words: Vec<u32>,
    /// Where they begin.
    start: usize,
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
        let width = Packed::panel_width();
        let height = inner.div_ceil(precision.together());
        let n_words = columns.div_ceil(width) * height * width;
        let mut words = Vec::<u32>::with_capacity(n_words + LINE);
        let start = words.as_ptr().align_offset(LINE * size_of::<u32>()).min(LINE);
        let room = words.spare_capacity_mut();
        room[..start].fill(MaybeUninit::new(0));
        let tasks = room[start..start + n_words].par_chunks_mut(PANELS * height * width).enumerate();
        tasks.for_each(|(task, out)| {
            let sizes = ([inner, columns], task * PANELS);
            match width {
                WIDEST => arrange::<WIDEST>(precision, source, sizes, out),
                _ => arrange::<{ WIDEST / 2 }>(precision, source, sizes, out),
            }
        });
        #[expect(unsafe_code, reason = "to fill so much memory with zeros first takes as long as arranging it")]
        // SAFETY: there is room for `n_words + LINE`. The words before `start` are written above, and the panels divide the rest
        // without a gap; `arrange` writes every word of the panels it is given.
        unsafe {
            words.set_len(start + n_words);
        }
        Packed { precision, inner, columns, width, words, start }
    }

    /// Columns of a panel: two vectors, a cache line at least.
    pub(crate) fn panel_width() -> usize {
        if isa::chosen().0.is_wide() { WIDEST } else { WIDEST / 2 }
    }

    pub(crate) fn n_panels(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Part {
        Part { inner: 0..self.inner, panels: 0..self.n_panels() }
    }

    /// The columns of `panels`.
    pub(crate) fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * self.width..(panels.end * self.width).min(self.columns)
    }

    /// out [N, columns] = a [N, inner] times the matrix, shared by `n_threads`.
    pub(crate) fn product(&self, a: &[f32], out: &mut [f32], n_threads: usize) {
        let n_rows = a.len() / self.inner;
        if n_rows >= THREAD_ROWS * n_threads {
            let each = rows_per_task(n_rows, n_threads);
            let tasks = a.par_chunks(each * self.inner).zip(out.par_chunks_mut(each * self.columns));
            return tasks.for_each(|(a, out)| self.multiply(self.whole(), a, out, false));
        }
        // The weights' bytes count more than the arithmetic: every thread reads its share of them.
        let each = self.n_panels().div_ceil(n_threads).max(FEW_COLUMNS / self.width);
        Area::new(out, self.columns).by_columns(each * self.width, &|task, out| {
            let panels = task * each..((task + 1) * each).min(self.n_panels());
            let a = Left::Rows { values: a, n_inner: self.inner };
            self.tiles(Part { panels, ..self.whole() }, a, out, Write::default());
        });
    }

    /// a [N, inner] times the matrix, [N, columns].
    pub(crate) fn of_rows(&self, a: &[f32]) -> Vec<f32> {
        let n_rows = a.len() / self.inner;
        let each = rows_per_task(n_rows, rayon::current_num_threads());
        filled(n_rows * self.columns, each * self.columns, |task, out| {
            let a = &a[task * each * self.inner..][..out.len() / self.columns * self.inner];
            self.multiply(self.whole(), a, out, false);
        })
    }

    /// (a times the matrix)ᵀ, [columns, n_rows]: `a` is [n_rows, inner].
    pub(crate) fn across(&self, a: Left<'_>, n_rows: usize) -> Vec<f32> {
        let each = rows_per_task(n_rows, rayon::current_num_threads());
        let write = Write { across: true, adds: false };
        filled_by_columns([self.columns, n_rows], each, |task, out| {
            self.tiles(self.whole(), a.from(task * each), out, write);
        })
    }

    /// out [N, columns of the part] = a [N, inner of the part] times `part`, or that added to `out`; on this thread.
    pub(crate) fn multiply(&self, part: Part, a: &[f32], out: &mut [f32], adds: bool) {
        let a = Left::Rows { values: a, n_inner: part.inner.len() };
        let out = Area::new(out, self.columns(&part.panels).len());
        self.tiles(part, a, out, Write { adds, across: false });
    }

    /// aᵀ times the matrix, [m, columns]: `a` is [inner, m].
    pub(crate) fn of_columns(&self, a: &[f32]) -> Vec<f32> {
        let n_out = a.len() / self.inner;
        let each = rows_per_task(n_out, rayon::current_num_threads());
        filled(n_out * self.columns, each * self.columns, |task, out| self.outer_rows(a, task * each, out, false))
    }

    /// out [m, columns] = aᵀ times the matrix, or that added to `out`: `a` is [inner, m].
    pub(crate) fn outer(&self, a: &[f32], out: &mut [f32], adds: bool) {
        let n_out = a.len() / self.inner;
        let each = rows_per_task(n_out, rayon::current_num_threads());
        let tasks = out.par_chunks_mut(each * self.columns).enumerate();
        tasks.for_each(|(task, out)| self.outer_rows(a, task * each, out, adds));
    }

    /// Rows `from`.. of aᵀ times the matrix, as many as `out` has.
    fn outer_rows(&self, a: &[f32], from: usize, out: &mut [f32], adds: bool) {
        let a = Left::Columns { values: a, stride: a.len() / self.inner, n_inner: self.inner };
        self.tiles(self.whole(), a.from(from), Area::new(out, self.columns), Write { adds, across: false });
    }

    fn tiles(&self, Part { inner, panels }: Part, a: Left<'_>, out: Area<'_>, write: Write) {
        let together = self.precision.together();
        assert_eq!(inner.start % together, 0, "a part starts at a whole word");
        let height = self.inner.div_ceil(together);
        let words = &self.words[self.start..];
        let words = &words[panels.start * height * self.width..panels.end * height * self.width];
        let panels = Panels { words, height, from: inner.start / together };
        tile::multiply(self.precision, a, panels, out, write);
    }
}

/// Words of a cache line.
const LINE: usize = 16;

/// How many of `n_rows` a task has, so that all threads are busy.
pub(crate) fn rows_per_task(n_rows: usize, n_threads: usize) -> usize {
    let n_tasks = n_rows.div_ceil(TASK_ROWS).next_multiple_of(n_threads);
    n_rows.div_ceil(n_tasks).next_multiple_of(FEW_ROWS)
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
    /// Asks for what [`Source::read`] will want.
    #[inline(always)]
    fn fetch<const WIDTH: usize>(self, [inner, columns]: [usize; 2], (row, first): (usize, usize)) {
        match self {
            Source::Rows(values) => {
                let n = WIDTH.min(columns - first);
                (row..inner.min(row + BLOCK)).for_each(|row| fetch(&values[row * columns + first..][..n]));
            }
            Source::Columns(values) => {
                let n = BLOCK.min(inner - row);
                (first..columns.min(first + WIDTH)).for_each(|column| fetch(&values[column * inner + row..][..n]));
            }
        }
    }

    /// Rows `row`.. of the columns `first`.., zeros past the ends.
    #[inline(always)]
    fn read<const WIDTH: usize>(
        self,
        [inner, columns]: [usize; 2],
        (row, first): (usize, usize),
        block: &mut [[f32; WIDTH]; BLOCK],
    ) {
        let (n_rows, n_columns) = (BLOCK.min(inner - row), WIDTH.min(columns - first));
        if (n_rows, n_columns) != (BLOCK, WIDTH) {
            *block = [[0.0; WIDTH]; BLOCK];
        }
        match self {
            Source::Rows(values) => {
                for (i, block) in block[..n_rows].iter_mut().enumerate() {
                    let values = &values[(row + i) * columns + first..][..n_columns];
                    match values.as_array::<WIDTH>() {
                        Some(values) => *block = *values,
                        None => block[..n_columns].copy_from_slice(values),
                    }
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

/// Panels that a task arranges: rows of a source are then read some cache lines at a time.
const PANELS: usize = 4;
/// Blocks that are asked for before they are read.
const AHEAD: usize = 4;

/// The words of the panels from number `first` on of a matrix [inner, columns]: all of `out`.
fn arrange<const WIDTH: usize>(
    precision: Precision,
    source: Source<'_>,
    (sizes, first): ([usize; 2], usize),
    out: &mut [MaybeUninit<u32>],
) {
    let [inner, _] = sizes;
    let (n_blocks, panel_words) = (inner.div_ceil(BLOCK), inner.div_ceil(precision.together()) * WIDTH);
    let n_panels = out.len() / panel_words;
    // Blocks in the order in which the source has them.
    let place = |at: usize| match source {
        Source::Rows(_) => (at / n_panels, at % n_panels),
        Source::Columns(_) => (at % n_blocks, at / n_blocks),
    };
    let at_source = |(block, panel): (usize, usize)| (block * BLOCK, (first + panel) * WIDTH);
    simd(
        #[inline(always)]
        || {
            let mut values = [[0.0; WIDTH]; BLOCK];
            for at in 0..n_panels * n_blocks {
                if at + AHEAD < n_panels * n_blocks {
                    source.fetch::<WIDTH>(sizes, at_source(place(at + AHEAD)));
                }
                let (block, panel) = place(at);
                source.read(sizes, at_source((block, panel)), &mut values);
                let out = &mut out[panel * panel_words..(panel + 1) * panel_words];
                let out = &mut out[block * BLOCK / precision.together() * WIDTH..];
                let rows = out.chunks_exact_mut(WIDTH);
                match precision {
                    Precision::F32 => rows.zip(&values).for_each(|(out, values)| {
                        out.iter_mut().zip(values).for_each(|(out, value)| _ = out.write(value.to_bits()));
                    }),
                    Precision::Bf16 => rows.zip(values.as_chunks::<2>().0).for_each(|(out, [even, odd])| {
                        let pairs = even.iter().zip(odd).map(|(even, odd)| bf16::pair(*even, *odd));
                        out.iter_mut().zip(pairs).for_each(|(out, pair)| _ = out.write(pair));
                    }),
                }
            }
        },
    );
}
