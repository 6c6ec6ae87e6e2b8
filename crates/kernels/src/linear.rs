//! Products with a weight matrix: y = x Wᵀ, its input gradient dy W and its weight gradient dyᵀ x.
//!
//! Weights are rearranged once per state of the weights into panels of [`PANEL`] columns, so that the inner loop reads one
//! stream of them in order; inputs are read where they are. Every sum runs over its inner index in order, whatever the number
//! of rows or threads: a row's result does not depend on what else is in the batch.

use std::sync::{Arc, OnceLock};

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::TensorData;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::device::{on_flex, tensor};

/// A weight matrix W [out, in] that inputs are multiplied with, x Wᵀ. Clones share its panels.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor<2>,
    panels: Arc<Panels>,
}

impl Linear {
    /// Over `weight` [out, in], tracked by autodiff or not. Panels are made when they are first needed.
    pub fn new(weight: Tensor<2>) -> Linear {
        Linear { weight, panels: Arc::default() }
    }

    /// The same matrix as the leaf of an autodiff graph, with the same panels.
    pub fn tracked(&self) -> Linear {
        Linear { weight: self.weight.clone().autodiff().require_grad(), panels: self.panels.clone() }
    }

    /// The matrix, [out, in].
    pub fn weight(&self) -> &Tensor<2> {
        &self.weight
    }

    /// x Wᵀ: `x` is [N, in]; returns [N, out].
    pub fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let ([_, n_in], [_, width]) = (x.dims(), self.weight.dims());
        assert_eq!(n_in, width, "the input's width must be the weight's");
        if !on_flex(&x) {
            return x.matmul(self.weight.clone().transpose());
        }
        let (x, weight) = (x.into_dispatch(), self.weight.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Product>::linear(x, weight, self.panels.clone()))
    }

    /// The same product on plain numbers, without autodiff, to the bit: `x` is [N, in] row by row; `out`, [N, out], is overwritten.
    pub fn apply_rows(&self, x: &[f32], out: &mut [f32]) {
        let [n_out, n_in] = self.weight.dims();
        assert_eq!((x.len() % n_in, x.len() / n_in * n_out), (0, out.len()), "whole rows in and out");
        if on_flex(&self.weight) {
            let panels = self.panels.forward.get_or_init(|| {
                let weight = self.weight.to_data();
                forward_panels(weight.as_slice().expect("weights are f32"), [n_out, n_in])
            });
            product_into(x, panels, (n_in, n_out), out);
        } else {
            let x = Tensor::from_data(TensorData::new(x.to_vec(), [x.len() / n_in, n_in]), &self.weight.device());
            let product = self.apply(x).into_data();
            out.copy_from_slice(product.as_slice().expect("products are f32"));
        }
    }
}

/// The two arrangements of a weight matrix.
#[derive(Debug, Default)]
struct Panels {
    forward: OnceLock<Vec<f32>>,
    backward: OnceLock<Vec<f32>>,
}

impl Panels {
    /// Of Wᵀ [in, out], for y = x Wᵀ.
    fn forward(&self, weight: &FlexTensor) -> &[f32] {
        self.forward.get_or_init(|| forward_panels(weight.storage::<f32>(), weight.layout().shape().dims()))
    }

    /// Of W [out, in], for dx = dy W.
    fn backward(&self, weight: &FlexTensor) -> &[f32] {
        self.backward.get_or_init(|| {
            let [n_out, n_in] = weight.layout().shape().dims();
            let weight = weight.storage::<f32>();
            panels(n_out, n_in, |k, column| weight[k * n_in + column])
        })
    }
}

/// Columns of a panel: two of the widest vectors.
const PANEL: usize = 32;
/// Rows of a tile where vectors are widest: its sums fill the registers.
const ROWS: usize = 12;
/// Rows of a tile elsewhere, and at the end. Divides [`ROWS`].
const FEW_ROWS: usize = 4;
/// Inner indices that are summed before the next panel: a panel's part stays in the first-level cache.
const DEPTH: usize = 256;
/// Rows of one task.
const TASK_ROWS: usize = 8 * ROWS;

