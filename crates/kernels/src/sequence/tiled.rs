//! The same attention with its products in bf16, by tiles: [`STRIP`] queries at a time. Softmax and its derivative are taken in
//! f32, of what tiles have summed.

use super::{Derivative, Forward, Group, HeadRows, Part, turn};
use crate::amx::{How, Operand, STRIP, TILE, Tile, Unit, WithUnit, Word};
use crate::area::Area;
use crate::lanes::{dot, softmax};

impl WithUnit for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_unit<U: Unit>(self, unit: &U) -> Vec<f32> {
        let Forward(group) = self;
        let (time, width) = (group.time(), group.heads.width);
        let stride = group.n_query() * width;
        let [keys, values] = rows_of(&group);
        let (mut by_key, mut by_width) = (Vec::new(), Vec::new());
        Operand::along(&keys, [time, width]).right(unit, &mut by_key);
        Operand::across(&values, [width, time]).right(unit, &mut by_width);
        let mut queries = Queries::new(time, width);
        let mut mixed = vec![0.0; STRIP * padded(width)];
        let mut probs = Vec::new();
        let mut out = vec![0.0; time * stride];
        for (head, block) in heads_and_blocks(&group) {
            queries.load(unit, &group, head, block);
            queries.attend(unit, &by_key);
            queries.scores_of_rows().left(unit, &mut probs);
            product(unit, (&probs, block.n), (&by_width, time), (&mut mixed, padded(width)));
            for (row, mixed) in mixed.chunks_exact(padded(width)).take(block.n).enumerate() {
                out[(block.start + row) * stride + head * width..][..width].copy_from_slice(&mixed[..width]);
            }
        }
        out
    }
}

/// The sums are those of the derivative in f32; dV and dK are added up over the blocks of queries and the heads in order.
impl WithUnit for Derivative<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_unit<U: Unit>(self, unit: &U) -> Vec<f32> {
        let Derivative { group, grad } = self;
        let (heads, rotary, time) = (group.heads, group.rotary, group.time());
        let (n_query, width) = (group.n_query(), heads.width);
        let stride = (n_query + 2) * width;
        let out_rows = |index: usize| HeadRows { start: index * width, stride, width };
        let [keys, values] = rows_of(&group);
        let (mut keys_by_key, mut keys_by_width, mut values_by_key) = (Vec::new(), Vec::new(), Vec::new());
        Operand::along(&keys, [time, width]).right(unit, &mut keys_by_key);
        Operand::across(&keys, [width, time]).right(unit, &mut keys_by_width);
        Operand::along(&values, [time, width]).right(unit, &mut values_by_key);
        let (mut queries, mut d_out) = (Queries::new(time, width), Queries::new(time, width));
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let mut d_queries = vec![0.0; STRIP * padded(width)];
        let [mut sum_keys, mut sum_values] = [(); 2].map(|()| vec![0.0; padded(time) * padded(width)]);
        let mut out = vec![0.0; time * stride];
        for (head, block) in heads_and_blocks(&group) {
            queries.load(unit, &group, head, block);
            queries.attend(unit, &keys_by_key);
            let first = heads.places(group.kv_head)[0].start + head * width;
            let grads = HeadRows { start: first, stride: heads.out_width(), width };
            d_out.set(unit, block, |row, out| out.copy_from_slice(&grad[grads.at(row)]));

            queries.scores_of_keys().left(unit, &mut left);
            d_out.by_width(unit, &mut right);
            add_product(unit, &left, &right, (&mut sum_values, padded(width)));

            d_out.score(unit, &values_by_key);
            d_out.derive(&queries);
            d_out.scores_of_keys().left(unit, &mut left);
            queries.by_width(unit, &mut right);
            add_product(unit, &left, &right, (&mut sum_keys, padded(width)));

            d_out.scores_of_rows().left(unit, &mut left);
            product(unit, (&left, block.n), (&keys_by_width, time), (&mut d_queries, padded(width)));
            for (row, d_query) in d_queries.chunks_exact_mut(padded(width)).take(block.n).enumerate() {
                let d_query = &mut d_query[..width];
                d_query.iter_mut().for_each(|it| *it *= heads.scale());
                let at = block.start + row;
                turn(d_query, &mut out[out_rows(head).at(at)], rotary.at(at), true);
            }
        }
        for position in 0..time {
            let from = position * padded(width)..position * padded(width) + width;
            turn(&sum_keys[from.clone()], &mut out[out_rows(n_query).at(position)], rotary.at(position), true);
            out[out_rows(n_query + 1).at(position)].copy_from_slice(&sum_values[from]);
        }
        out
    }
}

/// Rotated keys and the values, [T, d].
#[inline(always)]
fn rows_of(group: &Group<'_>) -> [Vec<f32>; 2] {
    let width = group.heads.width;
    let (key_rows, value_rows) = (group.rows(Part::Key), group.rows(Part::Value));
    let [mut keys, mut values] = [(); 2].map(|()| vec![0.0; group.time() * width]);
    let rows = keys.chunks_exact_mut(width).zip(values.chunks_exact_mut(width));
    for (position, (key, value)) in rows.enumerate() {
        turn(&group.qkv[key_rows.at(position)], key, group.rotary.at(position), false);
        value.copy_from_slice(&group.qkv[value_rows.at(position)]);
    }
    [keys, values]
}

/// Queries that follow each other.
#[derive(Clone, Copy, Default)]
struct Block {
    start: usize,
    n: usize,
}

fn heads_and_blocks(group: &Group<'_>) -> impl Iterator<Item = (usize, Block)> {
    let time = group.time();
    let blocks = (0..time).step_by(STRIP).map(move |start| Block { start, n: STRIP.min(time - start) });
    (0..group.n_query()).flat_map(move |head| blocks.clone().map(move |block| (head, block)))
}

