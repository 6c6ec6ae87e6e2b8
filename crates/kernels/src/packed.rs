//! Matrices arranged for being multiplied from the left. A matrix [inner, columns] is cut into panels of some columns, so that
//! the inner loop reads one stream of values in order. Every sum runs over its inner index in order, whatever the number of
//! rows or threads: a row's product does not depend on what else is in the batch.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use crate::amx;
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
    panel: Panel,
    words: Vec<u32>,
    /// Where they begin.
    start: usize,
}

/// The sizes of a panel.
#[derive(Clone, Copy, Debug)]
struct Panel {
    /// Words.
    height: usize,
    /// Columns: two vectors, a cache line at least.
    width: usize,
    /// For products of tiles.
    of_tiles: bool,
}

impl Panel {
    /// Of a matrix with so many inner indices.
    fn of(precision: Precision, inner: usize) -> Panel {
        if multiplies_tiles(precision) {
            return Panel { height: inner.div_ceil(amx::DEPTH) * amx::TILE, width: amx::STRIP, of_tiles: true };
        }
        let width = if isa::is_wide() { WIDEST } else { WIDEST / 2 };
        Panel { height: inner.div_ceil(precision.together()), width, of_tiles: false }
    }

    fn n_words(self) -> usize {
        self.height * self.width
    }
}

/// Whether products in `precision` are those of tiles.
pub(crate) fn multiplies_tiles(precision: Precision) -> bool {
    precision == Precision::Bf16 && isa::chosen().0.has_tiles()
}

impl Packed {
    /// Arranges the elements of `source`, as work for `n_threads`.
    pub(crate) fn new(
        precision: Precision,
        [inner, columns]: [usize; 2],
        source: Source<'_>,
        n_threads: usize,
    ) -> Packed {
        let panel = Panel::of(precision, inner);
        let n_panels = columns.div_ceil(panel.width);
        let n_words = n_panels * panel.n_words();
        let mut words = Vec::<u32>::with_capacity(n_words + LINE);
        let start = words.as_ptr().align_offset(LINE * size_of::<u32>()).min(LINE);
        let room = words.spare_capacity_mut();
        room[..start].fill(MaybeUninit::new(0));
        let most = if panel.of_tiles { PANELS_OF_TILES } else { PANELS };
        let each = n_panels.div_ceil(n_threads).clamp(1, most);
        let tasks = room[start..start + n_words].par_chunks_mut((each * panel.n_words()).max(1)).enumerate();
        tasks.for_each(|(task, out)| {
            let (sizes, first) = ([inner, columns], task * each * panel.width);
            match panel.width {
                _ if panel.of_tiles => amx::arrange_panels(source.operand(sizes), first, out),
                WIDEST => arrange::<WIDEST>(precision, source, (sizes, first), out),
                _ => arrange::<{ WIDEST / 2 }>(precision, source, (sizes, first), out),
            }
        });
        #[expect(unsafe_code, reason = "to fill so much memory with zeros first takes as long as arranging it")]
        // SAFETY: there is room for `n_words + LINE`. The words before `start` are written above, and the panels divide the rest
        // without a gap; `arrange` and `arrange_panels` write every word of the panels they are given.
        unsafe {
            words.set_len(start + n_words);
        }
        Packed { precision, inner, columns, panel, words, start }
    }

    /// Columns of a panel.
    pub(crate) fn panel_width(&self) -> usize {
        self.panel.width
    }

    pub(crate) fn n_panels(&self) -> usize {
        self.columns.div_ceil(self.panel.width)
    }

    /// All its panels.
    pub(crate) fn whole(&self) -> Range<usize> {
        0..self.n_panels()
    }

