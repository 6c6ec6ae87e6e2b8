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
///
/// # Panics
/// If there are more than 16 inputs.
pub fn recompute(
    inputs: Vec<Tensor<2>>,
    part: impl Fn(Vec<Tensor<2>>) -> Tensor<2> + Send + Sync + 'static,
) -> Tensor<2> {
    if !inputs.iter().all(|it| on_flex(it) && it.is_autodiff()) {
        return part(inputs);
    }
    let kept = Kept { inputs: inputs.iter().cloned().map(Tensor::inner).collect(), part: Arc::new(part) };
    // Burn wants to know how many there are when it compiles.
    macro_rules! of_as_many {
        ($($n:literal)*) => {
            match inputs.len() {
                $($n => kept.tracked::<$n>(inputs),)*
                n => panic!("{n} inputs of a part that is computed again"),
            }
        };
    }
    of_as_many!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

const FLEX: &str = "the part stays on Flex";

/// The inputs, without a graph, and what is computed of them.
#[derive(Clone)]
struct Kept {
    inputs: Vec<Tensor<2>>,
    part: Arc<dyn Fn(Vec<Tensor<2>>) -> Tensor<2> + Send + Sync>,
}

impl Kept {
    /// What is computed of `inputs`, N of them, in their graph.
    fn tracked<const N: usize>(self, inputs: Vec<Tensor<2>>) -> Tensor<2>
    where
        Again: Backward<Flex, N, State = Kept>,
    {
        let out = (self.part)(self.inputs.clone()).try_into_primitive::<Flex>().expect(FLEX);
        let inputs: [Tensor<2>; N] = inputs.try_into().expect("as many");
        let nodes = inputs.map(|it| it.try_into_primitive::<Autodiff<Flex>>().expect(FLEX).into_parts().1);
        let out = match Again.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(self, out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        };
        Tensor::from_primitive::<Autodiff<Flex>>(out)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Again;

impl<const N: usize> Backward<Flex, N> for Again {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = Tensor::<2>::from_primitive::<Flex>(grads.consume::<Flex>(&ops.node));
        let Kept { inputs, part } = ops.state;
        let leaves: Vec<_> = inputs.into_iter().map(|it| it.autodiff().require_grad()).collect();
        // The sum's slope is 1 everywhere, so that what arrives at the part's output is `grad` itself.
        let mut inner = (part(leaves.clone()) * grad).sum().backward();
        for (node, leaf) in ops.parents.into_iter().zip(leaves) {
            if let (Some(node), Some(grad)) = (node, leaf.grad_remove(&mut inner)) {
                grads.register::<Flex>(node.id, grad.try_into_primitive::<Flex>().expect(FLEX));
            }
        }
    }
}
