//! The forward pass of sampling: new tokens of many sequences at once, on plain numbers, over what each sequence has cached.
//! Sequences do not see each other, so every thread carries a party of them through all the layers and meets the others at the
//! end; while one waits for memory, another multiplies. Memory is kept from step to step.

use collimate_kernels::{Block, CachedRow, Plan, Spare, Values, cached_attention, rms_norm_rows, swiglu_rows};

use crate::Transformer;

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
    norms: Vec<[Values; 2]>, // of each layer: before attention, before the feed-forward
    norm: Values,
}

/// Some sequences of a step, on their way through the layers.
#[derive(Default)]
struct Party {
    plan: Plan,
    hidden: Vec<f32>, // [tokens, D], before the final norm
    scratch: [Vec<f32>; 4],
}

impl Decoder {
    /// Reads with `transformer`'s weights as they are now.
    pub fn new(transformer: Transformer) -> Decoder {
        let norms = transformer.layers.iter();
        let reading = Reading {
            table: Values::of(transformer.table.weight()),
            norms: norms.map(|it| [Values::of(&it.attention_norm), Values::of(&it.ffn_norm)]).collect(),
            norm: Values::of(&transformer.norm),
            transformer,
        };
        let (parties, spare, scratch, logits) = Default::default();
        Decoder { reading, parties, spare, scratch, logits }
    }

    /// A sequence that begins with the positions of `blocks`, which are full.
    pub fn row(&self, blocks: Vec<Block>) -> CachedRow {
        let Transformer { layers, heads, .. } = &self.reading.transformer;
        CachedRow::new(layers.len(), *heads, blocks)
    }

    /// Memory of one block of cached positions, bytes.
    pub fn block_bytes(&self) -> usize {
        let Transformer { layers, heads, .. } = &self.reading.transformer;
        Block::bytes(layers.len(), *heads)
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
        let Transformer { config, table, .. } = &self.reading.transformer;
        let (width, eps) = (config.hidden_size, config.rms_norm_eps as f32);
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
        let logits = sized(&mut self.logits, which.len() * config.vocab_size);
        table.apply_rows(normed, logits, rayon::current_num_threads());
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
        let Transformer { config, heads, rotary, layers, .. } = &reading.transformer;
        let (n, width, eps) = (tokens.len(), config.hidden_size, config.rms_norm_eps as f32);
        self.plan.begin(counts);
        let table = reading.table.as_slice();
        self.hidden.extend(tokens.iter().flat_map(|token| &table[*token as usize * width..][..width]));
        let [normed, wide, inner, added] = &mut self.scratch;
        let (normed, added) = (sized(normed, n * width), sized(added, n * width));
        for (index, (layer, [attention_norm, ffn_norm])) in layers.iter().zip(&reading.norms).enumerate() {
            rms_norm_rows(&self.hidden, attention_norm.as_slice(), eps, normed);
            let (qkv, mixed) = (sized(wide, n * heads.fused_width()), sized(inner, n * heads.out_width()));
            layer.qkv.apply_rows(normed, qkv, n_threads);
            cached_attention(qkv, rows, &mut self.plan, (index, *heads), rotary, mixed);
            layer.out.apply_rows(mixed, added, n_threads);
            add(&mut self.hidden, added);

            rms_norm_rows(&self.hidden, ffn_norm.as_slice(), eps, normed);
            let ffn = config.intermediate_size;
            let (gate_up, gated) = (sized(wide, n * 2 * ffn), sized(inner, n * ffn));
            layer.gate_up.apply_rows(normed, gate_up, n_threads);
            swiglu_rows(gate_up, ffn, gated);
            layer.down.apply_rows(gated, added, n_threads);
            add(&mut self.hidden, added);
        }
        self.plan.end(rows);
    }
}

/// The first `n` values of `buffer`, which is made large enough.
fn sized(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
    &mut buffer[..n]
}

fn add(to: &mut [f32], more: &[f32]) {
    for (to, more) in to.iter_mut().zip(more) {
        *to += more;
    }
}
