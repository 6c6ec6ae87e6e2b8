//! A part of a network whose activations are computed again in the backward pass rather than kept: memory for time.

use std::fmt;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};

use crate::device::on_flex;

/// `part(inputs)`, of which only the inputs are kept for the backward pass: that runs `part` once more, in an autodiff graph of
/// its own. `part` computes the same whether its inputs are tracked or not, and depends on tracked tensors through them only.
/// Values and gradients are those of `part` itself, to the bit. Devices other than Flex keep everything.
pub fn recompute<const N: usize>(
    inputs: [Tensor<2>; N],
    part: impl Fn([Tensor<2>; N]) -> Tensor<2> + Send + Sync + 'static,
) -> Tensor<2> {
    if !inputs.iter().all(|it| on_flex(it) && it.is_autodiff()) {
        return part(inputs);
    }
    let kept = Kept { inputs: inputs.clone().map(Tensor::inner), part: Arc::new(part) };
    let out = (kept.part)(kept.inputs.clone()).try_into_primitive::<Flex>().expect(FLEX);
    let nodes = inputs.map(|it| it.try_into_primitive::<Autodiff<Flex>>().expect(FLEX).into_parts().1);
    let out = match Again.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(kept, out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(out)
}

const FLEX: &str = "the part stays on Flex";

/// The inputs, without a graph, and what is computed of them.
#[derive(Clone)]
struct Kept<const N: usize> {
    inputs: [Tensor<2>; N],
    part: Arc<dyn Fn([Tensor<2>; N]) -> Tensor<2> + Send + Sync>,
}

impl<const N: usize> fmt::Debug for Kept<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Again;

impl<const N: usize> Backward<Flex, N> for Again {
    type State = Kept<N>;

    fn backward(self, ops: Ops<Kept<N>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = Tensor::<2>::from_primitive::<Flex>(grads.consume::<Flex>(&ops.node));
        let Kept { inputs, part } = ops.state;
        let leaves = inputs.map(|it| it.autodiff().require_grad());
        // The sum's slope is 1 everywhere, so that what arrives at the part's output is `grad` itself.
        let mut inner = (part(leaves.clone()) * grad).sum().backward();
        for (node, leaf) in ops.parents.into_iter().zip(leaves) {
            if let (Some(node), Some(grad)) = (node, leaf.grad_remove(&mut inner)) {
                grads.register::<Flex>(node.id, grad.try_into_primitive::<Flex>().expect(FLEX));
            }
        }
    }
}
