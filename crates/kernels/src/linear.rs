//! Products with a weight matrix: y = x Wᵀ, its input gradient dy W and its weight gradient dyᵀ x. Weights are rearranged for
//! them, once and for all or each time anew.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::TensorData;

use crate::area::Area;
use crate::device::{on_flex, tensor};
use crate::norm::{self, normed};
use crate::packed::{Packed, Source};
use crate::plain;
use crate::precision::Precision;
use crate::swiglu::{self, gated};
use crate::tile::Left;

/// A weight matrix W [out, in] that inputs are multiplied with, x Wᵀ. Clones share its panels.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor<2>,
    panels: Arc<Panels>,
}

impl Linear {
    /// Over `weight` [out, in], tracked by autodiff or not, in f32. Panels are made when they are first needed.
    pub fn new(weight: Tensor<2>) -> Linear {
        Linear::with_precision(weight, Precision::F32)
    }

    /// The same with operands rounded to `precision`; the weight itself and its gradient stay f32. Devices other than Flex
    /// multiply in f32.
    pub fn with_precision(weight: Tensor<2>, precision: Precision) -> Linear {
        Linear { weight, panels: Panels::new(precision, true) }
    }

    /// The same, whose panels last as long as a product reads them and are then made anew: for training, where a weight serves
    /// a few large products and memory is short, and for tables too large to be there twice. Products that run side by side
    /// share them.
    pub fn passing(self) -> Linear {
        Linear { panels: Panels::new(self.panels.precision, false), ..self }
    }

    /// The same matrix as the leaf of an autodiff graph, with the same panels.
    pub fn tracked(&self) -> Linear {
        self.over(self.weight.clone().autodiff().require_grad())
    }

    /// With `weight`, the same numbers as the leaf of another graph or of none, and the same panels.
    pub fn over(&self, weight: Tensor<2>) -> Linear {
        assert_eq!(weight.dims(), self.weight.dims(), "the weight must be the same");
        Linear { weight, panels: self.panels.clone() }
    }

    /// The matrix, [out, in].
    pub fn weight(&self) -> &Tensor<2> {
        &self.weight
    }

    pub(crate) fn panels(&self) -> &Arc<Panels> {
        &self.panels
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

    /// [`rms_norm`](crate::rms_norm) of `x` [N, in] with `norm` [1, in], then [`Linear::apply`]; returns [N, out]. What lies
    /// between is not kept for the backward pass but computed again.
    pub fn after_norm(&self, x: Tensor<2>, norm: Tensor<2>, eps: f32) -> Tensor<2> {
        let n_in = self.weight.dims()[1];
        assert_eq!([x.dims()[1], norm.dims()[1]], [n_in; 2], "the input's and the norm's width must be the weight's");
        if !on_flex(&x) {
            return self.apply(plain::rms_norm(x, norm, eps));
        }
        let (x, norm, weight) = (x.into_dispatch(), norm.into_dispatch(), self.weight.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Product>::normed(x, norm, weight, self.panels.clone(), eps))
    }

    /// `silu(gate) * up` of `gate_up` [N, 2 in], gate first, then [`Linear::apply`]; returns [N, out]. What lies between is not
    /// kept for the backward pass but computed again.
    pub fn after_swiglu(&self, gate_up: Tensor<2>) -> Tensor<2> {
        assert_eq!(gate_up.dims()[1], 2 * self.weight.dims()[1], "the input's width must be twice the weight's");
        if !on_flex(&gate_up) {
            return self.apply(plain::swiglu(gate_up));
        }
        let (gate_up, weight) = (gate_up.into_dispatch(), self.weight.clone().into_dispatch());
        Tensor::from_dispatch(<Dispatch as Product>::gated(gate_up, weight, self.panels.clone()))
    }

    /// The same product on plain numbers, without autodiff, to the bit: `x` is [N, in] row by row; `out`, [N, out], is overwritten.
    /// `n_threads` are free to share the work.
    pub fn apply_rows(&self, x: &[f32], out: &mut [f32], n_threads: usize) {
        let [n_out, n_in] = self.weight.dims();
        assert_eq!((x.len() % n_in, x.len() / n_in * n_out), (0, out.len()), "whole rows in and out");
        if on_flex(&self.weight) {
            let weight = self.weight.clone().try_into_primitive::<Flex>().expect("no autodiff");
            let weight = weight.to_contiguous();
            if self.panels.forward.keeps {
                self.panels.forward(&weight).product(x, out, n_threads);
            } else {
                self.panels.pass(&weight, x, out);
            }
        } else {
            let x = Tensor::from_data(TensorData::new(x.to_vec(), [x.len() / n_in, n_in]), &self.weight.device());
            let product = self.apply(x).into_data();
            out.copy_from_slice(product.as_slice().expect("products are f32"));
        }
    }
}

/// Bytes of a weight matrix that are arranged for one product: they stay in the second-level cache.
const NEAR: usize = 256 << 10;
/// Rows of it are a multiple of this: whole panels.
const TOGETHER: usize = 32;

/// The two arrangements of a weight matrix, and what its products round to.
#[derive(Debug)]
pub(crate) struct Panels {
    precision: Precision,
    forward: Arranged,
    backward: Arranged,
}

impl Panels {
    fn new(precision: Precision, keeps: bool) -> Arc<Panels> {
        let arranged = || Arranged { keeps, last: Mutex::default() };
        Arc::new(Panels { precision, forward: arranged(), backward: arranged() })
    }

