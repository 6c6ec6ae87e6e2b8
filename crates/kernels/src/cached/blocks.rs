//! What sequences have cached, in blocks of positions.

use std::sync::Arc;

use crate::amx::{Line, STRIP, TILE, Word, zeros};
use crate::bf16;
use crate::heads::Heads;
use crate::lanes::COLUMN_TILE;
use crate::packed::multiplies_tiles;
use crate::precision::Precision;
use crate::rotary::Rotary;

/// Positions of a block.
pub const BLOCK: usize = 32;

const _: () = assert!(BLOCK == STRIP && BLOCK == 2 * TILE);

/// Rotated keys and values of [`BLOCK`] consecutive positions of a sequence, all layers. Clones are the same block.
#[derive(Clone, Debug)]
pub struct Block(Arc<Stored>);

impl Block {
    /// Whether nothing else holds this block.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Memory of one block of such a model, bytes.
    pub fn bytes(n_layers: usize, heads: Heads, precision: Precision) -> usize {
        let value_stride = heads.width.next_multiple_of(COLUMN_TILE);
        match multiplies_tiles(precision) {
            true => Tiles::bytes(n_layers, heads),
            false => n_layers * heads.n_kv * BLOCK * (heads.width + value_stride) * size_of::<f32>(),
        }
    }

    pub(super) fn whole(&self) -> &Whole {
        match &*self.0 {
            Stored::Whole(it) => it,
            Stored::Tiles(_) => unreachable!("{OF_ITS_ROW}"),
        }
    }

    pub(super) fn tiles(&self) -> &Tiles {
        match &*self.0 {
            Stored::Tiles(it) => it,
            Stored::Whole(_) => unreachable!("{OF_ITS_ROW}"),
        }
    }
}

const OF_ITS_ROW: &str = "blocks are in the precision of their row";

#[derive(Clone, Debug)]
enum Stored {
    Whole(Whole),
    /// In bf16, for products of tiles.
    Tiles(Tiles),
}

#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) keys: Vec<f32>, // [layers, K, d, BLOCK]: transposed, so that scores are a product with it
    pub(super) values: Vec<f32>, // [layers, K, BLOCK, d rounded up to a tile]
}

/// Keys and values in bf16: a block's positions are the columns of one panel of keys, and the inner indices of one step of values.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    pub(super) keys: Vec<Word>,   // [layers, K, words of d]
    pub(super) values: Vec<Word>, // [layers, K, panels of d, words of positions]
}

impl Tiles {
    fn new(n_layers: usize, heads: Heads) -> Tiles {
        let words = || zeros(n_layers * heads.n_kv * padded(heads.width) / 2);
        Tiles { keys: words(), values: words() }
    }

    fn bytes(n_layers: usize, heads: Heads) -> usize {
        n_layers * heads.n_kv * padded(heads.width) * size_of::<Word>()
    }

    /// Keeps a position's key, which is rotated first, and its value, for the layer and head of `index`.
    fn put(&mut self, index: usize, at: usize, key: &[f32], (cos, sin): (&[f32], &[f32]), value: &[f32]) {
        let (width, half) = (key.len(), key.len() / 2);
        let words = padded(width) / 2;
        let rotated = |i: usize| match i < half {
            true => key[i] * cos[i] - key[half + i] * sin[i],
            false => key[i] * cos[i - half] + key[i - half] * sin[i - half],
        };
        let odd = |i: usize| if i < width { rotated(i) } else { 0.0 };
        let keys = &mut self.keys[index * words..][..words];
        for (word, i) in keys.iter_mut().zip((0..width).step_by(2)) {
            word[at / TILE].0[at % TILE] = bf16::pair(rotated(i), odd(i + 1));
        }
        let values = &mut self.values[index * words..][..words];
        if at == 0 {
            // What another sequence left there has no share, but 0 times a NaN is one.
            values.fill([Line::ZERO; 2]);
        }
        for (column, value) in value.iter().enumerate() {
            let word = &mut values[column / STRIP * TILE + at / 2][column % STRIP / TILE].0[column % TILE];
            *word = match at % 2 {
                0 => *word & 0xffff_0000 | bf16::pair(*value, 0.0),
                _ => *word & 0xffff | bf16::pair(0.0, *value),
            };
        }
    }
}

