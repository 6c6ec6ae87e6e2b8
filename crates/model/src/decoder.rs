//! The forward pass of sampling: new tokens of many sequences at once, on plain numbers, over what each sequence has cached.
//! Memory is kept from step to step.

use collimate_kernels::{Block, CachedRow, Plan, Values, cached_attention, rms_norm_rows, swiglu_rows};

use crate::Transformer;

/// A transformer that reads sequences piece by piece.
pub struct Decoder {
    transformer: Transformer,
    table: Values,
    norms: Vec<[Values; 2]>, // of each layer: before attention, before the feed-forward
    norm: Values,
    plan: Plan,
    hidden: Vec<f32>, // [N, D], before the final norm
    scratch: [Vec<f32>; 4],
    logits: Vec<f32>,
}

impl Decoder {
    /// Reads with `transformer`'s weights as they are now.
    pub fn new(transformer: Transformer) -> Decoder {
        let norms = transformer.layers.iter();
        Decoder {
            table: Values::of(transformer.table.weight()),
            norms: norms.map(|it| [Values::of(&it.attention_norm), Values::of(&it.ffn_norm)]).collect(),
            norm: Values::of(&transformer.norm),
            plan: Plan::default(),
            hidden: Vec::new(),
            scratch: Default::default(),
            logits: Vec::new(),
            transformer,
        }
    }

    /// A sequence that begins with the positions of `blocks`, which are full.
    pub fn row(&self, blocks: Vec<Block>) -> CachedRow {
        CachedRow::new(self.transformer.layers.len(), self.transformer.heads, blocks)
    }

    /// Memory of one block of cached positions, bytes.
    pub fn block_bytes(&self) -> usize {
        Block::bytes(self.transformer.layers.len(), self.transformer.heads)
    }

    /// Reads `counts[i]` more tokens of sequence i, for every i: `tokens` has them one sequence after the other, N in all.
    pub fn extend(&mut self, rows: &mut [CachedRow], counts: &[usize], tokens: &[u32]) {
        let Transformer { config, heads, rotary, layers, .. } = &self.transformer;
        let (n, width, eps) = (tokens.len(), config.hidden_size, config.rms_norm_eps as f32);
        self.plan.begin(rows, counts);
        let table = self.table.as_slice();
        self.hidden.clear();
        self.hidden.extend(tokens.iter().flat_map(|token| &table[*token as usize * width..][..width]));
        let [normed, wide, inner, added] = &mut self.scratch;
        let (normed, added) = (sized(normed, n * width), sized(added, n * width));
        for (index, (layer, [attention_norm, ffn_norm])) in layers.iter().zip(&self.norms).enumerate() {
            rms_norm_rows(&self.hidden, attention_norm.as_slice(), eps, normed);
            let (qkv, mixed) = (sized(wide, n * heads.fused_width()), sized(inner, n * heads.out_width()));
            layer.qkv.apply_rows(normed, qkv);
            cached_attention(qkv, rows, &mut self.plan, (index, *heads), rotary, mixed);
            layer.out.apply_rows(mixed, added);
            add(&mut self.hidden, added);

            rms_norm_rows(&self.hidden, ffn_norm.as_slice(), eps, normed);
            let ffn = config.intermediate_size;
            let (gate_up, gated) = (sized(wide, n * 2 * ffn), sized(inner, n * ffn));
            layer.gate_up.apply_rows(normed, gate_up);
            swiglu_rows(gate_up, ffn, gated);
            layer.down.apply_rows(gated, added);
            add(&mut self.hidden, added);
        }
        self.plan.end(rows);
    }

    /// Takes back the memory of a sequence that is finished.
    pub fn recycle(&mut self, row: CachedRow) {
        self.plan.recycle(row);
    }

    /// Logits over the vocabulary at the positions `which`, counted over the N tokens read last: [which, V] row by row.
    pub fn logits(&mut self, which: &[usize]) -> &[f32] {
        let Transformer { config, table, .. } = &self.transformer;
        let (width, eps) = (config.hidden_size, config.rms_norm_eps as f32);
        let [normed, picked, ..] = &mut self.scratch;
        picked.clear();
        picked.extend(which.iter().flat_map(|at| &self.hidden[at * width..][..width]));
        let normed = sized(normed, picked.len());
        rms_norm_rows(picked, self.norm.as_slice(), eps, normed);
        let logits = sized(&mut self.logits, which.len() * config.vocab_size);
        table.apply_rows(normed, logits);
        logits
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