    /// Of Wᵀ [in, out], for y = x Wᵀ.
    pub(crate) fn forward(&self, weight: &FlexTensor) -> Arc<Packed> {
        self.forward.get(|| self.by_columns(weight.storage(), weight.layout().shape().dims::<2>()[1]))
    }

    /// Of the columns `rows` of Wᵀ at least, and the first that it has: of all where all are kept.
    pub(crate) fn forward_rows(&self, weight: &FlexTensor, rows: Range<usize>) -> (Arc<Packed>, usize) {
        if self.forward.keeps {
            return (self.forward(weight), 0);
        }
        let n_in = weight.layout().shape().dims::<2>()[1];
        let values = &weight.storage()[rows.start * n_in..rows.end * n_in];
        (Arc::new(self.by_columns(values, n_in)), rows.start)
    }

    /// Of W [out, in], for dx = dy W.
    fn backward(&self, weight: &FlexTensor) -> Arc<Packed> {
        self.backward.get(|| self.by_rows(weight.storage(), weight.layout().shape().dims::<2>()[1]))
    }

    /// A matrix [inner, columns] that `values` has column by column: some rows of W for logits.
    pub(crate) fn by_columns(&self, values: &[f32], inner: usize) -> Packed {
        let sizes = [inner, values.len() / inner];
        Packed::new(self.precision, sizes, Source::Columns(values), rayon::current_num_threads())
    }

    /// A matrix [inner, columns] that `values` has row by row: inputs x [N, in] for dW = dyᵀ x, some rows of W for dx.
    pub(crate) fn by_rows(&self, values: &[f32], columns: usize) -> Packed {
        let sizes = [values.len() / columns, columns];
        Packed::new(self.precision, sizes, Source::Rows(values), rayon::current_num_threads())
    }
}

/// An arrangement that is there, kept or for as long as others read it, or is made.
#[derive(Debug)]
struct Arranged {
    keeps: bool,
    last: Mutex<(Weak<Packed>, Option<Arc<Packed>>)>,
}

impl Arranged {
    fn get(&self, make: impl FnOnce() -> Packed) -> Arc<Packed> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let there = last().0.upgrade();
        there.unwrap_or_else(|| {
            // Made without the lock: a thread that waits for its parallel loop may take up work that wants these panels too.
            let made = Arc::new(make());
            *last() = (Arc::downgrade(&made), self.keeps.then(|| made.clone()));
            made
        })
    }
}

impl Panels {
    /// Whether a product of `n_rows` arranges them, since they are fewer than the `n_weights` rows and the arrangement of the
    /// weights would not be kept.
    fn arranges_inputs(&self, n_rows: usize, n_weights: usize) -> bool {
        !self.forward.keeps && n_rows < n_weights
    }

    /// x Wᵀ of `x` [N, in], as a tensor [N, out].
    fn apply(&self, x: &[f32], weight: &FlexTensor) -> FlexTensor {
        let [n_out, n_in] = weight.layout().shape().dims();
        let n_rows = x.len() / n_in;
        let out = if self.arranges_inputs(n_rows, n_out) {
            self.by_columns(x, n_in).across(Left::Rows { values: weight.storage(), n_inner: n_in }, n_out)
        } else {
            self.forward(weight).of_rows(x)
        };
        tensor(out, [n_rows, n_out])
    }

    /// x Wᵀ of `x` [N, in], all of `out`: rows of W are arranged, multiplied with and forgotten, some at a time, so that a large
    /// table is never there twice.
    fn pass(&self, weight: &FlexTensor, x: &[f32], out: &mut [f32]) {
        let [n_out, n_in] = weight.layout().shape().dims();
        let each = (NEAR / (n_in * size_of::<f32>())).max(1).next_multiple_of(TOGETHER);
        Area::new(out, n_out).by_columns(each, &|task, out| {
            let rows = task * each..task * each + out.n_columns();
            let values = &weight.storage::<f32>()[rows.start * n_in..rows.end * n_in];
            let panels = Packed::new(self.precision, [n_in, rows.len()], Source::Columns(values), 1);
            panels.multiply(panels.whole(), x, out, false);
        });
    }