    /// The columns of `panels`.
    pub(crate) fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * self.panel.width..(panels.end * self.panel.width).min(self.columns)
    }

    /// out [N, columns] = a [N, inner] times the matrix, shared by `n_threads`.
    pub(crate) fn product(&self, a: &[f32], out: &mut [f32], n_threads: usize) {
        let n_rows = a.len() / self.inner;
        if n_rows >= THREAD_ROWS * n_threads {
            let each = self.rows_per_task(n_rows, n_threads);
            let tasks = a.par_chunks(each * self.inner).zip(out.par_chunks_mut(each * self.columns));
            return tasks.for_each(|(a, out)| self.multiply(self.whole(), a, Area::new(out, self.columns), false));
        }
        // The weights' bytes count more than the arithmetic: every thread reads its share of them.
        let each = self.n_panels().div_ceil(n_threads).max(FEW_COLUMNS / self.panel.width);
        Area::new(out, self.columns).by_columns(each * self.panel.width, &|task, out| {
            let panels = task * each..((task + 1) * each).min(self.n_panels());
            self.tiles(panels, Left::Rows { values: a, n_inner: self.inner }, out, Write::default());
        });
    }

    /// a [N, inner] times the matrix, [N, columns].
    pub(crate) fn of_rows(&self, a: &[f32]) -> Vec<f32> {
        let n_rows = a.len() / self.inner;
        let each = self.rows_per_task(n_rows, rayon::current_num_threads());
        self.filled(n_rows, each, |task| Left::Rows { values: a, n_inner: self.inner }.from(task * each))
    }

    /// aᵀ times the matrix, [m, columns]: `a` is [inner, m].
    pub(crate) fn of_columns(&self, a: &[f32]) -> Vec<f32> {
        let n_out = a.len() / self.inner;
        let each = self.rows_per_task(n_out, rayon::current_num_threads());
        self.filled(n_out, each, |task| self.left_columns(a).from(task * each))
    }

    /// `n_rows` rows of products, `each` per task with what `left` says it multiplies.
    fn filled<'a>(&self, n_rows: usize, each: usize, left: impl Fn(usize) -> Left<'a> + Sync) -> Vec<f32> {
        let task = |task, out: &mut [MaybeUninit<f32>]| {
            self.tiles(self.whole(), left(task), Area::unwritten(out, self.columns), Write::default());
        };
        #[expect(unsafe_code, reason = "the compiler does not see what is written")]
        // SAFETY: a product writes every element of its area.
        unsafe {
            filled(n_rows * self.columns, each * self.columns, task)
        }
    }

    /// (a times the matrix)ᵀ, [columns, n_rows]: `a` is [n_rows, inner].
    pub(crate) fn across(&self, a: Left<'_>, n_rows: usize) -> Vec<f32> {
        let each = self.rows_per_task(n_rows, rayon::current_num_threads());
        let write = Write { across: true, adds: false };
        let task = |task: usize, out: Area<'_>| self.tiles(self.whole(), a.from(task * each), out, write);
        #[expect(unsafe_code, reason = "the compiler does not see what is written")]
        // SAFETY: a product writes every element of its area.
        unsafe {
            filled_by_columns([self.columns, n_rows], each, task)
        }
    }

    /// out [N, columns of the panels] = a [N, inner] times `panels`, or that added to `out`; on this thread.
    pub(crate) fn multiply(&self, panels: Range<usize>, a: &[f32], out: Area<'_>, adds: bool) {
        assert_eq!(out.n_columns(), self.columns(&panels).len(), "an area as wide as the panels");
        self.tiles(panels, Left::Rows { values: a, n_inner: self.inner }, out, Write { adds, across: false });
    }

    /// out [m, columns] = aᵀ times the matrix, or that added to `out`: `a` is [inner, m].
    pub(crate) fn outer(&self, a: &[f32], out: Area<'_>, adds: bool) {
        let each = self.rows_per_task(out.n_rows(), rayon::current_num_threads());
        out.by_rows(each, &|task, out| {
            self.tiles(self.whole(), self.left_columns(a).from(task * each), out, Write { adds, across: false });
        });
    }

    /// The columns of `a` [inner, m] as rows.
    fn left_columns<'a>(&self, a: &'a [f32]) -> Left<'a> {
        Left::Columns { values: a, stride: a.len() / self.inner, n_inner: self.inner }
    }

    fn tiles(&self, panels: Range<usize>, a: Left<'_>, out: Area<'_>, write: Write) {
        let words = &self.words[self.start..];
        let words = &words[panels.start * self.panel.n_words()..panels.end * self.panel.n_words()];
        let panels = Panels { words, height: self.panel.height };
        if self.panel.of_tiles {
            return amx::multiply(a, panels, out, write);
        }
        tile::multiply(self.precision, a, panels, out, write);
    }

    /// How many of `n_rows` a task has, so that all threads are busy.
    pub(crate) fn rows_per_task(&self, n_rows: usize, n_threads: usize) -> usize {
        let (most, unit) = if self.panel.of_tiles { (amx::TASK_ROWS, amx::STRIP) } else { (TASK_ROWS, FEW_ROWS) };
        let n_tasks = n_rows.div_ceil(most).next_multiple_of(n_threads);
        n_rows.div_ceil(n_tasks).next_multiple_of(unit)
    }
}

/// Words of a cache line.
const LINE: usize = 16;

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

impl<'a> Source<'a> {
    /// The same for products of tiles.
    fn operand(self, [inner, columns]: [usize; 2]) -> amx::Operand<'a> {
        match self {
            Source::Rows(values) => amx::Operand::across(values, [columns, inner]),
            Source::Columns(values) => amx::Operand::along(values, [columns, inner]),
        }
    }

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
                        // Not a copy: with the one above it would become a call for each row, of a length known too late.
                        None => *block = std::array::from_fn(|column| values.get(column).copied().unwrap_or(0.0)),
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

/// Most panels that a task arranges: rows of a source are then read some cache lines at a time.
const PANELS: usize = 4;
const PANELS_OF_TILES: usize = 16;
/// Blocks that are asked for before they are read.
const AHEAD: usize = 4;

/// The words of the panels from column `first` on of a matrix [inner, columns]: all of `out`.
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
    let at_source = |(block, panel): (usize, usize)| (block * BLOCK, first + panel * WIDTH);
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
