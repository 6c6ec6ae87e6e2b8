//! Which instruction set the kernels run on: the widest that this machine has, or the one that `COLLIMATE_ISA` names.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod permission;

use std::fmt;
use std::sync::OnceLock;

use pulp::Arch;

/// What the kernels are compiled for; one of them runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 with products of tiles of bf16 (AMX), for which the system gives its permission.
    Amx,
    /// AVX-512 with products of pairs of bf16.
    Avx512Bf16,
    /// AVX-512: F, BW, CD, DQ and VL.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// 64-bit Arm.
    Neon,
    /// Whatever the compiler takes for granted.
    Portable,
    /// The bits of [`InstructionSet::Amx`] in bf16, from the widest vectors that are there: slow, for tests. Never chosen unless named.
    AmxEmulated,
}

/// The variable that names the set to use, read once per process.
const VARIABLE: &str = "COLLIMATE_ISA";

/// Why `COLLIMATE_ISA` cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No set has this name.
    #[error("{VARIABLE} is `{0}`: use one of {all}", all = names(&InstructionSet::ALL))]
    Unknown(String),
    /// Another machine may have it.
    #[error("{VARIABLE} is `{0}`, which this machine lacks: it has {has}", has = names(&InstructionSet::available()))]
    Unavailable(InstructionSet),
}

fn names(sets: &[InstructionSet]) -> String {
    sets.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
}

impl InstructionSet {
    /// Every set, those of a kind from wide to narrow.
    pub const ALL: [InstructionSet; 7] = [
        InstructionSet::Amx,
        InstructionSet::Avx512Bf16,
        InstructionSet::Avx512,
        InstructionSet::Avx2,
        InstructionSet::Neon,
        InstructionSet::Portable,
        InstructionSet::AmxEmulated,
    ];

    /// The sets of this machine, the widest first; never empty.
    pub fn available() -> Vec<InstructionSet> {
        InstructionSet::ALL.into_iter().filter(|it| it.arch().is_some()).collect()
    }

    /// The set that kernels run on in this process.
    pub fn chosen() -> Result<InstructionSet, IsaError> {
        static CHOSEN: OnceLock<Result<InstructionSet, IsaError>> = OnceLock::new();
        let choose = || match std::env::var_os(VARIABLE) {
            Some(name) => InstructionSet::named(&name.to_string_lossy()),
            None => Ok(InstructionSet::available()[0]),
        };
        CHOSEN.get_or_init(choose).clone()
    }

    /// The set called `name`, if this machine has it.
    pub fn named(name: &str) -> Result<InstructionSet, IsaError> {
        let set = InstructionSet::ALL.into_iter().find(|it| it.name() == name);
        let set = set.ok_or_else(|| IsaError::Unknown(name.to_owned()))?;
        if set.arch().is_some() { Ok(set) } else { Err(IsaError::Unavailable(set)) }
    }

    /// What `COLLIMATE_ISA` calls it.
    pub fn name(self) -> &'static str {
        match self {
            InstructionSet::Amx => "amx",
            InstructionSet::Avx512Bf16 => "avx512bf16",
            InstructionSet::Avx512 => "avx512",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::Neon => "neon",
            InstructionSet::Portable => "portable",
            InstructionSet::AmxEmulated => "amx-emulated",
        }
    }

    /// Whether its products of bf16 are those of tiles.
    pub(crate) fn has_tiles(self) -> bool {
        matches!(self, InstructionSet::Amx | InstructionSet::AmxEmulated)
    }

    /// Its f32 vectors, if this machine has it.
    fn arch(self) -> Option<Arch> {
        match self {
            InstructionSet::Portable => Some(Arch::Scalar),
            InstructionSet::AmxEmulated => {
                use InstructionSet::{Avx2, Avx512, Neon, Portable};
                [Avx512, Avx2, Neon, Portable].into_iter().find_map(InstructionSet::arch)
            }
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            InstructionSet::Amx if permission::is_available() => InstructionSet::Avx512Bf16.arch(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Bf16 if is_x86_feature_detected!("avx512bf16") => InstructionSet::Avx512.arch(),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            _ => None,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The chosen set with its f32 vectors. Panics if `COLLIMATE_ISA` cannot be followed.
#[inline]
pub(crate) fn chosen() -> (InstructionSet, Arch) {
    static CHOSEN: OnceLock<(InstructionSet, Arch)> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let set = InstructionSet::chosen().unwrap_or_else(|error| panic!("{error}"));
        (set, set.arch().expect("a chosen set is available"))
    })
}

/// Whether vectors hold 16 f32.
pub(crate) fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(chosen().1, Arch::V4(_));
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
