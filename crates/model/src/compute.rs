//! How a transformer computes, apart from what it is.

use collimate_kernels::Precision;

/// What is chosen for a machine rather than for a model. Checkpoints do not say; what samples a policy's rollouts and what trains
/// on them must agree, so that a fresh rollout's ratio is 1: both are made from one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// What products are taken in.
    pub precision: Precision,
    /// Whether a training step keeps only the inputs of each layer: the backward pass computes the rest again, a third more
    /// arithmetic for the same gradients.
    pub recompute: bool,
}
