//! The same over what is cached in bf16, with products of tiles.

use super::attend::{Attend, Scratch};
use super::blocks::{BLOCK, padded};
use crate::amx::{How, Operand, STRIP, TILE, Unit, WithUnit};
use crate::area::Area;
use crate::heads::Heads;
use crate::lanes::{fetch, softmax};

impl WithUnit for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_unit<U: Unit>(self, unit: &U) {
        let mut scratch = std::mem::take(self.scratch);
        let Scratch { queries, scores, left, mixed } = &mut scratch;
        self.load(queries);
        let Heads { width, n_kv, n_query } = self.row.heads;
        let (words, n_rows) = (padded(width) / 2, queries.len() / width);
        let n_seen = self.before + self.qkv.len() / self.row.heads.fused_width(); // by the tile's last
        let columns = n_seen.next_multiple_of(BLOCK);
        let index = self.layer * n_kv + self.head;
        let place = index * words..(index + 1) * words;
        let blocks = &self.row.blocks()[..columns / BLOCK];
        let height = n_rows.next_multiple_of(TILE);

        scores.resize(height * columns, 0.0);
        Operand::along(queries, [n_rows, width]).left(unit, left);
        let mut sums = Area::new(scores, columns);
        for (at, block) in blocks.iter().enumerate() {
            if let Some(next) = blocks.get(at + 1) {
                fetch(&next.tiles().keys[place.clone()]);
            }
            fetch(&block.tiles().values[place.clone()]);
            for (row, strip) in (0..).step_by(STRIP).zip(left.chunks(2 * words / TILE)) {
                let n_rows = strip.len() / (words / TILE) * TILE;
                let sums = sums.block((row, at * BLOCK), n_rows).expect("there is room for all blocks");
                unit.multiply(strip, &block.tiles().keys[place.clone()], sums, How::default());
            }
        }
        for (row, scores) in scores.chunks_exact_mut(columns).take(n_rows).enumerate() {
            let (seen, future) = scores.split_at_mut(self.before + row / (n_query / n_kv) + 1);
            softmax(seen);
            future.fill(0.0);
        }

        mixed.resize(height * padded(width), 0.0);
        Operand::along(scores, [n_rows, columns]).left(unit, left);
        let mut sums = Area::new(mixed, padded(width));
        for (at, block) in blocks.iter().enumerate() {
            for (row, strip) in (0..).step_by(STRIP).zip(left.chunks(2 * blocks.len())) {
                let n_tiles = strip.len() / blocks.len();
                let strip = &strip[at * n_tiles..(at + 1) * n_tiles];
                let panels = block.tiles().values[place.clone()].chunks_exact(TILE);
                for (column, panel) in (0..).step_by(STRIP).zip(panels) {
                    let sums = sums.block((row, column), n_tiles * TILE).expect("there is room for all rows");
                    unit.multiply(strip, panel, sums, How { adds: at > 0, streams: false });
                }
            }
        }
        if let Some(row) = self.next {
            row.blocks().iter().take(2).for_each(|it| fetch(&it.tiles().keys[place.clone()]));
        }
        for (out, mixed) in self.out.chunks_exact_mut(width).zip(mixed.chunks_exact(padded(width))).take(n_rows) {
            out.copy_from_slice(&mixed[..width]);
        }
        *self.scratch = scratch;
    }
}
