//! Products of operands rounded to bf16, summed in f32. Two inner indices at a time: a pair of bf16 is a `u32`, the even index
//! in its low half. Where the machine multiplies pairs, it does; elsewhere they are widened to f32, and the sums are taken in
//! the same order.

use pulp::{Simd, WithSimd};

use crate::lanes::dispatch;
use crate::packed::{DEPTH, FEW_ROWS, PANEL, Place, ROWS};

/// The nearest bf16, ties to even; zero for what has no normal f32. In the high half.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    let normal = if x.abs() < f32::MIN_POSITIVE { 0 } else { nearest };
    if x.is_nan() { f32::NAN.to_bits() } else { normal }
}

/// The values at an even inner index and the next.
#[inline(always)]
fn pair(even: f32, odd: f32) -> u32 {
    rounded(odd) | rounded(even) >> 16
}

/// Each two rows of `values`, [2n, WIDTH], become one of pairs, as many as `out` has room for.
#[inline(always)]
pub(crate) fn round_pairs<const WIDTH: usize>(values: &[f32], out: &mut [u32]) {
    for (out, two) in out.chunks_exact_mut(WIDTH).zip(values.chunks_exact(2 * WIDTH)) {
        let (even, odd) = two.split_at(WIDTH);
        for i in 0..WIDTH {
            out[i] = pair(even[i], odd[i]);
        }
    }
}

/// A left operand [N, n_inner], where it is.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Row after row.
    Rows { values: &'a [f32], n_inner: usize },
    /// Column after column, `stride` apart.
    Columns { values: &'a [f32], stride: usize, n_inner: usize },
}

impl Left<'_> {
    fn n_pairs(self) -> usize {
        let (Left::Rows { n_inner, .. } | Left::Columns { n_inner, .. }) = self;
        n_inner.div_ceil(2)
    }

    /// Pairs of the rows `row..row + n_rows`, [pairs, n_rows].
    #[inline(always)]
    fn pack(self, row: usize, n_rows: usize, out: &mut [u32]) {
        match self {
            Left::Rows { values, n_inner } => {
                for i in 0..n_rows {
                    let values = &values[(row + i) * n_inner..][..n_inner];
                    for (out, values) in out.chunks_exact_mut(n_rows).zip(values.chunks(2)) {
                        out[i] = pair(values[0], values.get(1).copied().unwrap_or(0.0));
                    }
                }
            }
            Left::Columns { values, stride, n_inner } => {
                let column = |k: usize| &values[k * stride + row..][..n_rows];
                for (k, out) in out.chunks_exact_mut(n_rows).enumerate() {
                    let (even, odd) = (column(2 * k), column((2 * k + 1).min(n_inner - 1)));
                    let keep = if 2 * k + 1 < n_inner { u32::MAX } else { 0xffff };
                    for ((out, even), odd) in out.iter_mut().zip(even).zip(odd) {
                        *out = pair(*even, *odd) & keep;
                    }
                }
            }
        }
    }
}

/// out [N, columns] = `a` times `panels`, or that added to `out`. `panels` are `height` pairs high, of which those at `from`..
/// are multiplied with.
pub(crate) fn multiply(
    a: Left<'_>,
    (panels, height, from): (&[u32], usize, usize),
    (out, columns, adds): (&mut [f32], usize, bool),
) {
    let tiles = Tiles { a, panels, height, from, out, columns, adds };
    #[cfg(target_arch = "x86_64")]
    if let (crate::InstructionSet::Avx512Bf16, pulp::Arch::V4(simd)) = crate::isa::chosen() {
        #[expect(unsafe_code, reason = "the compiler cannot know what the machine has")]
        // SAFETY: the chosen set is one that this machine was found to have, with every feature that `native` enables.
        return unsafe { native(simd, tiles) };
    }
    dispatch(tiles);
}

struct Tiles<'a> {
    a: Left<'a>,
    panels: &'a [u32],
    height: usize,
    from: usize,
    out: &'a mut [f32],
    columns: usize,
    adds: bool,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.run(Widened(simd));
    }
}

