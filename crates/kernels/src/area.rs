//! A rectangle of a row-major matrix that one task writes while others write the rest.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::lanes::Unwritten;

/// Rows of some columns, each `stride` after the one before.
pub(crate) struct Area<'a> {
    first: *mut MaybeUninit<f32>,
    n_rows: usize,
    n_columns: usize,
    stride: usize,
    is_written: bool,
    of: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "a pointer says nothing of who else has it")]
// SAFETY: an area stands for a mutable borrow of its elements, which no other area has, and f32 may go to another thread.
unsafe impl Send for Area<'_> {}

impl<'a> Area<'a> {
    /// All of a matrix of `n_columns`.
    pub(crate) fn new(all: &'a mut [f32], n_columns: usize) -> Area<'a> {
        Area { is_written: true, ..Area::unwritten(unwritten(all), n_columns) }
    }

    /// The same of one that has no values yet.
    pub(crate) fn unwritten(all: &'a mut [MaybeUninit<f32>], n_columns: usize) -> Area<'a> {
        let n_rows = all.len() / n_columns;
        Area { first: all.as_mut_ptr(), n_rows, n_columns, stride: n_columns, is_written: false, of: PhantomData }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Whether it has values.
    pub(crate) fn is_written(&self) -> bool {
        self.is_written
    }

    /// The columns of a row, for values to be written to.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [MaybeUninit<f32>] {
        assert!(row < self.n_rows, "the area has the row");
        #[expect(unsafe_code, reason = "the rows' other columns belong to others")]
        // SAFETY: the row is one of the borrowed matrix, and its columns from `first` on are this area's alone for 'a; the
        // result borrows the area.
        unsafe {
            std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.n_columns)
        }
    }

    /// The values of a row that has some.
    #[inline(always)]
    pub(crate) fn values(&mut self, row: usize) -> &mut [f32] {
        assert!(self.is_written, "nothing is added to what is not there");
        #[expect(unsafe_code, reason = "the type does not follow from what is written")]
        // SAFETY: either the area was made of values, or `written` was told that all of it is.
        unsafe {
            self.row(row).assume_init_mut()
        }
    }

    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    /// From now on, the area has values.
    ///
    /// # Safety
    ///
    /// Every element was written.
    pub(crate) unsafe fn written(&mut self) {
        self.is_written = true;
    }

    /// `n_rows` rows of 32 columns at a place; none where the area ends earlier.
    #[inline(always)]
    pub(crate) fn block(&mut self, (row, column): (usize, usize), n_rows: usize) -> Option<Block<'_>> {
        let is_inside = row + n_rows <= self.n_rows && column + Block::COLUMNS <= self.n_columns;
        #[expect(unsafe_code, reason = "the rows' other columns belong to others")]
        // SAFETY: the area has this row and column, as the line before found.
        let at = || unsafe { self.first.add(row * self.stride + column) };
        is_inside.then(|| Block { first: at().cast(), stride: self.stride, n_rows, of: PhantomData })
    }

    /// The first `n` columns, and the rest.
    fn split(self, n: usize) -> (Area<'a>, Area<'a>) {
        assert!(n < self.n_columns, "both have columns");
        #[expect(unsafe_code, reason = "one matrix, two owners")]
        // SAFETY: `n` columns further on is still in the first row.
        let rest = unsafe { self.first.add(n) };
        (Area { n_columns: n, ..self }, Area { first: rest, n_columns: self.n_columns - n, ..self })
    }

    /// The first `n` rows, and the rest.
    fn split_rows(self, n: usize) -> (Area<'a>, Area<'a>) {
        assert!(n < self.n_rows, "both have rows");
        #[expect(unsafe_code, reason = "one matrix, two owners")]
        // SAFETY: the area has a row number `n`.
        let rest = unsafe { self.first.add(n * self.stride) };
        (Area { n_rows: n, ..self }, Area { first: rest, n_rows: self.n_rows - n, ..self })
    }

    /// Runs `work(task, area)` side by side, with `each` columns at a time.
    pub(crate) fn by_columns(self, each: usize, work: &(impl Fn(usize, Area<'_>) + Sync)) {
        let n = self.n_columns;
        self.shares((0, n.div_ceil(each)), &|it, n| it.split(n * each), work);
    }

    /// The same with `each` rows at a time.
    pub(crate) fn by_rows(self, each: usize, work: &(impl Fn(usize, Area<'_>) + Sync)) {
        let n = self.n_rows;
        self.shares((0, n.div_ceil(each)), &|it, n| it.split_rows(n * each), work);
    }

    /// `n` tasks, of which this is the `first`.
    fn shares(
        self,
        (first, n): (usize, usize),
        split: &(impl Fn(Area<'a>, usize) -> (Area<'a>, Area<'a>) + Sync),
        work: &(impl Fn(usize, Area<'_>) + Sync),
    ) {
        let half = n / 2;
        if half == 0 || self.n_rows == 0 {
            return work(first, self);
        }
        let (start, rest) = split(self, half);
        rayon::join(|| start.shares((first, half), split, work), || rest.shares((first + half, n - half), split, work));
    }
}

/// 32 columns of some rows, which may have no values yet.
pub(crate) struct Block<'a> {
    first: *mut f32,
    stride: usize,
    n_rows: usize,
    of: PhantomData<&'a mut [f32]>,
}

impl<'a> Block<'a> {
    pub(crate) const COLUMNS: usize = 32;

    /// All of `rows`.
    pub(crate) fn of(rows: &'a mut [[f32; Block::COLUMNS]]) -> Block<'a> {
        let n_rows = rows.len();
        Block { first: rows.as_mut_ptr().cast(), stride: Block::COLUMNS, n_rows, of: PhantomData }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The first element, and how many bytes after it the next row begins.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn pointer(&mut self) -> (*mut f32, usize) {
        (self.first, self.stride * size_of::<f32>())
    }

    /// The 16 columns from `column` on of a row, for values to be written to.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize, column: usize) -> &mut [MaybeUninit<f32>; 16] {
        assert!(row < self.n_rows && column + 16 <= Block::COLUMNS, "the block has the row and columns");
        #[expect(unsafe_code, reason = "the rows' other columns belong to others")]
        // SAFETY: the block has the row and these columns, alone for 'a; the result borrows the block.
        unsafe {
            &mut *self.first.add(row * self.stride + column).cast::<[MaybeUninit<f32>; 16]>()
        }
    }
}

/// Values that are about to be overwritten; nothing but values may be written to them.
pub(crate) fn unwritten(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    #[expect(unsafe_code, reason = "the type does not say that only values are written")]
    // SAFETY: the layouts are the same, and nobody in this crate writes something that is no value.
    unsafe {
        &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>])
    }
}

#[expect(unsafe_code, reason = "the compiler does not see what is written")]
/// A matrix [n_rows, n_columns] that `work(task, area)` writes, `each` columns at a time and side by side.
///
/// # Safety
///
/// `work` writes every element of the area it is given.
pub(crate) unsafe fn filled_by_columns(
    [n_rows, n_columns]: [usize; 2],
    each: usize,
    work: impl Fn(usize, Area<'_>) + Sync,
) -> Vec<f32> {
    let n = n_rows * n_columns;
    let mut all = Unwritten::of(n);
    Area::unwritten(all.room(n), n_columns).by_columns(each, &work);
    // SAFETY: the areas divide the matrix without a gap, and each was written in full.
    unsafe { all.written(n) }
}
