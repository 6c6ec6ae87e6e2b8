//! Passes over logits z = hidden tableᵀ, [n, V], of which only a block of rows exists at a time: what is asked of each row is
//! reduced from its parts, and where a loss depends on it, the block becomes the loss's slopes and then gradients at once, so
//! that logits are computed one time only.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use crate::Linear;
use crate::area::Area;
use crate::device::tensor;
use crate::lanes::{Unwritten, simd};
use crate::linear::Panels;
use crate::packed::TASK_ROWS;
use crate::softmax::PART;

/// Logits of a block, about, and fewest rows of one: few enough to take little memory, and enough that arranging the table
/// and adding to its gradient, once a block, is little work beside the products.
const BLOCK: usize = 1 << 22;
const BLOCK_ROWS: usize = 512;
/// Parts of rows that are computed side by side.
const PARTS: usize = 8;

/// Hidden states [n, D] and the table [V, D] that together say the logits.
pub(crate) struct Logits {
    hidden: FlexTensor,
    weight: FlexTensor,
    panels: Arc<Panels>,
}

/// What is asked of a row of logits, and what they are to become. Functions get the row, and logits from a column `first` on.
pub(crate) trait Ask: Sync {
    /// What remains of a part of a row.
    type Of: Send;

    fn of_part(&self, row: usize, logits: &mut [f32], first: usize) -> Self::Of;

    /// Of a part and the next.
    fn plus(&self, all: Self::Of, part: Self::Of) -> Self::Of;
}

/// A loss of what is asked.
pub(crate) trait Slope: Ask {
    /// What the slopes of a row depend on.
    type At: Sync;

    /// None where the loss does not depend on the row.
    fn at(&mut self, row: usize, of: Self::Of) -> Option<Self::At>;

    /// Turns logits into the loss's derivatives by them.
    fn replace(&self, row: usize, at: &Self::At, logits: &mut [f32], first: usize);
}

impl Logits {
    /// Of tensors on Flex; autodiff does not see what is made of them.
    pub(crate) fn new(hidden: &Tensor<2>, table: &Linear) -> Logits {
        let plain = |it: &Tensor<2>| if it.is_autodiff() { it.clone().inner() } else { it.clone() };
        let of = |it: &Tensor<2>| plain(it).try_into_primitive::<Flex>().expect("it is on Flex").to_contiguous();
        Logits { hidden: of(hidden), weight: of(table.weight()), panels: table.panels().clone() }
    }

    /// n and D.
    fn shape(&self) -> [usize; 2] {
        self.hidden.layout().shape().dims()
    }

    fn n_vocab(&self) -> usize {
        self.weight.layout().shape().dims::<2>()[0]
    }

    /// Most rows of a block.
    fn block_rows(&self) -> usize {
        BLOCK.div_ceil(self.n_vocab()).max(BLOCK_ROWS).min(self.shape()[0])
    }