impl Tiles<'_> {
    #[inline(always)]
    fn run<D: Dot>(self, dot: D) {
        let Tiles { a, panels, height, from, out, columns, adds } = self;
        let (n_rows, n_pairs) = (out.len() / columns, a.n_pairs());
        let tile_rows = |row: usize| match n_rows - row {
            ROWS.. if D::Vectors::F32_LANES == 16 => ROWS,
            FEW_ROWS.. => FEW_ROWS,
            _ => 1,
        };
        let mut pairs = vec![0; n_rows * n_pairs]; // tile by tile, [pairs, rows of the tile]
        let mut row = 0;
        while row < n_rows {
            let tile = tile_rows(row);
            a.pack(row, tile, &mut pairs[row * n_pairs..(row + tile) * n_pairs]);
            row += tile;
        }
        for start in (0..n_pairs).step_by(DEPTH) {
            let end = (start + DEPTH).min(n_pairs);
            for (index, panel) in panels.chunks_exact(height * PANEL).enumerate() {
                let panel = &panel[(from + start) * PANEL..(from + end) * PANEL];
                let place = Place { first: index * PANEL, columns, adds: adds || start > 0 };
                let mut row = 0;
                while row < n_rows {
                    let (out, rows) = (&mut out[row * columns..], tile_rows(row));
                    let a = &pairs[row * n_pairs + start * rows..row * n_pairs + end * rows];
                    match rows {
                        ROWS => tile::<D, ROWS>(dot, a, panel, out, place),
                        FEW_ROWS => tile::<D, FEW_ROWS>(dot, a, panel, out, place),
                        _ => tile::<D, 1>(dot, a, panel, out, place),
                    }
                    row += rows;
                }
            }
        }
    }
}

/// The first N rows of `out` in a panel's columns: `a` is [pairs, N].
#[inline(always)]
fn tile<D: Dot, const N: usize>(dot: D, a: &[u32], panel: &[u32], out: &mut [f32], place: Place) {
    let (simd, width) = (dot.vectors(), 2 * D::Vectors::F32_LANES);
    for strip in (0..PANEL).step_by(width) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; N];
        for (a, b) in a.chunks_exact(N).zip(panel.chunks_exact(PANEL)) {
            let (b, _) = D::Vectors::as_simd_u32s(&b[strip..strip + width]);
            for (sums, a) in sums.iter_mut().zip(a) {
                let a = simd.splat_u32s(*a);
                sums[0] = dot.add(sums[0], a, b[0]);
                sums[1] = dot.add(sums[1], a, b[1]);
            }
        }
        for (out, sums) in out.chunks_exact_mut(place.columns).zip(sums) {
            place.put(simd, out, strip, sums);
        }
    }
}

type Sums<D> = <<D as Dot>::Vectors as Simd>::f32s;
type PairsOf<D> = <<D as Dot>::Vectors as Simd>::u32s;

/// Multiplies vectors of pairs.
trait Dot: Copy {
    type Vectors: Simd;

    fn vectors(self) -> Self::Vectors;

    /// sum + the product of the odd halves + that of the even halves, lane by lane.
    fn add(self, sum: Sums<Self>, a: PairsOf<Self>, b: PairsOf<Self>) -> Sums<Self>;
}

/// With two products of f32.
#[derive(Clone, Copy)]
struct Widened<S>(S);

impl<S: Simd> Dot for Widened<S> {
    type Vectors = S;

    #[inline(always)]
    fn vectors(self) -> S {
        self.0
    }

    #[inline(always)]
    fn add(self, sum: S::f32s, a: S::u32s, b: S::u32s) -> S::f32s {
        let simd = self.0;
        let odd = |pair| simd.transmute_f32s_u32s(simd.and_u32s(pair, simd.splat_u32s(0xffff_0000)));
        let even = |pair| simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pair, simd.splat_u32s(16)));
        simd.mul_add_f32s(even(a), even(b), simd.mul_add_f32s(odd(a), odd(b), sum))
    }
}

/// With the machine's own instruction.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Native(pulp::x86::V4);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
fn native(simd: pulp::x86::V4, tiles: Tiles<'_>) {
    tiles.run(Native(simd));
}

#[cfg(target_arch = "x86_64")]
impl Dot for Native {
    type Vectors = pulp::x86::V4;

    #[inline(always)]
    fn vectors(self) -> pulp::x86::V4 {
        self.0
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "pulp does not have this instruction")]
    fn add(self, sum: pulp::f32x16, a: pulp::u32x16, b: pulp::u32x16) -> pulp::f32x16 {
        use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
        use std::mem::transmute;
        // SAFETY: a `Native` is made in `native` alone, which has the instruction. All the vectors are 64 bytes, and each of
        // their bit patterns is a value.
        unsafe {
            let (a, b) = (transmute::<pulp::u32x16, __m512bh>(a), transmute::<pulp::u32x16, __m512bh>(b));
            let sum = transmute::<pulp::f32x16, __m512>(sum);
            transmute::<__m512, pulp::f32x16>(_mm512_dpbf16_ps(sum, a, b))
        }
    }
}
