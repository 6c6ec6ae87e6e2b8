//! How exact products are.

use crate::isa::{self, InstructionSet};

/// What the operands of a product are rounded to. Sums are f32 in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// To the nearest bf16, ties to even, in the forward pass and in both gradients: half the bytes, 8 bits of precision.
    /// Numbers below 2^-126 count as zero.
    Bf16,
}

impl Precision {
    /// The faster on this processor, by a table and not by timing it now: a run must not depend on how busy a machine is. Rates
    /// in bf16 to those in f32:
    ///
    /// | set | bf16 to f32 | of what |
    /// |---|---|---|
    /// | `amx` | 4.1 | product of 2048 cubed, a prototype of these tiles; they themselves are not measured yet |
    /// | `avx512bf16` | 0.53, 0.63 | product of 2048 cubed, two Intel Xeons, where products of pairs have half the rate |
    /// | others, which widen bf16 | 0.73 | training `tiny`, AMD Zen 3 |
    pub fn fastest() -> Precision {
        Precision::fastest_on(isa::chosen().0)
    }

    fn fastest_on(set: InstructionSet) -> Precision {
        match set {
            InstructionSet::Amx => Precision::Bf16,
            InstructionSet::Avx512Bf16
            | InstructionSet::Avx512
            | InstructionSet::Avx2
            | InstructionSet::Neon
            | InstructionSet::Portable
            | InstructionSet::AmxEmulated => Precision::F32,
        }
    }

    /// Inner indices that share a word.
    pub(crate) fn together(self) -> usize {
        match self {
            Precision::F32 => 1,
            Precision::Bf16 => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_for_processors_with_tiles() {
        let of_bf16 = |it: &InstructionSet| Precision::fastest_on(*it) == Precision::Bf16;
        let sets: Vec<InstructionSet> = InstructionSet::ALL.into_iter().filter(of_bf16).collect();
        assert_eq!(sets, [InstructionSet::Amx]);
        assert_eq!(Precision::fastest(), Precision::fastest_on(isa::chosen().0), "and nothing is timed");
    }
}
