//! What gradient steps can train.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::Tensor;
use burn::tensor::Device;
use collimate_model::{Codec, Compute, Model, Param, Precision, Transformer, Weights};

/// Something with parameters that a loss over a transformer can improve.
pub trait Learnable: Sync {
    /// Everything that is trained. The parameters of a group are one matrix for computing, the first on top.
    fn parameters(&self) -> Vec<Vec<Param>>;

    /// Where it is trained.
    fn device(&self) -> Device;

    /// The transformer of a step, arranged once for all its micro-batches, which come in so many turns.
    fn arranged(&self, n_turns: usize) -> Transformer;

    /// `arranged` in an autodiff graph of its own.
    fn tracked(&self, arranged: &Transformer) -> Tracked;

    /// Puts what `update` makes of it in the place of every trained tensor and of what `beside` has by its name. Tensors are
    /// handed over, so that they can be updated in place.
    fn update<T: Send>(
        &mut self,
        beside: &mut BTreeMap<String, T>,
        update: impl Fn(&Param, Tensor<2>, T) -> (Tensor<2>, T) + Sync,
    );
}

/// A transformer in an autodiff graph.
pub struct Tracked {
    /// What a loss is computed with.
    pub model: Transformer,
    /// What has a gradient: a tensor for each group of [`Learnable::parameters`].
    pub leaves: Vec<Tensor<2>>,
}

/// All weights of a transformer, and how they are computed with.
#[derive(Clone, Debug)]
pub struct Full {
    /// The weights now.
    pub weights: Weights,
    /// In training and, through [`Full::model`], in sampling.
    pub compute: Compute,
}

impl Full {
    /// The policy as it is now, which samples as it is trained: the ratio of a fresh rollout is 1.
    pub fn model(&self, codec: &Arc<dyn Codec>) -> Model {
        Model { weights: self.weights.clone(), codec: codec.clone(), compute: self.compute }
    }

    /// The weights as they are now, arranged for sampling and scoring.
    pub fn transformer(&self) -> Transformer {
        Transformer::new(&self.weights, self.compute)
    }
}

impl Learnable for Full {
    fn parameters(&self) -> Vec<Vec<Param>> {
        self.weights.shape().arranged()
    }

    fn device(&self) -> Device {
        self.weights.device()
    }

    /// In bf16 products are so much faster than arranging weights, and these so much smaller, that they are kept for the step
    /// if there are several turns.
    fn arranged(&self, n_turns: usize) -> Transformer {
        match self.compute.precision {
            Precision::Bf16 if n_turns > 1 => Transformer::new(&self.weights, self.compute),
            _ => Transformer::passing(&self.weights, self.compute),
        }
    }

    fn tracked(&self, arranged: &Transformer) -> Tracked {
        let model = arranged.tracked();
        Tracked { leaves: model.tensors().into_iter().cloned().collect(), model }
    }

    fn update<T: Send>(
        &mut self,
        beside: &mut BTreeMap<String, T>,
        update: impl Fn(&Param, Tensor<2>, T) -> (Tensor<2>, T) + Sync,
    ) {
        self.weights.update_beside(beside, update);
    }
}
