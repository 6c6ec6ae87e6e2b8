//! Intel AMX: eight registers of 1 KiB that hold tiles, and the instructions for them, which the compiler knows in assembly only.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::transmute;

use crate::amx::unit::{How, Line, TILE, Tile, Unit, WithUnit, Word, sizes};
use crate::area::Block;
use crate::isa::permission::is_available;
use crate::isa::{self, InstructionSet};

/// The tile registers of this thread, each of 16 rows of 64 bytes until this is dropped. It stays on its thread, so that no
/// other work that waits there finds them in use.
pub(crate) struct Native {
    on_this_thread: PhantomData<*const ()>,
}

impl Native {
    /// If the kernels run on [`InstructionSet::Amx`].
    pub(crate) fn chosen() -> Option<Native> {
        (isa::chosen().0 == InstructionSet::Amx).then(Native::configured)
    }

    /// Panics where there are no tiles.
    pub(crate) fn configured() -> Native {
        assert!(is_available(), "the machine has tiles");
        let mut bytes = [0_u8; 64];
        bytes[0] = 1; // the palette
        for tile in 0..8 {
            bytes[16 + 2 * tile] = 4 * TILE as u8; // bytes of a row
            bytes[48 + tile] = TILE as u8; // rows
        }
        #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
        // SAFETY: the machine has tiles, and reads 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) bytes.as_ptr(), options(nostack, readonly));
        }
        Native { on_this_thread: PhantomData }
    }

    /// Does `work`, compiled for what a machine with tiles has.
    pub(crate) fn run<W: WithUnit>(&self, work: W) -> W::Output {
        #[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
        fn compiled<W: WithUnit>(unit: &Native, work: W) -> W::Output {
            work.with_unit(unit)
        }
        #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
        // SAFETY: there is a `Native` only where the machine was found to have tiles, which no machine has without these.
        unsafe {
            compiled(self, work)
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
        // SAFETY: it was configured, so there are tiles.
        unsafe {
            asm!("tilerelease", options(nostack));
        }
    }
}

impl Unit for Native {
    #[inline(always)]
    fn multiply(&self, left: &[Tile], right: &[Word], mut sums: Block<'_>, how: How) {
        let (n_steps, n_tiles) = sizes(left, right, &sums);
        if n_steps == 0 {
            // Sums of nothing are zeros, which the loops below, that test at their end, do not write.
            let rows = 0..if how.adds { 0 } else { sums.n_rows() };
            return rows.for_each(|row| [0, TILE].into_iter().for_each(|at| sums.row(row, at).fill(ZERO)));
        }
        let (to, stride) = sums.pointer();
        #[expect(unsafe_code, reason = "the compiler knows these instructions in assembly only")]
        // SAFETY: tiles are configured, since there is a `Native`. `sizes` found the operands to have `n_steps` steps of their
        // tiles, and `sums` has the rows of one or two tiles.
        unsafe {
            match n_tiles {
                1 => one_tile(left.as_ptr(), right.as_ptr(), n_steps, to, stride, how),
                _ => two_tiles(left.as_ptr(), right.as_ptr(), n_steps, to, stride, how.adds),
            }
        }
    }

    #[inline(always)]
    fn neighbours(&self, values: &[f32; 2 * TILE]) -> Line {
        #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
        // SAFETY: there is a `Native` only where the machine has these instructions; they read 16 values each.
        unsafe {
            let [low, high] = [0, TILE].map(|from| _mm512_loadu_ps(values[from..].as_ptr()));
            Line(transmute::<__m512bh, [u32; TILE]>(_mm512_cvtne2ps_pbh(high, low)))
        }
    }

    #[inline(always)]
    fn pairs(&self, even: &[f32; TILE], odd: &[f32; TILE]) -> Line {
        const ORDER: [u16; 32] = {
            let mut order = [0; 32];
            let mut at = 0;
            while at < 32 {
                order[at] = (at / 2 + at % 2 * 16) as u16;
                at += 1;
            }
            order
        };
        #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
        // SAFETY: there is a `Native` only where the machine has these instructions; they read 64 bytes each.
        unsafe {
            let (even, odd) = (_mm512_loadu_ps(even.as_ptr()), _mm512_loadu_ps(odd.as_ptr()));
            let both = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(odd, even));
            let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
            Line(transmute::<__m512i, [u32; TILE]>(_mm512_permutexvar_epi16(order, both)))
        }
    }

    #[inline(always)]
    fn transpose(&self, tile: &mut Tile) {
        #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
        // SAFETY: there is a `Native` only where the machine has these instructions; a line has the bytes of a vector.
        unsafe {
            let mut lines = [_mm512_setzero_si512(); TILE];
            for (line, from) in lines.iter_mut().zip(&*tile) {
                *line = _mm512_load_si512(from.0.as_ptr().cast());
            }
            lines = exchange::<1>(lines);
            lines = exchange::<2>(lines);
            lines = exchange::<4>(lines);
            lines = exchange::<8>(lines);
            // Of each four, the middle two come out in each other's place.
            for (to, from) in tile.iter_mut().zip([0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15]) {
                _mm512_store_si512(to.0.as_mut_ptr().cast(), lines[from]);
            }
        }
    }
}