    /// Blocks of rows.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let ([n_rows, _], each) = (self.shape(), self.block_rows().max(1));
        (0..n_rows).step_by(each).map(move |from| from..(from + each).min(n_rows))
    }

    /// The columns of the parts of a row.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let n_vocab = self.n_vocab();
        (0..n_vocab).step_by(PART).map(move |from| from..(from + PART).min(n_vocab))
    }

    /// What is asked, of every row.
    pub(crate) fn reduce<A: Ask>(&self, ask: &A) -> Vec<A::Of> {
        let mut logits = Unwritten::of(self.block_rows() * self.n_vocab());
        self.blocks()
            .flat_map(|rows| {
                let n = rows.len() * self.n_vocab();
                self.forward(rows, ask, logits.room(n))
            })
            .collect()
    }

    /// Gradients of the hidden states [n, D] and of the table [V, D]. Every row is shown to `slope` once, in order.
    pub(crate) fn descend<S: Slope>(&self, slope: &mut S) -> (FlexTensor, FlexTensor) {
        let ([n_rows, width], n_vocab) = (self.shape(), self.n_vocab());
        let (hidden, weight) = (self.hidden.storage::<f32>(), self.weight.storage::<f32>());
        let mut logits = Unwritten::of(self.block_rows() * n_vocab);
        let mut d_hidden = vec![0.0_f32; n_rows * width]; // rows without a slope stay zero
        let mut d_table = Unwritten::of(n_vocab * width);
        let mut is_first = true;
        for rows in self.blocks() {
            let (n_block, start) = (rows.len(), rows.start);
            let logits = logits.room(n_block * n_vocab);
            let of_rows = self.forward(rows.clone(), &*slope, logits);
            #[expect(unsafe_code, reason = "the compiler does not see what is written")]
            // SAFETY: the forward pass wrote all logits of the block.
            let logits = unsafe { logits.assume_init_mut() };
            let (mut active, mut ats) = (Vec::new(), Vec::new());
            for (row, of) in rows.zip(of_rows) {
                if let Some(at) = slope.at(row, of) {
                    active.push(row);
                    ats.push(at);
                }
            }
            if active.is_empty() {
                continue;
            }
            let inputs: Vec<f32> = active.iter().flat_map(|row| &hidden[row * width..][..width]).copied().collect();
            let inputs = self.panels.by_rows(&inputs, width);
            let mut d_active = Unwritten::of(active.len() * width);
            let each = inputs.rows_per_task(active.len(), rayon::current_num_threads());
            for columns in self.parts() {
                let n = columns.len();
                let logits = &mut logits[n_block * columns.start..][..n_block * n];
                if active.len() < n_block {
                    for (to, row) in active.iter().enumerate() {
                        logits.copy_within((row - start) * n..(row - start + 1) * n, to * n);
                    }
                }
                let logits = &mut logits[..active.len() * n];
                // A whole second arrangement of the table would be the most memory that a step needs.
                let rows_of_table = columns.start * width..columns.end * width;
                let backward = self.panels.by_rows(&weight[rows_of_table.clone()], width);
                let tasks = logits
                    .par_chunks_mut(each * n)
                    .zip(d_active.room(active.len() * width).par_chunks_mut(each * width));
                let (slope, rows) = (&*slope, active.par_chunks(each).zip(ats.par_chunks(each)));
                tasks.zip(rows).for_each(|((logits, d_hidden), (rows, ats))| {
                    simd(
                        #[inline(always)]
                        || {
                            for ((logits, row), at) in logits.chunks_exact_mut(n).zip(rows).zip(ats) {
                                slope.replace(*row, at, logits, columns.start);
                            }
                        },
                    );
                    let mut d_hidden = Area::unwritten(d_hidden, width);
                    if columns.start > 0 {
                        #[expect(unsafe_code, reason = "the compiler does not see what is written")]
                        // SAFETY: the part before wrote all of these rows.
                        unsafe {
                            d_hidden.written();
                        }
                    }
                    backward.multiply(backward.whole(), logits, d_hidden, columns.start > 0);
                });
                let mut d_table = Area::unwritten(&mut d_table.room(n_vocab * width)[rows_of_table], width);
                if !is_first {
                    #[expect(unsafe_code, reason = "the compiler does not see what is written")]
                    // SAFETY: the block before wrote all rows of the table.
                    unsafe {
                        d_table.written();
                    }
                }
                inputs.outer(logits, d_table, !is_first);
            }
            #[expect(unsafe_code, reason = "the compiler does not see what is written")]
            // SAFETY: the first part wrote all rows and columns.
            let d_active = unsafe { d_active.written(active.len() * width) };
            for (row, from) in active.iter().zip(d_active.chunks_exact(width)) {
                d_hidden[row * width..][..width].copy_from_slice(from);
            }
            is_first = false;
        }
        if is_first {
            d_table.room(n_vocab * width).fill(MaybeUninit::new(0.0));
        }
        #[expect(unsafe_code, reason = "the compiler does not see what is written")]
        // SAFETY: the first block wrote all rows, part by part, or the lines before did.
        let d_table = unsafe { d_table.written(n_vocab * width) };
        (tensor(d_hidden, [n_rows, width]), tensor(d_table, [n_vocab, width]))
    }

    /// What is asked of the rows of a block, and its logits: part by part, [rows, columns of the part], all of `logits`.
    fn forward<A: Ask>(&self, rows: Range<usize>, ask: &A, logits: &mut [MaybeUninit<f32>]) -> Vec<A::Of> {
        let ([_, width], hidden) = (self.shape(), self.hidden.storage::<f32>());
        assert_eq!(logits.len(), rows.len() * self.n_vocab(), "room for the block");
        let mut left = logits;
        let mut of_rows: Vec<Option<A::Of>> = rows.clone().map(|_| None).collect();
        let parts: Vec<Range<usize>> = self.parts().collect();
        for parts in parts.chunks(PARTS) {
            let together = parts[0].start..parts[parts.len() - 1].end;
            let (table, first) = self.panels.forward_rows(&self.weight, together.clone());
            let mut tasks = Vec::new();
            for columns in parts {
                let part = left.split_off_mut(..rows.len() * columns.len()).expect("parts add up to rows");
                let chunks = part.chunks_mut(TASK_ROWS * columns.len()).zip(rows.clone().step_by(TASK_ROWS));
                tasks.extend(chunks.map(|(logits, row)| (logits, row, columns)));
            }
            let done = tasks.into_par_iter().map(|(logits, row, columns)| {
                let (panel, n_rows) = (table.panel_width(), logits.len() / columns.len());
                let panels = (columns.start - first) / panel..(columns.end - first).div_ceil(panel);
                let hidden = &hidden[row * width..(row + n_rows) * width];
                table.multiply(panels, hidden, Area::unwritten(logits, columns.len()), false);
                #[expect(unsafe_code, reason = "the compiler does not see what is written")]
                // SAFETY: the product wrote all of its area.
                let logits = unsafe { logits.assume_init_mut() };
                let mut of_rows = Vec::with_capacity(n_rows);
                simd(
                    #[inline(always)]
                    || {
                        for (row, logits) in (row..).zip(logits.chunks_exact_mut(columns.len())) {
                            of_rows.push(ask.of_part(row, logits, columns.start));
                        }
                    },
                );
                (row, of_rows)
            });
            for (first, of_task) in done.collect::<Vec<_>>() {
                for (all, part) in of_rows[first - rows.start..].iter_mut().zip(of_task) {
                    *all = Some(match all.take() {
                        Some(all) => ask.plus(all, part),
                        None => part,
                    });
                }
            }
        }
        of_rows.into_iter().map(|it| it.expect("a vocabulary")).collect()
    }
}
