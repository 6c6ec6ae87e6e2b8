//! What multiplies tiles.

use crate::area::Block;

/// Rows of a tile, and words of each.
pub(crate) const TILE: usize = 16;

/// Inner indices of a tile.
pub(crate) const DEPTH: usize = 2 * TILE;
/// Columns of a panel, and most rows of a strip: two tiles.
pub(crate) const STRIP: usize = 2 * TILE;

/// 16 words, in one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; TILE]);

impl Line {
    pub(crate) const ZERO: Line = Line([0; TILE]);

    /// The bits of the first 16 values.
    #[inline(always)]
    pub(crate) fn of(values: &[f32]) -> Line {
        let values: &[f32; TILE] = values.first_chunk().expect("16 values");
        Line(values.map(f32::to_bits))
    }

    /// What has these bits.
    #[inline(always)]
    pub(crate) fn values(&self) -> [f32; TILE] {
        self.0.map(f32::from_bits)
    }
}

/// Of a left operand a line per row; of a right one a line per word, with its columns.
pub(crate) type Tile = [Line; TILE];

/// A word of a panel, with its 32 columns.
pub(crate) type Word = [Line; 2];

/// So many of them, all zero.
pub(crate) fn zeros(n: usize) -> Vec<Word> {
    vec![[Line::ZERO; 2]; n]
}

/// How tiles are multiplied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// Products are added to the sums that are there, not in their place.
    pub(crate) adds: bool,
    /// Right operands come from memory, each for few rows, and what follows is needed next.
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        expect(dead_code, reason = "only native tiles ask for what follows")
    )]
    pub(crate) streams: bool,
}

impl How {
    pub(crate) const ADDS: How = How { adds: true, streams: false };
}

/// Rounds, arranges and multiplies tiles. All units compute the same bits, but for those of a NaN, and for sums next to the smallest
/// normal number, 2^-126, that reach it only by being rounded: emulated, they are it, and a processor makes them zero.
///
/// A product of tiles sums the even and the odd ones of 32 inner indices apart, each from zero and in order, with fused
/// multiply-adds; then it adds the two, and what comes out to the sum so far. Numbers that are not normal count as zero, and
/// so do sums.
pub(crate) trait Unit {
    /// sums = `left` times `right`: `left` has one or two tiles of rows for each step of the inner index, step by step, `right` 16
    /// words of 32 columns; `sums` has as many rows as `left`.
    fn multiply(&self, left: &[Tile], right: &[Word], sums: Block<'_>, how: How);

    /// Neighbours, rounded to the nearest bf16, in pairs.
    fn neighbours(&self, values: &[f32; 2 * TILE]) -> Line;

    /// Those of one row with those of the next, rounded to the nearest bf16.
    fn pairs(&self, even: &[f32; TILE], odd: &[f32; TILE]) -> Line;

    /// Exchanges lines and words.
    fn transpose(&self, tile: &mut Tile);
}

/// What is compiled once per unit; annotate the function `#[inline(always)]`.
pub(crate) trait WithUnit {
    type Output;
    fn with_unit<U: Unit>(self, unit: &U) -> Self::Output;
}

/// Steps of the inner index, and tiles of rows, of what [`Unit::multiply`] is given.
#[inline(always)]
pub(crate) fn sizes(left: &[Tile], right: &[Word], sums: &Block<'_>) -> (usize, usize) {
    let (n_steps, n_tiles) = (right.len() / TILE, sums.n_rows() / TILE);
    assert_eq!(right.len() % TILE, 0, "right operands are whole tiles");
    assert!(matches!(n_tiles, 1 | 2) && sums.n_rows().is_multiple_of(TILE), "one tile of rows, or two");
    assert_eq!(left.len(), n_steps * n_tiles, "left and right have the same steps");
    (n_steps, n_tiles)
}
