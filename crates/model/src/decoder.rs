//! The forward pass of sampling: new tokens of many sequences at once, on plain numbers, over what each sequence has cached.
//! Sequences do not see each other, so every thread carries a party of them through all the layers and meets the others at the
//! end; while one waits for memory, another multiplies. Memory is kept from step to step.

use collimate_kernels::{Block, CachedRow, Linear, Plan, Spare, Values, cached_attention, rms_norm_rows, swiglu_rows};

use crate::arch::{Layer, Operations};
use crate::{Shape, Transformer};

/// Fewest tokens of a party: with fewer, weights are read more often than that saves.
const PARTY_TOKENS: usize = 16;

/// A transformer that reads sequences piece by piece.
pub struct Decoder {
    reading: Reading,
    parties: Vec<Party>, // of the sequences of the last step, in order
    spare: Spare,
    scratch: [Vec<f32>; 2],
    logits: Vec<f32>,
}

/// What every party reads.
struct Reading {
    transformer: Transformer,
    table: Values,
    layers: Vec<Layer<Values>>,
    norm: Values,
}

/// Some sequences of a step, on their way through the layers.
#[derive(Default)]
struct Party {
    plan: Plan,
    hidden: Vec<f32>,      // [tokens, D], before the final norm
    unused: Vec<Vec<f32>>, // memory of rows that are not needed any more
}

impl Decoder {
    /// Reads with `transformer`'s weights as they are now.
    pub fn new(transformer: Transformer) -> Decoder {
        let reading = Reading {
            table: Values::of(transformer.table()),
            layers: transformer.layers.iter().map(|it| it.map(Values::of, Linear::clone)).collect(),
            norm: Values::of(&transformer.norm),
            transformer,
        };
        let (parties, spare, scratch, logits) = Default::default();
        Decoder { reading, parties, spare, scratch, logits }
    }

    /// A sequence that begins with the positions of `blocks`, which are full.
    pub fn row(&self, blocks: Vec<Block>) -> CachedRow {
        let Transformer { shape: Shape { n_layers, heads, .. }, precision, .. } = self.reading.transformer;
        CachedRow::new(n_layers, heads, precision, blocks)
    }

    /// Memory of one block of cached positions, bytes.
    pub fn block_bytes(&self) -> usize {
        let Transformer { shape: Shape { n_layers, heads, .. }, precision, .. } = self.reading.transformer;
        Block::bytes(n_layers, heads, precision)
    }

    /// Reads `counts[i]` more tokens of sequence i, for every i: `tokens` has them one sequence after the other, N in all.
    pub fn extend(&mut self, rows: &mut [CachedRow], counts: &[usize], tokens: &[u32]) {
        let n_threads = rayon::current_num_threads();
        // A sequence that is longer than a party's share keeps all threads busy by itself.
        let share = tokens.len() / n_threads;
        let is_even = counts.iter().all(|count| *count <= share) && share >= PARTY_TOKENS;
        let n_parties = if is_even { n_threads } else { 1 };
        if self.parties.len() < n_parties {
            self.parties.resize_with(n_parties, Party::default);
        }
        self.parties.iter_mut().for_each(|it| it.hidden.clear());
        self.spare.make_room(rows, counts);
        self.reading.carry(&mut self.parties[..n_parties], n_threads / n_parties, rows, counts, tokens);
    }

    /// Takes back the memory of a sequence that is finished.
    pub fn recycle(&mut self, row: CachedRow) {
        self.spare.recycle(row);
    }

    /// Logits over the vocabulary at the positions `which`, counted over the N tokens read last: [which, V] row by row.
    pub fn logits(&mut self, which: &[usize]) -> &[f32] {
        let Transformer { shape, .. } = &self.reading.transformer;
        let (width, eps) = (shape.width, shape.norm_eps as f32);
        let [normed, picked] = &mut self.scratch;
        picked.clear();
        for at in which {
            let mut start = at * width;
            let party = self.parties.iter().find(|it| {
                let has_it = start < it.hidden.len();
                start -= if has_it { 0 } else { it.hidden.len() };
                has_it
            });
            let party = party.expect("a position that was read last");
            picked.extend_from_slice(&party.hidden[start..][..width]);
        }
        let normed = sized(normed, picked.len());
        rms_norm_rows(picked, self.reading.norm.as_slice(), eps, normed);
        let logits = sized(&mut self.logits, which.len() * shape.n_vocab);
        self.reading.transformer.head().apply_rows(normed, logits, rayon::current_num_threads());
        logits
    }
}

impl Reading {
    /// Carries sequences through the layers, divided among `parties`, each of which has `n_threads` for its products.
    fn carry(&self, parties: &mut [Party], n_threads: usize, rows: &mut [CachedRow], counts: &[usize], tokens: &[u32]) {
        if let [party] = parties {
            return party.extend(self, n_threads, rows, counts, tokens);
        }
        let half = parties.len() / 2;
        let (wanted, mut n_tokens, mut n_rows) = (tokens.len() * half / parties.len(), 0, 0);
        while n_tokens < wanted {
            n_tokens += counts[n_rows];
            n_rows += 1;
        }
        let (parties, rows) = (parties.split_at_mut(half), rows.split_at_mut(n_rows));
        let (counts, tokens) = (counts.split_at(n_rows), tokens.split_at(n_tokens));
        rayon::join(
            || self.carry(parties.0, n_threads, rows.0, counts.0, tokens.0),
            || self.carry(parties.1, n_threads, rows.1, counts.1, tokens.1),
        );
    }
}

