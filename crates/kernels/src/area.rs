//! A rectangle of a row-major matrix that one task writes while others write the rest.

use std::marker::PhantomData;

/// Rows of some columns, each `stride` after the one before.
pub(crate) struct Area<'a> {
    first: *mut f32,
    n_rows: usize,
    n_columns: usize,
    stride: usize,
    of: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "a pointer says nothing of who else has it")]
// SAFETY: an area stands for a mutable borrow of its elements, which no other area has, and f32 may go to another thread.
unsafe impl Send for Area<'_> {}

impl<'a> Area<'a> {
    /// All of a matrix of `n_columns`.
    pub(crate) fn new(all: &'a mut [f32], n_columns: usize) -> Area<'a> {
        let n_rows = all.len() / n_columns;
        Area { first: all.as_mut_ptr(), n_rows, n_columns, stride: n_columns, of: PhantomData }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The columns of a row.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.n_rows, "the area has the row");
        #[expect(unsafe_code, reason = "the rows' other columns belong to others")]
        // SAFETY: the row is one of the borrowed matrix, and its columns from `first` on are this area's alone for 'a; the
        // result borrows the area. They are initialised: `new` borrows f32, and `filled_by_columns` writes an area before it hands it out.
        unsafe {
            std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.n_columns)
        }
    }

    /// The first `n` columns, and the rest.
    fn split(self, n: usize) -> (Area<'a>, Area<'a>) {
        assert!(n < self.n_columns, "both have columns");
        #[expect(unsafe_code, reason = "one matrix, two owners")]
        // SAFETY: `n` columns further on is still in the first row.
        let rest = unsafe { self.first.add(n) };
        (Area { n_columns: n, ..self }, Area { first: rest, n_columns: self.n_columns - n, ..self })
    }

    /// Runs `work(task, area)` side by side, with `each` columns at a time.
    pub(crate) fn by_columns(self, each: usize, work: &(impl Fn(usize, Area<'_>) + Sync)) {
        self.shares(0, each, work);
    }

    fn shares(self, first: usize, each: usize, work: &(impl Fn(usize, Area<'_>) + Sync)) {
        let half = self.n_columns.div_ceil(each) / 2;
        if half == 0 {
            return work(first, self);
        }
        let (left, right) = self.split(half * each);
        rayon::join(|| left.shares(first, each, work), || right.shares(first + half, each, work));
    }
}

/// A matrix [n_rows, n_columns] that `work(task, area)` says, `each` columns at a time and side by side. It finds zeros there,
/// which are written while they are near.
pub(crate) fn filled_by_columns(
    [n_rows, n_columns]: [usize; 2],
    each: usize,
    work: impl Fn(usize, Area<'_>) + Sync,
) -> Vec<f32> {
    let mut all = Vec::with_capacity(n_rows * n_columns);
    let whole = Area { first: all.as_mut_ptr(), n_rows, n_columns, stride: n_columns, of: PhantomData };
    whole.by_columns(each, &|task, area| {
        for row in 0..area.n_rows {
            #[expect(unsafe_code, reason = "a slice must not be made of what is not written yet")]
            // SAFETY: there is room for all rows, and the area's columns of them are its alone.
            unsafe {
                area.first.add(row * area.stride).write_bytes(0, area.n_columns);
            }
        }
        work(task, area);
    });
    #[expect(unsafe_code, reason = "the length does not follow from what is written")]
    // SAFETY: there is room for the matrix, the areas divide it without a gap, and each was written in full.
    unsafe {
        all.set_len(n_rows * n_columns);
    }
    all
}