    /// dy W for `grad` dy [N, out].
    fn of_inputs(&self, grad: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
        let ([n_rows, n_out], [_, n_in]) = (grad.layout().shape().dims::<2>(), weight.layout().shape().dims::<2>());
        let out = if self.arranges_inputs(n_rows, n_in) {
            let weight = Left::Columns { values: weight.storage(), stride: n_in, n_inner: n_out };
            self.by_columns(grad.storage(), n_out).across(weight, n_in)
        } else {
            self.backward(weight).of_rows(grad.storage())
        };
        tensor(out, [n_rows, n_in])
    }

    /// dyᵀ x for `grad` dy [N, out] and inputs `x` [N, in].
    fn of_weight(&self, grad: &FlexTensor, x: &[f32]) -> FlexTensor {
        let [n_rows, n_out] = grad.layout().shape().dims();
        let n_in = x.len() / n_rows;
        tensor(self.by_rows(x, n_in).of_columns(grad.storage()), [n_out, n_in])
    }
}

#[backend_extension(Flex, Autodiff)]
trait Product: Backend {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, panels: Arc<Panels>) -> FloatTensor<Self>;

    fn normed(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        panels: Arc<Panels>,
        eps: f32,
    ) -> FloatTensor<Self>;

    fn gated(gate_up: FloatTensor<Self>, weight: FloatTensor<Self>, panels: Arc<Panels>) -> FloatTensor<Self>;
}

impl Product for Flex {
    fn linear(x: FlexTensor, weight: FlexTensor, panels: Arc<Panels>) -> FlexTensor {
        panels.apply(x.to_contiguous().storage(), &weight.to_contiguous())
    }

    fn normed(x: FlexTensor, norm: FlexTensor, weight: FlexTensor, panels: Arc<Panels>, eps: f32) -> FlexTensor {
        panels.apply(&normed(&x.to_contiguous(), &norm.to_contiguous(), eps), &weight.to_contiguous())
    }

    fn gated(gate_up: FlexTensor, weight: FlexTensor, panels: Arc<Panels>) -> FlexTensor {
        panels.apply(&gated(&gate_up.to_contiguous()), &weight.to_contiguous())
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
                let [x_node, weight_node] = ops.parents;
                if let Some(node) = x_node {
                    grads.register::<Flex>(node.id, panels.of_inputs(&grad, &weight));
                }
                if let Some(node) = weight_node {
                    grads.register::<Flex>(node.id, panels.of_weight(&grad, x.storage()));
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

    fn normed(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        panels: Arc<Panels>,
        eps: f32,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Normed;
        impl Backward<Flex, 3> for Normed {
            type State = ([FlexTensor; 3], Arc<Panels>, f32);
            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let ([x, norm, weight], panels, eps) = ops.state;
                let [x_node, norm_node, weight_node] = ops.parents;
                if let Some(node) = weight_node {
                    grads.register::<Flex>(node.id, panels.of_weight(&grad, &normed(&x, &norm, eps)));
                }
                if x_node.is_some() || norm_node.is_some() {
                    let (dx, dnorm) = norm::backward(&panels.of_inputs(&grad, &weight), &x, &norm, eps);
                    for (node, grad) in [(x_node, dx), (norm_node, dnorm)] {
                        if let Some(node) = node {
                            grads.register::<Flex>(node.id, grad);
                        }
                    }
                }
            }
        }
        let ((x, x_node), (norm, norm_node), (weight, weight_node)) =
            (x.into_parts(), norm.into_parts(), weight.into_parts());
        let [x, norm, weight] = [x, norm, weight].map(|it| it.to_contiguous());
        let out = Flex::normed(x.clone(), norm.clone(), weight.clone(), panels.clone(), eps);
        match Normed.prepare::<C>([x_node, norm_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(([x, norm, weight], panels, eps), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn gated(gate_up: FloatTensor<Self>, weight: FloatTensor<Self>, panels: Arc<Panels>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Gated;
        impl Backward<Flex, 2> for Gated {
            type State = ([FlexTensor; 2], Arc<Panels>);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let ([gate_up, weight], panels) = ops.state;
                let [gate_up_node, weight_node] = ops.parents;
                if let Some(node) = weight_node {
                    grads.register::<Flex>(node.id, panels.of_weight(&grad, &gated(&gate_up)));
                }
                if let Some(node) = gate_up_node {
                    grads.register::<Flex>(node.id, swiglu::backward(&panels.of_inputs(&grad, &weight), &gate_up));
                }
            }
        }
        let ((gate_up, gate_up_node), (weight, weight_node)) = (gate_up.into_parts(), weight.into_parts());
        let [gate_up, weight] = [gate_up, weight].map(|it| it.to_contiguous());
        let out = Flex::gated(gate_up.clone(), weight.clone(), panels.clone());
        match Gated.prepare::<C>([gate_up_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(([gate_up, weight], panels), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