/// Panels of the [inner, columns] matrix `at`: panel by panel, row by row, [`PANEL`] values each, zeros past the end.
fn panels(inner: usize, columns: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Vec<f32> {
    let mut out = vec![0.0; columns.div_ceil(PANEL) * inner * PANEL];
    out.par_chunks_mut(inner * PANEL).enumerate().for_each(|(panel, out)| {
        let first = panel * PANEL;
        for (k, out) in out.chunks_exact_mut(PANEL).enumerate() {
            for (column, out) in out.iter_mut().enumerate().take(columns - first.min(columns)) {
                *out = at(k, first + column);
            }
        }
    });
    out
}

fn forward_panels(weight: &[f32], [n_out, n_in]: [usize; 2]) -> Vec<f32> {
    panels(n_in, n_out, |k, column| weight[column * n_in + k])
}

/// out [N, columns] = a [N, inner] times the matrix in `panels`.
fn product(a: &[f32], panels: &[f32], (inner, columns): (usize, usize)) -> Vec<f32> {
    let mut out = vec![0.0_f32; a.len() / inner * columns];
    product_into(a, panels, (inner, columns), &mut out);
    out
}

/// The same, over `out`.
fn product_into(a: &[f32], panels: &[f32], (inner, columns): (usize, usize), out: &mut [f32]) {
    let each = (a.len() / inner).div_ceil(rayon::current_num_threads()).next_multiple_of(ROWS).clamp(ROWS, TASK_ROWS);
    let tasks = a.par_chunks(each * inner).zip(out.par_chunks_mut(each * columns));
    tasks.for_each(|(a, out)| pulp::Arch::new().dispatch(Rows { a, panels, out, inner, columns }));
}

/// One task of [`product`].
struct Rows<'a> {
    a: &'a [f32],
    panels: &'a [f32],
    out: &'a mut [f32],
    inner: usize,
    columns: usize,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { a, panels, out, inner, columns } = self;
        for from in (0..inner).step_by(DEPTH) {
            let depth = from..(from + DEPTH).min(inner);
            for (index, panel) in panels.chunks_exact(inner * PANEL).enumerate() {
                let panel = &panel[depth.start * PANEL..depth.end * PANEL];
                let place = Place { first: index * PANEL, columns, adds: from > 0 };
                let (n_rows, mut row) = (out.len() / columns, 0);
                while S::F32_LANES == 16 && row + ROWS <= n_rows {
                    rows::<S, ROWS>(simd, a, panel, out, (row, inner, depth.clone()), place);
                    row += ROWS;
                }
                while row + FEW_ROWS <= n_rows {
                    rows::<S, FEW_ROWS>(simd, a, panel, out, (row, inner, depth.clone()), place);
                    row += FEW_ROWS;
                }
                while row < n_rows {
                    rows::<S, 1>(simd, a, panel, out, (row, inner, depth.clone()), place);
                    row += 1;
                }
            }
        }
    }
}

/// Where a tile's sums go: columns `first`.. of rows of `columns`, added to what is there or in its place.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    columns: usize,
    adds: bool,
}

impl Place {
    /// Stores the sums of one row's strip of columns, as far as the row reaches.
    #[inline(always)]
    fn put<S: Simd>(self, simd: S, out: &mut [f32], strip: usize, sums: [S::f32s; 2]) {
        let width = 2 * S::F32_LANES;
        let first = self.first + strip;
        if first + width <= self.columns {
            let (out, _) = S::as_mut_simd_f32s(&mut out[first..first + width]);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if self.adds { simd.add_f32s(*out, sum) } else { sum };
            }
        } else if first < self.columns {
            let mut edge = [0.0_f32; PANEL];
            let (vectors, _) = S::as_mut_simd_f32s(&mut edge[..width]);
            vectors.copy_from_slice(&sums);
            for (out, sum) in out[first..self.columns].iter_mut().zip(edge) {
                *out = if self.adds { *out + sum } else { sum };
            }
        }
    }
}

/// Rows `row..row + N` of a panel's product.
#[inline(always)]
fn rows<S: Simd, const N: usize>(
    simd: S,
    a: &[f32],
    panel: &[f32],
    out: &mut [f32],
    (row, inner, depth): (usize, usize, std::ops::Range<usize>),
    place: Place,
) {
    let a: [&[f32]; N] = std::array::from_fn(|i| &a[(row + i) * inner..][depth.clone()]);
    for strip in (0..PANEL).step_by(2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; N];
        for (k, b) in panel.chunks_exact(PANEL).enumerate() {
            let (b, _) = S::as_simd_f32s(&b[strip..strip + 2 * S::F32_LANES]);
            for (sums, a) in sums.iter_mut().zip(a) {
                let a = simd.splat_f32s(a[k]);
                sums[0] = simd.mul_add_f32s(a, b[0], sums[0]);
                sums[1] = simd.mul_add_f32s(a, b[1], sums[1]);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            place.put(simd, &mut out[(row + i) * place.columns..(row + i + 1) * place.columns], strip, sums);
        }
    }
}

