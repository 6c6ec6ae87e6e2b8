//! Rows of a table by their indices: tokens to their embeddings, and the hidden states that are trained.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};

use crate::device::{on_flex, tensor};
use crate::plain;

/// Rows `tokens` [n] of `table` [V, D]; returns [n, D].
pub fn embed(table: Tensor<2>, tokens: &[u32]) -> Tensor<2> {
    let n_vocab = table.dims()[0];
    assert!(tokens.iter().all(|it| (*it as usize) < n_vocab), "token ids must be below the vocabulary size {n_vocab}");
    if !on_flex(&table) {
        return plain::embed(table, tokens);
    }
    Tensor::from_dispatch(<Dispatch as Embed>::embed(table.into_dispatch(), tokens.into()))
}

#[backend_extension(Flex, Autodiff)]
trait Embed: Backend {
    fn embed(table: FloatTensor<Self>, tokens: Arc<[u32]>) -> FloatTensor<Self>;
}

impl Embed for Flex {
    fn embed(table: FlexTensor, tokens: Arc<[u32]>) -> FlexTensor {
        let table = table.to_contiguous();
        let [_, width] = table.layout().shape().dims();
        let rows = table.storage::<f32>();
        let mut out = Vec::with_capacity(tokens.len() * width);
        for token in tokens.iter() {
            out.extend_from_slice(&rows[*token as usize * width..][..width]);
        }
        tensor(out, [tokens.len(), width])
    }
}

/// Adds the rows of `grad` [n, D] to the rows `tokens` of `sum` [V, D], in order.
fn scatter(grad: &FlexTensor, tokens: &[u32], sum: &mut FlexTensor) {
    let [_, width] = sum.layout().shape().dims();
    let sum = sum.storage_mut::<f32>();
    for (grad, token) in grad.storage::<f32>().chunks_exact(width).zip(tokens) {
        for (sum, grad) in sum[*token as usize * width..][..width].iter_mut().zip(grad) {
            *sum += grad;
        }
    }
}

impl<C: CheckpointStrategy> Embed for Autodiff<Flex, C> {
    fn embed(table: FloatTensor<Self>, tokens: Arc<[u32]>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Look;
        impl Backward<Flex, 1> for Look {
            type State = (FloatTensor<Autodiff<Flex>>, Arc<[u32]>);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
                let (table, tokens) = ops.state;
                let [node] = ops.parents;
                if let Some(node) = node {
                    // A table that is also the head has a gradient already: these rows are added to it where it is.
                    let shape = table.primitive().layout().shape().clone();
                    let there = grads.remove::<Flex>(&table);
                    let mut sum = there.unwrap_or_else(|| tensor(vec![0.0; shape.num_elements()], shape));
                    scatter(&grad, &tokens, &mut sum);
                    grads.register::<Flex>(node.id, sum);
                }
            }
        }
        let (primitive, node) = table.clone().into_parts();
        let out = Flex::embed(primitive, tokens.clone());
        match Look.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((table, tokens), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