/// A head's width in whole panels.
pub(super) fn padded(width: usize) -> usize {
    width.next_multiple_of(STRIP)
}

/// What one sequence has cached. A clone shares the blocks.
#[derive(Clone, Debug)]
pub struct CachedRow {
    n_layers: usize,
    pub(super) heads: Heads,
    /// Products are those of tiles.
    pub(super) of_tiles: bool,
    len: usize,
    blocks: Vec<Block>,
}

impl CachedRow {
    /// A sequence that begins with the positions of `blocks`, all of them full and of rows like this. Where
    /// [`attention`](crate::attention) in this precision multiplies in bf16, so does this, and keeps keys and values in it.
    pub fn new(n_layers: usize, heads: Heads, precision: Precision, blocks: Vec<Block>) -> CachedRow {
        CachedRow { n_layers, heads, of_tiles: multiplies_tiles(precision), len: blocks.len() * BLOCK, blocks }
    }

    /// Positions cached in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// So many of the positions for which there is room count as cached.
    pub(super) fn lengthen(&mut self, n: usize) {
        self.len += n;
    }

    /// Gives up its blocks.
    pub(super) fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }

    /// The blocks, the last of which may not be full.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Makes room for `n` more positions, in `spare` blocks first. A block that is not full and that something else holds is
    /// copied.
    pub(super) fn grow(&mut self, n: usize, spare: &mut Vec<Block>) {
        if !self.len.is_multiple_of(BLOCK) {
            Arc::make_mut(&mut self.blocks[self.len / BLOCK].0);
        }
        let stride = self.value_stride();
        let per_position = self.n_layers * self.heads.n_kv * BLOCK;
        while self.blocks.len() * BLOCK < self.len + n {
            self.blocks.push(spare.pop().unwrap_or_else(|| {
                let zeros = |width: usize| vec![0.0; per_position * width];
                Block(Arc::new(match self.of_tiles {
                    true => Stored::Tiles(Tiles::new(self.n_layers, self.heads)),
                    false => Stored::Whole(Whole { keys: zeros(self.heads.width), values: zeros(stride) }),
                }))
            }));
        }
    }

    pub(super) fn value_stride(&self) -> usize {
        self.heads.width.next_multiple_of(COLUMN_TILE)
    }

    /// Keeps, in `layer`, the keys and values of the positions that follow, one per row of the projections `qkv`
    /// [n, (H + 2K) d]. There is room.
    pub(super) fn store(&mut self, layer: usize, qkv: &[f32], rotary: &Rotary) {
        let (Heads { n_query, n_kv, width }, stride) = (self.heads, self.value_stride());
        for (offset, qkv) in qkv.chunks_exact(self.heads.fused_width()).enumerate() {
            let position = self.len + offset;
            let (block, at) = (&mut self.blocks[position / BLOCK].0, position % BLOCK);
            let block = Arc::get_mut(block).expect("new positions go to blocks of the sequence's own");
            let (cos, sin) = rotary.at(position);
            for head in 0..n_kv {
                let (key, index) = (&qkv[(n_query + head) * width..][..width], layer * n_kv + head);
                let value = &qkv[(n_query + n_kv + head) * width..][..width];
                let block = match block {
                    Stored::Tiles(block) => {
                        block.put(index, at, key, (cos, sin), value);
                        continue;
                    }
                    Stored::Whole(block) => block,
                };
                let (low, high) = key.split_at(width / 2);
                let keys = &mut block.keys[index * width * BLOCK..][..width * BLOCK];
                for (i, (((low, high), cos), sin)) in low.iter().zip(high).zip(cos).zip(sin).enumerate() {
                    keys[i * BLOCK + at] = low * cos - high * sin;
                    keys[(width / 2 + i) * BLOCK + at] = high * cos + low * sin;
                }
                if at == 0 {
                    // What another sequence left there has no share, but 0 times a NaN is one.
                    block.values[index * BLOCK * stride..][..BLOCK * stride].fill(0.0);
                }
                block.values[(index * BLOCK + at) * stride..][..width].copy_from_slice(value);
            }
        }
    }
}