/// dW [out, in] = dyᵀ x, summed over rows in order: `dy` is [N, out], `x` [N, in].
fn outer(dy: &[f32], x: &[f32], (n_out, n_in): (usize, usize)) -> Vec<f32> {
    let n_rows = x.len() / n_in;
    let mut out = vec![0.0_f32; n_out * n_in];
    for from in (0..n_rows).step_by(DEPTH) {
        let depth = DEPTH.min(n_rows - from);
        let (dy, x) = (&dy[from * n_out..(from + depth) * n_out], &x[from * n_in..(from + depth) * n_in]);
        let panels = panels(depth, n_in, |k, column| x[k * n_in + column]);
        out.par_chunks_mut(ROWS * n_in).enumerate().for_each(|(task, out)| {
            let tile = Columns { dy, panels: &panels, out, first: task * ROWS, n_out, n_in, adds: from > 0 };
            pulp::Arch::new().dispatch(tile);
        });
    }
    out
}

/// One task of [`outer`]: the rows of `out` that belong to columns `first`.. of `dy`, at most [`ROWS`].
struct Columns<'a> {
    dy: &'a [f32],
    panels: &'a [f32],
    out: &'a mut [f32],
    first: usize,
    n_out: usize,
    n_in: usize,
    adds: bool,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Columns { dy, panels, out, first, n_out, n_in, adds } = self;
        let (depth, n_rows) = (dy.len() / n_out, out.len() / n_in);
        let mut a = [0.0_f32; ROWS * DEPTH];
        for (a, dy) in a.chunks_exact_mut(ROWS).zip(dy.chunks_exact(n_out)) {
            a[..n_rows].copy_from_slice(&dy[first..first + n_rows]);
        }
        let a = &a[..depth * ROWS];
        for (index, panel) in panels.chunks_exact(depth * PANEL).enumerate() {
            let place = Place { first: index * PANEL, columns: n_in, adds };
            if S::F32_LANES == 16 {
                columns::<S, ROWS>(simd, a, 0, panel, out, place);
            } else {
                for first in (0..ROWS).step_by(FEW_ROWS) {
                    columns::<S, FEW_ROWS>(simd, a, first, panel, out, place);
                }
            }
        }
    }
}

#[inline(always)]
fn columns<S: Simd, const N: usize>(simd: S, a: &[f32], first: usize, panel: &[f32], out: &mut [f32], place: Place) {
    for strip in (0..PANEL).step_by(2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; N];
        for (a, b) in a.chunks_exact(ROWS).zip(panel.chunks_exact(PANEL)) {
            let (b, _) = S::as_simd_f32s(&b[strip..strip + 2 * S::F32_LANES]);
            for (sums, a) in sums.iter_mut().zip(&a[first..first + N]) {
                let a = simd.splat_f32s(*a);
                sums[0] = simd.mul_add_f32s(a, b[0], sums[0]);
                sums[1] = simd.mul_add_f32s(a, b[1], sums[1]);
            }
        }
        let rows = out.chunks_exact_mut(place.columns).skip(first);
        for (out, sums) in rows.zip(sums) {
            place.put(simd, out, strip, sums);
        }
    }
}

#[backend_extension(Flex, Autodiff)]
trait Product: Backend {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, panels: Arc<Panels>) -> FloatTensor<Self>;
}

impl Product for Flex {
    fn linear(x: FlexTensor, weight: FlexTensor, panels: Arc<Panels>) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let ([n_rows, n_in], [n_out, _]) = (x.layout().shape().dims(), weight.layout().shape().dims());
        let out = product(x.storage::<f32>(), panels.forward(&weight), (n_in, n_out));
        tensor(out, [n_rows, n_out])
    }
}

impl<C: CheckpointStrategy> Product for Autodiff<Flex, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, panels: Arc<Panels>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Multiply;
        impl Backward<Flex, 2> for Multiply {
            type State = (FlexTensor, FlexTensor, Arc<Panels>);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (x, weight, panels) = ops.state;
                let [n_out, n_in] = weight.layout().shape().dims();
                let [x_node, weight_node] = ops.parents;
                if let Some(node) = x_node {
                    let dx = product(grad.storage::<f32>(), panels.backward(&weight), (n_out, n_in));
                    grads.register::<Flex>(node.id, tensor(dx, x.layout().shape().clone()));
                }
                if let Some(node) = weight_node {
                    let dw = outer(grad.storage::<f32>(), x.storage::<f32>(), (n_out, n_in));
                    grads.register::<Flex>(node.id, tensor(dw, [n_out, n_in]));
                }
            }
        }
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        match Multiply.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((x.clone(), weight.clone(), panels.clone()), Flex::linear(x, weight, panels))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::linear(x, weight, panels)),
        }
    }
}
