//! Tiles in plain Rust.

use std::mem::MaybeUninit;

use crate::amx::unit::{How, Line, TILE, Tile, Unit, Word, sizes};
use crate::area::Block;
use crate::bf16;

/// Computes the bits of a processor's tiles.
pub(crate) struct Emulated;

/// Rows whose sums stay in registers together: with more, the compiler gives up on vectors.
const ROWS: usize = 2;

impl Unit for Emulated {
    #[inline(always)]
    fn multiply(&self, left: &[Tile], right: &[Word], mut sums: Block<'_>, how: How) {
        let (_, n_tiles) = sizes(left, right, &sums);
        for row in (0..sums.n_rows()).step_by(ROWS) {
            for half in [0, 1] {
                let mut all = [[0.0_f32; TILE]; ROWS];
                if how.adds {
                    for (i, all) in all.iter_mut().enumerate() {
                        #[expect(unsafe_code, reason = "the type does not follow from what was written")]
                        // SAFETY: who adds says that the sums have values.
                        let values: [f32; TILE] = unsafe { std::mem::transmute_copy(sums.row(row + i, half * TILE)) };
                        *all = values.map(normal);
                    }
                }
                for (tiles, words) in left.chunks_exact(n_tiles).zip(right.as_chunks::<TILE>().0) {
                    let rows: &[Line; ROWS] = tiles[row / TILE][row % TILE..].first_chunk().expect("rows of a tile");
                    let (mut even, mut odd) = ([[0.0_f32; TILE]; ROWS], [[0.0_f32; TILE]; ROWS]);
                    for (word, right) in words.iter().enumerate() {
                        for i in 0..ROWS {
                            let (a, b) = (rows[i].0[word], &right[half].0);
                            for j in 0..TILE {
                                even[i][j] = normal(bf16::even(a).mul_add(bf16::even(b[j]), even[i][j]));
                            }
                            for j in 0..TILE {
                                odd[i][j] = normal(bf16::odd(a).mul_add(bf16::odd(b[j]), odd[i][j]));
                            }
                        }
                    }
                    for i in 0..ROWS {
                        for j in 0..TILE {
                            all[i][j] = normal(all[i][j] + normal(even[i][j] + odd[i][j]));
                        }
                    }
                }
                for (i, all) in all.iter().enumerate() {
                    *sums.row(row + i, half * TILE) = all.map(MaybeUninit::new);
                }
            }
        }
    }

    #[inline(always)]
    fn neighbours(&self, values: &[f32; 2 * TILE]) -> Line {
        let (pairs, _) = values.as_chunks::<2>();
        Line(std::array::from_fn(|at| bf16::pair(pairs[at][0], pairs[at][1])))
    }

    #[inline(always)]
    fn pairs(&self, even: &[f32; TILE], odd: &[f32; TILE]) -> Line {
        Line(std::array::from_fn(|at| bf16::pair(even[at], odd[at])))
    }

    #[inline(always)]
    fn transpose(&self, tile: &mut Tile) {
        let lines = *tile;
        for (i, line) in tile.iter_mut().enumerate() {
            line.0 = lines.map(|it| it.0[i]);
        }
    }
}

/// Zero, with its sign, for what is smaller than the smallest normal number.
#[inline(always)]
fn normal(x: f32) -> f32 {
    const SIGN: u32 = 1 << 31;
    let is_normal = x.to_bits() & !SIGN >= f32::MIN_POSITIVE.to_bits();
    f32::from_bits(x.to_bits() & (SIGN | u32::from(is_normal).wrapping_neg()))
}
