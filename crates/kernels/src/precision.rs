//! How exact products are.

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
    /// Inner indices that share a word.
    pub(crate) fn together(self) -> usize {
        match self {
            Precision::F32 => 1,
            Precision::Bf16 => 2,
        }
    }
}
