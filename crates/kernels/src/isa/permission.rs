//! Whether tiles can be used: the processor has them, the system saves them, and this process may.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use std::sync::OnceLock;

/// Whether processor, system and this process have tiles of bf16. The system is asked for its permission once; all threads then
/// have it, or none has.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| is_usable(has_instructions, saves_state, is_permitted))
}

/// Each is asked only where those before it agree.
pub(crate) fn is_usable(
    processor: impl Fn() -> bool,
    system: impl Fn() -> bool,
    permission: impl Fn() -> bool,
) -> bool {
    processor() && system() && permission()
}

/// The processor has tiles, and the system lets programs ask what it saves.
fn has_instructions() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let has = |leaf: u32, pick: fn(CpuidResult) -> u32, bits: u32| {
        __cpuid(0).eax >= leaf && pick(__cpuid_count(leaf, 0)) & bits == bits
    };
    is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
        && has(1, |it| it.ecx, OSXSAVE)
        && has(7, |it| it.edx, AMX_BF16 | AMX_TILE)
}

/// The system saves tiles when threads take turns.
fn saves_state() -> bool {
    const TILE_STATE: u32 = 3 << 17; // configuration and data
    let saved: u32;
    #[expect(unsafe_code, reason = "the compiler does not know what the machine has")]
    // SAFETY: the processor was found to have xgetbv.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack));
    }
    saved & TILE_STATE == TILE_STATE
}

/// Asks for the permission of this process, which a sandbox may refuse.
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let refused: i64;
    #[expect(unsafe_code, reason = "the standard library has no such call")]
    // SAFETY: this arch_prctl takes numbers and touches no memory of ours; a system call changes no registers but these.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => refused,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    refused == 0
}
