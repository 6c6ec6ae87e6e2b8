//! Passes over logits z = hidden tableᵀ, [n, V], that never exist together: forward, parts of a row are reduced to what is
//! asked of them; backward, logits are computed again for [`PART`] columns of the vocabulary at a time.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use crate::device::tensor;
use crate::lanes::simd;
use crate::linear::Panels;
use crate::packed::{Packed, Part, TASK_ROWS};
use crate::softmax::PART;

/// Hidden states [n, D] and the table [V, D] that together say the logits.
#[derive(Clone, Debug)]
pub(crate) struct Logits {
    hidden: FlexTensor,
    weight: FlexTensor,
    panels: Arc<Panels>,
}

impl Logits {
    pub(crate) fn new(hidden: FlexTensor, weight: FlexTensor, panels: Arc<Panels>) -> Logits {
        Logits { hidden: hidden.to_contiguous(), weight: weight.to_contiguous(), panels }
    }

    /// n and D.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.hidden.layout().shape().dims()
    }

    /// For each row, what `of_part(row, logits, first)` makes of its parts, columns `first`.. each, joined in order by `plus`.
    /// `of_part` may change the logits.
    pub(crate) fn reduce<P: Send>(
        &self,
        of_part: impl Fn(usize, &mut [f32], usize) -> P + Sync,
        plus: impl Fn(P, P) -> P,
    ) -> Vec<P> {
        let [n_rows, width] = self.shape();
        let (hidden, table) = (self.hidden.storage::<f32>(), self.panels.forward(&self.weight));
        let panels_per_part = PART / Packed::panel_width();
        let n_parts = table.n_panels().div_ceil(panels_per_part);
        // Task by task: some rows with one part of the vocabulary.
        let tasks = (0..n_rows.div_ceil(TASK_ROWS) * n_parts).into_par_iter();
        let parts: Vec<Vec<P>> = tasks
            .map_init(Vec::new, |logits, task| {
                let (rows, part) = (task / n_parts * TASK_ROWS, task % n_parts);
                let rows = rows..(rows + TASK_ROWS).min(n_rows);
                let panels = part * panels_per_part..((part + 1) * panels_per_part).min(table.n_panels());
                let columns = table.columns(&panels);
                logits.resize(rows.len() * columns.len(), 0.0);
                let hidden = &hidden[rows.start * width..rows.end * width];
                table.multiply(Part { inner: 0..width, panels }, hidden, logits, false);
                let mut of_rows = Vec::with_capacity(rows.len());
                simd(
                    #[inline(always)]
                    || {
                        for (row, logits) in rows.zip(logits.chunks_exact_mut(columns.len())) {
                            of_rows.push(of_part(row, logits, columns.start));
                        }
                    },
                );
                of_rows
            })
            .collect();
        let mut parts = parts.into_iter();
        let mut all = Vec::with_capacity(n_rows);
        while all.len() < n_rows {
            let mut of_task: Vec<_> = parts.by_ref().take(n_parts).map(Vec::into_iter).collect();
            while let Some(joined) = of_task.iter_mut().filter_map(Iterator::next).reduce(&plus) {
                all.push(joined);
            }
        }
        all
    }

    /// Gradients of the hidden states [n, D] and of the table [V, D], where `replace(row, logits, first)` turns a part of a
    /// row's logits, columns `first`.., into the loss's derivatives by them. Rows that are not `active` have none and cost
    /// nothing.
    pub(crate) fn pull_back(
        &self,
        active: &[usize],
        replace: impl Fn(usize, &mut [f32], usize) + Sync,
    ) -> (FlexTensor, FlexTensor) {
        let ([n_rows, width], [n_vocab, _]) = (self.shape(), self.weight.layout().shape().dims::<2>());
        let all = self.hidden.storage::<f32>();
        let hidden: Vec<f32> = active.iter().flat_map(|row| &all[row * width..][..width]).copied().collect();

        let mut d_active = vec![0.0_f32; hidden.len()];
        let mut d_table = vec![0.0_f32; n_vocab * width];
        if !active.is_empty() {
            let inputs = self.panels.by_rows(&hidden, width);
            let mut logits = Vec::new();
            for first in (0..n_vocab).step_by(PART) {
                let columns = first..(first + PART).min(n_vocab);
                let part: Range<usize> = columns.start * width..columns.end * width;
                // Both arrangements of the whole table would be the most memory that a step needs.
                let table = &self.weight.storage::<f32>()[part.clone()];
                let (forward, backward) = (self.panels.by_columns(table, width), self.panels.by_rows(table, width));
                logits.resize(active.len() * columns.len(), 0.0);
                let tasks = logits.par_chunks_mut(TASK_ROWS * columns.len()).zip(active.par_chunks(TASK_ROWS));
                let rows = hidden.par_chunks(TASK_ROWS * width).zip(d_active.par_chunks_mut(TASK_ROWS * width));
                tasks.zip(rows).for_each(|((logits, active), (hidden, d_hidden))| {
                    forward.multiply(forward.whole(), hidden, logits, false);
                    simd(
                        #[inline(always)]
                        || {
                            for (logits, row) in logits.chunks_exact_mut(columns.len()).zip(active) {
                                replace(*row, logits, columns.start);
                            }
                        },
                    );
                    backward.multiply(backward.whole(), logits, d_hidden, first > 0);
                });
                inputs.outer(&logits, &mut d_table[part]);
            }
        }
        let mut d_hidden = vec![0.0_f32; n_rows * width];
        for (row, from) in active.iter().zip(d_active.chunks_exact(width)) {
            d_hidden[row * width..][..width].copy_from_slice(from);
        }
        (tensor(d_hidden, [n_rows, width]), tensor(d_table, [n_vocab, width]))
    }
}
