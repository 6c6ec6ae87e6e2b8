//! What multiplies words in the inner loop of a product.

use pulp::Simd;

/// Sums of a vector's lanes.
pub(crate) type Sums<D> = <<D as Dot>::Vectors as Simd>::f32s;
/// A vector of words.
pub(crate) type Words<D> = <<D as Dot>::Vectors as Simd>::u32s;

/// Multiplies vectors of words.
pub(crate) trait Dot: Copy {
    type Vectors: Simd;
    /// Inner indices of a word.
    const TOGETHER: usize;
    /// Most rows of a tile: their sums fill the registers. 12, 6 or 4.
    const ROWS: usize;

    fn vectors(self) -> Self::Vectors;

    /// The word of the values at an inner index and, if it has two, the next.
    fn word(self, even: f32, odd: f32) -> u32;

    /// sum + the products of `a` and `b`, lane by lane, that of the odd index first.
    fn add(self, sum: Sums<Self>, a: Words<Self>, b: Words<Self>) -> Sums<Self>;

    /// Rows of the next tile of `left`: few thin ones, which take as long as those of four.
    #[inline(always)]
    fn rows(left: usize) -> usize {
        match left {
            7 | 8 | 11 if Self::ROWS == 6 => 4,
            _ if left >= Self::ROWS => Self::ROWS,
            4.. => 4,
            _ => left,
        }
    }
}

/// Words that are f32.
#[derive(Clone, Copy)]
pub(crate) struct Whole<S>(pub(crate) S);

impl<S: Simd> Dot for Whole<S> {
    type Vectors = S;
    const TOGETHER: usize = 1;
    const ROWS: usize = match S::F32_LANES {
        16 => 12,
        8 => 6,
        _ => 4,
    };

    #[inline(always)]
    fn vectors(self) -> S {
        self.0
    }

    #[inline(always)]
    fn word(self, even: f32, _: f32) -> u32 {
        even.to_bits()
    }

    #[inline(always)]
    fn add(self, sum: S::f32s, a: S::u32s, b: S::u32s) -> S::f32s {
        self.0.mul_add_f32s(self.0.transmute_f32s_u32s(a), self.0.transmute_f32s_u32s(b), sum)
    }
}