const ZERO: std::mem::MaybeUninit<f32> = std::mem::MaybeUninit::new(0.0);

/// Exchanges between lines that are `APART`: one of the four steps in which lines become words.
#[inline(always)]
#[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
/// # Safety
///
/// The machine has AVX-512.
unsafe fn exchange<const APART: usize>(lines: [__m512i; TILE]) -> [__m512i; TILE] {
    let mut out = lines;
    for i in 0..TILE / 2 {
        let low = i / APART * 2 * APART + i % APART;
        let high = low + APART;
        // SAFETY: the caller says that the machine has them.
        (out[low], out[high]) = unsafe {
            match APART {
                1 => (_mm512_unpacklo_epi32(lines[low], lines[high]), _mm512_unpackhi_epi32(lines[low], lines[high])),
                2 => (_mm512_unpacklo_epi64(lines[low], lines[high]), _mm512_unpackhi_epi64(lines[low], lines[high])),
                _ => (
                    _mm512_shuffle_i32x4::<0x88>(lines[low], lines[high]),
                    _mm512_shuffle_i32x4::<0xdd>(lines[low], lines[high]),
                ),
            }
        };
    }
    out
}

/// Two tiles of rows times two of columns. The left operand stays in the first-level cache, the right one passes it by; rows
/// of sums that are only written are asked for meanwhile, two per step.
///
/// # Safety
///
/// Tiles are configured; `left` has `n_steps` > 0 pairs of tiles, `right` 16 words of 32 columns for each, and `to` 32 rows of 32
/// columns, `stride` bytes apart.
#[inline(always)]
#[expect(unsafe_code, reason = "the compiler knows these instructions in assembly only")]
unsafe fn two_tiles(left: *const Tile, right: *const Word, n_steps: usize, to: *mut f32, stride: usize, adds: bool) {
    let ahead = if adds { 0 } else { TILE };
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "lea {high}, [{stride} + {stride}]",
            "shl {high}, 3", // 16 rows further on
            "add {high}, {to}",
            "test {adds}, {adds}",
            "jz 2f",
            "tileloadd tmm0, [{to} + 1*{stride}]",
            "tileloadd tmm1, [{to} + 1*{stride} + 64]",
            "tileloadd tmm2, [{high} + 1*{stride}]",
            "tileloadd tmm3, [{high} + 1*{stride} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm4, [{left} + 1*{line}]",
            "tileloaddt1 tmm6, [{right} + 2*{line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloaddt1 tmm7, [{right} + 2*{line} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{left} + 1*{line} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "test {ahead}, {ahead}",
            "jz 4f",
            "prefetchw [{row}]",
            "prefetchw [{row} + 64]",
            "prefetchw [{row} + {stride}]",
            "prefetchw [{row} + {stride} + 64]",
            "lea {row}, [{row} + 2*{stride}]",
            "dec {ahead}",
            "4:",
            "add {left}, 2048",
            "add {right}, 2048",
            "dec {n_steps}",
            "jnz 3b",
            "tilestored [{to} + 1*{stride}], tmm0",
            "tilestored [{to} + 1*{stride} + 64], tmm1",
            "tilestored [{high} + 1*{stride}], tmm2",
            "tilestored [{high} + 1*{stride} + 64], tmm3",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            n_steps = inout(reg) n_steps => _,
            to = in(reg) to,
            row = inout(reg) to => _,
            high = out(reg) _,
            stride = in(reg) stride,
            line = in(reg) 64_usize,
            adds = in(reg) usize::from(adds),
            ahead = inout(reg) ahead => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// One tile of rows times two of columns. A right operand that comes from memory is asked for some steps before it is needed.
///
/// # Safety
///
/// As [`two_tiles`], but that `left` has `n_steps` tiles, and `to` 16 rows.
#[inline(always)]
#[expect(unsafe_code, reason = "the compiler knows these instructions in assembly only")]
unsafe fn one_tile(left: *const Tile, right: *const Word, n_steps: usize, to: *mut f32, stride: usize, how: How) {
    // SAFETY: the caller's; a prefetch never faults.
    unsafe {
        asm!(
            "test {adds}, {adds}",
            "jz 2f",
            "tileloadd tmm0, [{to} + 1*{stride}]",
            "tileloadd tmm1, [{to} + 1*{stride} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "3:",
            "tileloadd tmm4, [{left} + 1*{line}]",
            "tileloaddt1 tmm6, [{right} + 2*{line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloaddt1 tmm7, [{right} + 2*{line} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "test {streams}, {streams}",
            "jz 4f",
            // The 32 cache lines of a step, four steps from here.
            ".irp line, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
            "prefetcht1 [{right} + 8192 + 64*\\line]",
            ".endr",
            "4:",
            "add {left}, 1024",
            "add {right}, 2048",
            "dec {n_steps}",
            "jnz 3b",
            "tilestored [{to} + 1*{stride}], tmm0",
            "tilestored [{to} + 1*{stride} + 64], tmm1",
            left = inout(reg) left => _,
            right = inout(reg) right => _,
            n_steps = inout(reg) n_steps => _,
            to = in(reg) to,
            stride = in(reg) stride,
            line = in(reg) 64_usize,
            adds = in(reg) usize::from(how.adds),
            streams = in(reg) usize::from(how.streams),
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
