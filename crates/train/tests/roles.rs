//! How a parameter is trained is for its role to say.

mod tiny;

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::Device;
use collimate_model::{Extras, Param, Role, Transformer};
use collimate_train::{Adam, AdamW, Batch, Full, Learnable, Muon, Tracked, sft_step};
use tiny::{full, sequences, shape};

const CFG: AdamW = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
const MAX_NORM: f32 = 1.0;

#[test]
fn decay_spares_norms_and_biases() {
    let mut full = tiny::full_with(Extras { qkv_bias: true, ..Extras::default() });
    let mut adam = Adam::new(&full, CFG, MAX_NORM);
    // Gradients so small against eps that only the decay moves anything.
    adam.cfg.eps = 1e9;
    let before = full.weights.clone();
    sft_step(&mut full, &mut adam, &Batch::split(&sequences(), 1000), 0.5).expect("a finite step");
    for param in full.weights.shape().parameters() {
        let name = &param.name;
        let change = full.weights.tensors()[name].clone() / before.tensors()[name].clone();
        let change = change.to_data();
        let expected = if matches!(param.role, Role::Norm | Role::Bias) { 1.0 } else { 0.95 };
        assert!(change.as_slice::<f32>().expect("f32").iter().all(|it| (it - expected).abs() < 1e-4), "`{name}`");
    }
}

/// The same weights under names that say nothing true.
struct Misnamed(Full);

impl Misnamed {
    fn name(at: usize) -> String {
        let lies = ["embed", "norm.weight", "x.layers.0.o_proj.weight", "x.layers.1.down_proj.weight", "head"];
        format!("{at:02}.{}", lies[at % lies.len()])
    }

    fn rename(param: &Param) -> Param {
        let at = shape().parameters().iter().position(|it| it == param).expect("one of the model's");
        Param { name: Misnamed::name(at), ..param.clone() }
    }
}

impl Learnable for Misnamed {
    fn parameters(&self) -> Vec<Vec<Param>> {
        let groups = self.0.parameters();
        groups.iter().map(|group| group.iter().map(Misnamed::rename).collect()).collect()
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn arranged(&self, n_turns: usize) -> Transformer {
        self.0.arranged(n_turns)
    }

    fn tracked(&self, arranged: &Transformer) -> Tracked {
        self.0.tracked(arranged)
    }

    fn update<T: Send>(
        &mut self,
        beside: &mut BTreeMap<String, T>,
        update: impl Fn(&Param, Tensor<2>, T) -> (Tensor<2>, T) + Sync,
    ) {
        // Numbers in front keep the order of names.
        let mut named =
            shape().parameters().into_iter().map(|it| it.name).zip(std::mem::take(beside).into_values()).collect();
        self.0.update(&mut named, |param, tensor, beside| update(&Misnamed::rename(param), tensor, beside));
        *beside = named.into_values().enumerate().map(|(at, it)| (Misnamed::name(at), it)).collect();
    }
}

#[test]
fn what_a_tensor_is_called_does_not_decide_how_it_is_trained() {
    let batches = Batch::split(&sequences(), 24);
    for muon in [None, Some(Muon { momentum: 0.9, weight_decay: 0.1 })] {
        let (mut named, mut misnamed) = (full(), Misnamed(full()));
        let (mut adam, mut other) = (Adam::new(&named, CFG, MAX_NORM), Adam::new(&misnamed, CFG, MAX_NORM));
        (adam.muon, other.muon) = (muon, muon);
        for _ in 0..3 {
            let stats = sft_step(&mut named, &mut adam, &batches, 1e-2);
            assert_eq!(sft_step(&mut misnamed, &mut other, &batches, 1e-2), stats);
        }
        assert_eq!(named.weights.hash(&[]), misnamed.0.weights.hash(&[]));
    }
}