impl Party {
    fn extend(
        &mut self,
        reading: &Reading,
        n_threads: usize,
        rows: &mut [CachedRow],
        counts: &[usize],
        tokens: &[u32],
    ) {
        let (table, width) = (reading.table.as_slice(), reading.transformer.shape.width);
        self.hidden.extend(tokens.iter().flat_map(|token| &table[*token as usize * width..][..width]));
        self.plan.begin(counts);
        let mut cached = Cached { reading, n_threads, rows, plan: &mut self.plan, unused: &mut self.unused };
        // Layers add to the stream where it is, so it comes back in the memory it went in with.
        let x = Rows { n: self.hidden.len(), memory: std::mem::take(&mut self.hidden) };
        self.hidden = reading.layers.iter().fold(x, |x, layer| layer.apply(x, &mut cached)).memory;
        self.plan.end(rows);
    }
}

/// Operations on plain rows, over what sequences have cached.
struct Cached<'a> {
    reading: &'a Reading,
    n_threads: usize,
    rows: &'a mut [CachedRow],
    plan: &'a mut Plan,
    unused: &'a mut Vec<Vec<f32>>,
}

/// The first `n` values of some memory.
struct Rows {
    memory: Vec<f32>,
    n: usize,
}

impl Rows {
    fn values(&self) -> &[f32] {
        &self.memory[..self.n]
    }

    fn values_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.n]
    }
}

impl Cached<'_> {
    /// Rows of `n` values in all, to be overwritten.
    fn rows_of(&mut self, n: usize) -> Rows {
        let mut memory = self.unused.pop().unwrap_or_default();
        sized(&mut memory, n);
        Rows { memory, n }
    }

    fn reuse(&mut self, rows: Rows) {
        self.unused.push(rows.memory);
    }
}

impl Operations for Cached<'_> {
    type Vector = Values;
    type Rows = Rows;

    fn after_norm(&mut self, x: &Rows, norm: &Values, matrix: &Linear) -> Rows {
        let mut normed = self.rows_of(x.n);
        rms_norm_rows(x.values(), norm.as_slice(), self.reading.transformer.shape.norm_eps as f32, normed.values_mut());
        self.product(normed, matrix)
    }

    fn add_bias(&mut self, mut x: Rows, bias: &Values) -> Rows {
        let bias = bias.as_slice();
        for row in x.values_mut().chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
        x
    }

    fn norm_heads(&mut self, qkv: Rows, norms: &[Values; 2]) -> Rows {
        let Shape { heads, norm_eps, .. } = self.reading.transformer.shape;
        let mut normed = self.rows_of(qkv.n);
        let [query, key] = norms.each_ref().map(Values::as_slice);
        let (n_query, n_key) = (heads.out_width(), heads.n_kv * heads.width);
        let rows = qkv.values().chunks_exact(heads.fused_width());
        for (from, to) in rows.zip(normed.values_mut().chunks_exact_mut(heads.fused_width())) {
            let ((from_query, from), (to_query, to)) = (from.split_at(n_query), to.split_at_mut(n_query));
            rms_norm_rows(from_query, query, norm_eps as f32, to_query);
            let ((from_key, from_value), (to_key, to_value)) = (from.split_at(n_key), to.split_at_mut(n_key));
            rms_norm_rows(from_key, key, norm_eps as f32, to_key);
            to_value.copy_from_slice(from_value);
        }
        self.reuse(qkv);
        normed
    }

    fn attention(&mut self, layer: usize, qkv: Rows) -> Rows {
        let Transformer { shape: Shape { heads, .. }, rotary, .. } = &self.reading.transformer;
        let mut mixed = self.rows_of(qkv.n / heads.fused_width() * heads.out_width());
        cached_attention(qkv.values(), self.rows, self.plan, (layer, *heads), rotary, mixed.values_mut());
        self.reuse(qkv);
        mixed
    }

    fn product(&mut self, x: Rows, matrix: &Linear) -> Rows {
        let [n_out, n_in] = matrix.weight().dims();
        let mut out = self.rows_of(x.n / n_in * n_out);
        matrix.apply_rows(x.values(), out.values_mut(), self.n_threads);
        self.reuse(x);
        out
    }

    fn after_swiglu(&mut self, gate_up: Rows, matrix: &Linear) -> Rows {
        let mut gated = self.rows_of(gate_up.n / 2);
        swiglu_rows(gate_up.values(), self.reading.transformer.shape.ffn_width, gated.values_mut());
        self.reuse(gate_up);
        self.product(gated, matrix)
    }

    fn add(&mut self, mut x: Rows, more: Rows) -> Rows {
        for (x, more) in x.values_mut().iter_mut().zip(more.values()) {
            *x += more;
        }
        self.reuse(more);
        x
    }
}

/// The first `n` values of `buffer`, which is made large enough.
fn sized(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
    &mut buffer[..n]
}