fn padded(n: usize) -> usize {
    n.next_multiple_of(STRIP)
}

/// The rows of a block, [n, d], and their products with all positions that a query of the block sees.
struct Queries {
    width: usize,
    block: Block,
    rows: Vec<f32>,
    tiles: Vec<Tile>,
    scores: Vec<f32>, // [STRIP, stride]
    stride: usize,
}

impl Queries {
    fn new(time: usize, width: usize) -> Queries {
        let (rows, scores) = (vec![0.0; STRIP * width], vec![0.0; STRIP * padded(time)]);
        Queries { width, block: Block::default(), rows, tiles: Vec::new(), scores, stride: padded(time) }
    }

    #[inline(always)]
    fn set<U: Unit>(&mut self, unit: &U, block: Block, row: impl Fn(usize, &mut [f32])) {
        self.block = block;
        let rows = self.rows.chunks_exact_mut(self.width).take(block.n);
        rows.enumerate().for_each(|(at, out)| row(block.start + at, out));
        Operand::along(&self.rows, [block.n, self.width]).left(unit, &mut self.tiles);
    }

    /// One head's queries, rotated, times the scale of the scores.
    #[inline(always)]
    fn load<U: Unit>(&mut self, unit: &U, group: &Group<'_>, head: usize, block: Block) {
        let (from, scale) = (group.rows(Part::Query(head)), group.heads.scale());
        self.set(unit, block, |row, out| {
            turn(&group.qkv[from.at(row)], out, group.rotary.at(row), false);
            out.iter_mut().for_each(|it| *it *= scale);
        });
    }

    /// Positions up to the block's last, rounded up.
    fn n_seen(&self) -> usize {
        padded(self.block.start + self.block.n)
    }

    /// The products with the positions that `columns` has side by side.
    #[inline(always)]
    fn score<U: Unit>(&mut self, unit: &U, columns: &[Word]) {
        let height = padded(self.width) / 2;
        let n_rows = self.block.n.next_multiple_of(TILE);
        let n_seen = self.n_seen();
        let mut scores = Area::new(&mut self.scores, self.stride);
        for (column, panel) in (0..n_seen).step_by(STRIP).zip(columns.chunks_exact(height)) {
            let block = scores.block((0, column), n_rows).expect("there is room for all positions");
            unit.multiply(&self.tiles, panel, block, How::default());
        }
    }

    /// The products with keys, and the softmax of each row over what it sees; zeros beyond.
    #[inline(always)]
    fn attend<U: Unit>(&mut self, unit: &U, keys: &[Word]) {
        self.score(unit, keys);
        let (n_seen, Block { start, n }) = (self.n_seen(), self.block);
        for (row, scores) in self.scores.chunks_exact_mut(self.stride).take(n).enumerate() {
            let (seen, future) = scores[..n_seen].split_at_mut(start + row + 1);
            softmax(seen);
            future.fill(0.0);
        }
    }

    /// Turns the derivative by probabilities, which are here, into that by scores, whose softmax `queries` has.
    #[inline(always)]
    fn derive(&mut self, queries: &Queries) {
        let (n_seen, Block { start, n }) = (self.n_seen(), self.block);
        let both = self.scores.chunks_exact_mut(self.stride).zip(queries.scores.chunks_exact(self.stride));
        for (row, (d_scores, probs)) in both.take(n).enumerate() {
            let (seen, future) = d_scores[..n_seen].split_at_mut(start + row + 1);
            let mean = dot(&probs[..seen.len()], seen);
            seen.iter_mut().zip(probs).for_each(|(it, prob)| *it = prob * (*it - mean));
            future.fill(0.0);
        }
    }

    fn scores_of_rows(&self) -> Operand<'_> {
        Operand::along(&self.scores, [self.block.n, self.n_seen()]).with_stride(self.stride)
    }

    fn scores_of_keys(&self) -> Operand<'_> {
        Operand::across(&self.scores, [self.n_seen(), self.block.n]).with_stride(self.stride)
    }

    /// The rows as a right operand.
    #[inline(always)]
    fn by_width<U: Unit>(&self, unit: &U, out: &mut Vec<Word>) {
        Operand::across(&self.rows, [self.width, self.block.n]).right(unit, out);
    }
}

/// out [STRIP, stride] = `left`, a strip of `n_rows` that sums over the first positions, times panels of all `time` positions.
#[inline(always)]
fn product<U: Unit>(
    unit: &U,
    (left, n_rows): (&[Tile], usize),
    (right, time): (&[Word], usize),
    (out, stride): (&mut [f32], usize),
) {
    let n_tiles = n_rows.div_ceil(TILE);
    let mut out = Area::new(out, stride);
    for (column, panel) in (0..).step_by(STRIP).zip(right.chunks_exact(padded(time) / 2)) {
        let block = out.block((0, column), n_tiles * TILE).expect("there is room for a strip");
        unit.multiply(left, &panel[..left.len() / n_tiles * TILE], block, How::default());
    }
}

/// out [T, stride] += `left`, strips of positions that sum over a block's rows, times panels of these.
#[inline(always)]
fn add_product<U: Unit>(unit: &U, left: &[Tile], right: &[Word], (out, stride): (&mut [f32], usize)) {
    let mut out = Area::new(out, stride);
    for (row, strip) in (0..).step_by(STRIP).zip(left.chunks(2)) {
        for (column, panel) in (0..).step_by(STRIP).zip(right.chunks_exact(TILE)) {
            let block = out.block((row, column), STRIP).expect("there is room for all positions");
            unit.multiply(strip, panel, block, How::ADDS);
        }
    }
}
