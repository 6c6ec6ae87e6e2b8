//! Products of operands rounded to bf16, summed in f32. Two inner indices at a time: a pair of bf16 is a `u32`, the even index
//! in its low half. Where the machine multiplies pairs, it does; elsewhere they are widened to f32, and the sums are taken in
//! the same order.

use pulp::Simd;

use crate::dot::Dot;
#[cfg(target_arch = "x86_64")]
use crate::isa::{self, InstructionSet};

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
pub(crate) fn pair(even: f32, odd: f32) -> u32 {
    rounded(odd) | rounded(even) >> 16
}

/// What a word has at the even inner index.
#[inline(always)]
pub(crate) fn even(word: u32) -> f32 {
    f32::from_bits(word << 16)
}

/// And at the odd one.
#[inline(always)]
pub(crate) fn odd(word: u32) -> f32 {
    f32::from_bits(word & 0xffff_0000)
}

/// With two products of f32.
#[derive(Clone, Copy)]
pub(crate) struct Widened<S>(pub(crate) S);

impl<S: Simd> Dot for Widened<S> {
    type Vectors = S;
    const TOGETHER: usize = 2;
    const ROWS: usize = if S::F32_LANES == 16 { 12 } else { 4 };

    #[inline(always)]
    fn word(self, even: f32, odd: f32) -> u32 {
        pair(even, odd)
    }

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

/// With the machine's own instruction; there is one only where the machine has it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Native(pulp::x86::V4);

#[cfg(target_arch = "x86_64")]
impl Native {
    /// If the kernels run on [`InstructionSet::Avx512Bf16`].
    pub(crate) fn chosen() -> Option<Native> {
        match isa::chosen() {
            (InstructionSet::Avx512Bf16, pulp::Arch::V4(simd)) => Some(Native(simd)),
            _ => None,
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Dot for Native {
    type Vectors = pulp::x86::V4;
    const TOGETHER: usize = 2;
    const ROWS: usize = 12;

    #[inline(always)]
    fn word(self, even: f32, odd: f32) -> u32 {
        pair(even, odd)
    }

    #[inline(always)]
    fn vectors(self) -> pulp::x86::V4 {
        self.0
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "pulp does not have this instruction")]
    fn add(self, sum: pulp::f32x16, a: pulp::u32x16, b: pulp::u32x16) -> pulp::f32x16 {
        use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
        use std::mem::transmute;
        // SAFETY: a `Native` is made in `chosen` alone, where the machine was found to have the instruction. All the vectors
        // are 64 bytes, and each of their bit patterns is a value.
        unsafe {
            let (a, b) = (transmute::<pulp::u32x16, __m512bh>(a), transmute::<pulp::u32x16, __m512bh>(b));
            let sum = transmute::<pulp::f32x16, __m512>(sum);
            transmute::<__m512, pulp::f32x16>(_mm512_dpbf16_ps(sum, a, b))
        }
    }
}
