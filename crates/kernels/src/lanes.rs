//! Loops over contiguous f32 that the compiler turns into the vectors of the instruction set it runs on: `simd` compiles
//! its closure once per set and picks at run time. Everything here is `inline(always)`, so that it is compiled
//! inside that closure.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows per parallel task. Fixed, so that sums over rows are added in the same order whatever the number of threads.
pub(crate) const ROWS_PER_TASK: usize = 64;

/// Lanes of the explicit accumulators; sums are split this many ways.
pub(crate) const LANES: usize = 16;

/// Numbers that are not there yet: to clear memory before it is written takes as long as many an operation.
pub(crate) struct Unwritten(Vec<f32>);

impl Unwritten {
    /// Room for `n`.
    pub(crate) fn of(n: usize) -> Unwritten {
        Unwritten(Vec::with_capacity(n))
    }

    /// All of it.
    pub(crate) fn room(&mut self, n: usize) -> &mut [MaybeUninit<f32>] {
        &mut self.0.spare_capacity_mut()[..n]
    }

    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
    /// The first `n`.
    ///
    /// # Safety
    ///
    /// There is room for `n`, and all of them were written.
    pub(crate) unsafe fn written(mut self, n: usize) -> Vec<f32> {
        // SAFETY: the caller's.
        unsafe {
            self.0.set_len(n);
        }
        self.0
    }
}

#[expect(unsafe_code, reason = "the compiler does not see what is written")]
/// `n` numbers that `write(task, numbers)` writes, `each` at a time and side by side.
///
/// # Safety
///
/// `write` writes all the numbers it is given.
pub(crate) unsafe fn filled(n: usize, each: usize, write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut all = Unwritten::of(n);
    let tasks = all.room(n).par_chunks_mut(each.max(1)).enumerate();
    tasks.for_each(|(task, room)| write(task, room));
    // SAFETY: the chunks divide the room without a gap, and each of them was written in full.
    unsafe { all.written(n) }
}

/// Runs `op` with the vectors of the chosen instruction set.
#[inline(always)]
pub(crate) fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    crate::isa::chosen().1.dispatch(op)
}

/// Runs `f` compiled for the chosen instruction set; annotate the closure `#[inline(always)]`.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    dispatch(f)
}

/// e^x to about two units in the last place, for x clamped to [-87, 88]; one polynomial, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let p = p.mul_add(r * r, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

/// Sum over i of f(x[i], y[i]).
#[inline(always)]
pub(crate) fn sum2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (mut xs, mut ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for lane in 0..LANES {
            lanes[lane] += f(x[lane], y[lane]);
        }
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    for (x, y) in xs.remainder().iter().zip(ys.remainder()) {
        sum += f(*x, *y);
    }
    sum
}

/// Sum over i of x[i] y[i].
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    sum2(x, y, |x, y| x * y)
}

/// The largest value, or minus infinity.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut xs = x.chunks_exact(LANES);
    for x in &mut xs {
        for lane in 0..LANES {
            lanes[lane] = if x[lane] > lanes[lane] { x[lane] } else { lanes[lane] };
        }
    }
    let mut largest = f32::NEG_INFINITY;
    for x in lanes.iter().chain(xs.remainder()) {
        largest = if *x > largest { *x } else { largest };
    }
    largest
}

/// y += a x.
#[inline(always)]
pub(crate) fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = a.mul_add(*x, *y);
    }
}

/// x -> exp(x - largest) / sum, in place.
#[inline(always)]
pub(crate) fn softmax(x: &mut [f32]) {
    let largest = max(x);
    for x in x.iter_mut() {
        *x = exp(*x - largest);
    }
    let scale = 1.0 / sum2(x, x, |x, _| x);
    for x in x.iter_mut() {
        *x *= scale;
    }
}

/// Asks for `data` before it is needed: the processor does not see by itself where it lies.
#[inline(always)]
pub(crate) fn fetch<T>(data: &[T]) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(data)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        #[expect(unsafe_code, reason = "a hint that the standard library calls unsafe")]
        // SAFETY: a prefetch reads nothing the program can see and never faults; SSE is part of x86-64.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(data.as_ptr().cast::<i8>().wrapping_add(line));
        }
    }
}

/// A row-major matrix in a slice: element (i, j) is `data[i * stride + j]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

/// Row counts of a product must be multiples of it: so many are computed at a time where there are registers for their sums.
pub(crate) const ROW_TILE: usize = 8;
/// Widths of right-hand sides must be multiples of this (the widest vector).
pub(crate) const COLUMN_TILE: usize = LANES;

/// out = a b, or aᵀ b when `TRANSPOSED`, for small matrices that fit in the cache. For the block of output rows
/// r..r+[`ROW_TILE`], or half of it, only the first `columns(r)` columns are written and only the inner indices `inner(r)` are
/// summed: the causal triangle.
#[inline(always)]
pub(crate) fn product<S: Simd, const TRANSPOSED: bool>(
    simd: S,
    out: (&mut [f32], usize),
    operands: (Matrix<'_>, Matrix<'_>),
    n_rows: usize,
    columns: impl Fn(usize) -> usize,
    inner: impl Fn(usize) -> std::ops::Range<usize>,
) {
    match S::F32_LANES {
        16 => by_rows::<S, TRANSPOSED, ROW_TILE>(simd, out, operands, n_rows, columns, inner),
        _ => by_rows::<S, TRANSPOSED, { ROW_TILE / 2 }>(simd, out, operands, n_rows, columns, inner),
    }
}

#[inline(always)]
fn by_rows<S: Simd, const TRANSPOSED: bool, const ROWS: usize>(
    simd: S,
    (out, stride): (&mut [f32], usize),
    (a, b): (Matrix<'_>, Matrix<'_>),
    n_rows: usize,
    columns: impl Fn(usize) -> usize,
    inner: impl Fn(usize) -> std::ops::Range<usize>,
) {
    let mut row = 0;
    while row < n_rows {
        let (end, inner) = (columns(row), inner(row));
        let mut column = 0;
        while column + 2 * S::F32_LANES <= end {
            let out = &mut out[row * stride..];
            tile::<S, TRANSPOSED, ROWS, 2>(simd, out, stride, a, b, (row, column), inner.clone());
            column += 2 * S::F32_LANES;
        }
        while column < end {
            let out = &mut out[row * stride..];
            tile::<S, TRANSPOSED, ROWS, 1>(simd, out, stride, a, b, (row, column), inner.clone());
            column += S::F32_LANES;
        }
        row += ROWS;
    }
}

#[inline(always)]
fn tile<S: Simd, const TRANSPOSED: bool, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    out: &mut [f32],
    stride: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    (row, column): (usize, usize),
    inner: std::ops::Range<usize>,
) {
    let width = VECTORS * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    let mut rows = [&[][..]; ROWS];
    if !TRANSPOSED {
        for (i, it) in rows.iter_mut().enumerate() {
            *it = &a.data[(row + i) * a.stride..][..inner.end];
        }
    }
    for k in inner {
        let (b, _) = S::as_simd_f32s(&b.data[k * b.stride + column..][..width]);
        let mut values = [0.0; ROWS];
        if TRANSPOSED {
            values.copy_from_slice(&a.data[k * a.stride + row..][..ROWS]);
        } else {
            values.iter_mut().zip(&rows).for_each(|(value, row)| *value = row[k]);
        }
        for (sums, a) in sums.iter_mut().zip(values) {
            let a = simd.splat_f32s(a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = simd.mul_add_f32s(a, *b, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let (out, _) = S::as_mut_simd_f32s(&mut out[i * stride + column..][..width]);
        out.copy_from_slice(sums);
    }
}
