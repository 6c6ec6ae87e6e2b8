//! Gradients of the losses against finite differences, on a tiny model. With beta1 = 0 and no clipping, the first moment
//! after a step is the gradient; with learning rate 0, a step reports its loss and changes nothing.

mod tiny;

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::TensorData;
use collimate_model::{Compute, Encoded, Extras, Role, RopeScaling, Shape, Transformer, read_tensors};
use collimate_schema::Seed;
use collimate_train::{
    Adam, AdamW, Batch, DistillBatch, Full, Rl, RlBatch, RlToken, StepError, distill_step, rl_step, score, sft_step,
};
use tiny::{device, encoded, full, sequences};

const PROBE: AdamW = AdamW { beta1: 0.0, beta2: 0.9, eps: 1e-8, weight_decay: 0.0 };

fn probe() -> Adam {
    Adam::new(&full(), PROBE, f32::INFINITY)
}

fn gradient(adam: &Adam) -> BTreeMap<String, Tensor<2>> {
    gradient_of(&tiny::shape(), adam)
}

fn gradient_of(shape: &Shape, adam: &Adam) -> BTreeMap<String, Tensor<2>> {
    read_tensors(&adam.to_bytes(), &shape.parameters(), "m.", &device()).expect("the state is whole")
}

fn host(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("f32")
}

/// The loss moves along a random direction in every tensor as `gradient` says.
fn check(gradient: &BTreeMap<String, Tensor<2>>, loss: impl Fn(&mut Full) -> f32) {
    check_of(full, gradient, loss);
}

fn check_of(full: impl Fn() -> Full, gradient: &BTreeMap<String, Tensor<2>>, loss: impl Fn(&mut Full) -> f32) {
    for (index, (name, grad)) in gradient.iter().enumerate() {
        let grad = host(grad);
        let size = grad.iter().map(|it| it * it).sum::<f32>().sqrt();
        assert!(size > 1e-6, "`{name}` gets no gradient");
        // Along the gradient itself, bent by signs that look random, so that the slope is large against rounding.
        let bend = |at: usize| if (at * 2_654_435_761 + index).is_multiple_of(7) { -0.5 } else { 1.0 };
        let direction: Vec<f32> = grad.iter().enumerate().map(|(at, it)| it / size * bend(at)).collect();
        let at = |step: f32| {
            let mut moved = full();
            moved.weights.update(|it, tensor| {
                if it.name != *name {
                    return tensor;
                }
                let shape = tensor.dims();
                let values: Vec<f32> = host(&tensor).iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                Tensor::from_data(TensorData::new(values, shape), &device())
            });
            f64::from(loss(&mut moved))
        };
        const STEP: f32 = 1e-2;
        let slope = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
        let along: f64 = grad.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let error = (slope - along).abs() / along.abs().max(1e-2);
        assert!(error < 1e-2, "`{name}`: the loss moves by {slope}, the gradient says {along}");
    }
}

#[test]
fn sft_gradient_is_the_slope_of_its_loss() {
    let mut batches = Batch::split(&sequences(), 24);
    assert!(batches.len() > 1, "the step is made of several micro-batches");
    for (index, trained) in batches.iter_mut().flat_map(|it| &mut it.trained).enumerate() {
        trained.weight = 0.5 + (index % 3) as f32;
    }
    let loss = |full: &mut Full| {
        let mut adam = probe();
        sft_step(full, &mut adam, &batches, 0.0).expect("a finite step").loss
    };
    let (mut full, mut adam) = (full(), probe());
    let stats = sft_step(&mut full, &mut adam, &batches, 0.0).expect("a finite step");
    let gradient = gradient(&adam);
    let norm: f32 = gradient.values().flat_map(host).map(|it| it * it).sum::<f32>().sqrt();
    assert!((stats.grad_norm / norm - 1.0).abs() < 1e-4);
    check(&gradient, loss);
}

#[test]
fn what_families_add_is_trained() {
    let plain = Extras::default();
    let yarn =
        RopeScaling::Yarn { factor: 4.0, fast: 32.0, slow: 1.0, original: 16.0, attention: 1.2, truncates: true };
    for extras in [
        Extras { own_head: true, qkv_bias: true, out_bias: true, ffn_bias: true, ..plain },
        Extras { head_norms: true, qkv_bias: true, out_bias: true, ..plain },
        Extras { rope_scaling: yarn, ..plain },
    ] {
        for recompute in [false, true] {
            let full = || {
                let mut full = tiny::full_with(extras);
                full.compute.recompute = recompute;
                full
            };
            let batches = Batch::split(&sequences(), 24);
            let (mut now, mut adam) = (full(), Adam::new(&full(), PROBE, f32::INFINITY));
            sft_step(&mut now, &mut adam, &batches, 0.0).expect("a finite step");
            let gradient = gradient_of(now.weights.shape(), &adam);
            let loss = |full: &mut Full| {
                let mut adam = Adam::new(full, PROBE, f32::INFINITY);
                sft_step(full, &mut adam, &batches, 0.0).expect("a finite step").loss
            };
            check_of(full, &gradient, loss);
        }
    }
}

/// A teacher of the same shape with other weights.
fn teacher() -> Transformer {
    let mut other = full();
    other.weights.update(|it, tensor| if it.role == Role::Norm { tensor } else { tensor.flip([0]) * 3.0 });
    other.transformer()
}

#[test]
fn distillation_gradient_is_the_slope_of_its_loss() {
    let ask = |batch| DistillBatch::ask(&teacher(), batch, 4);
    let batches: Vec<DistillBatch> = Batch::split(&sequences(), 24).into_iter().map(ask).collect();
    let loss = |full: &mut Full| {
        let mut adam = probe();
        distill_step(full, &mut adam, &batches, 0.0).expect("a finite step").loss
    };
    let (mut full, mut adam) = (full(), probe());
    distill_step(&mut full, &mut adam, &batches, 0.0).expect("a finite step");
    check(&gradient(&adam), loss);
}

#[test]
fn a_student_comes_to_agree_with_its_teacher() {
    let batches = [DistillBatch::ask(&teacher(), Batch::new(&sequences()), 4)];
    let (mut full, cfg) = (full(), AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 });
    let mut adam = Adam::new(&full, cfg, 1.0);
    let losses: Vec<f32> =
        (0..80).map(|_| distill_step(&mut full, &mut adam, &batches, 1e-2).expect("a finite step").loss).collect();
    assert!(losses[0] > 0.05 && losses[79] < losses[0] / 10.0, "{losses:?}");
}

/// Rollouts whose old and reference log-probabilities differ from the current ones by turns, so that some ratios are
/// clipped above, some below, and some not although they are far from 1. Those of one micro-batch have no advantage.
fn rollouts() -> Vec<RlBatch> {
    let model = full().transformer();
    let rl = |(at, batch): (usize, Batch)| {
        let tokens = score(&model, &batch).into_iter().enumerate().map(|(index, logprob)| RlToken {
            advantage: if at == 1 { 0.0 } else { [1.0, -0.5, 2.0, -1.5][index % 4] },
            old: logprob + [0.0, 0.5, -0.5, 0.05, -0.05][index % 5],
            reference: Some(logprob + [0.3, -0.4, 0.1][index % 3]),
        });
        RlBatch { tokens: tokens.collect(), batch }
    };
    Batch::split(&sequences(), 24).into_iter().enumerate().map(rl).collect()
}

#[test]
fn rl_gradient_is_the_slope_of_its_loss() {
    let batches = rollouts();
    for cfg in [Rl { clip: 0.2, kl: 0.0 }, Rl { clip: 0.2, kl: 0.7 }, Rl { clip: 10.0, kl: 0.1 }] {
        let loss = |full: &mut Full| {
            let mut adam = probe();
            rl_step(full, &mut adam, &batches, &cfg, 0.0).expect("a finite step").loss
        };
        let (mut full, mut adam) = (full(), probe());
        let stats = rl_step(&mut full, &mut adam, &batches, &cfg, 0.0).expect("a finite step");
        assert_eq!(stats.clip_fraction > 0.0, cfg.clip < 1.0);
        assert!(stats.kl.expect("there is a reference") > 0.0 && stats.entropy > 0.0);
        check(&gradient(&adam), loss);
    }
}

/// Samples of two prompts, whose beginnings are computed once, and a sequence that shares nothing.
fn samples() -> Vec<Encoded> {
    let sample = |prompt: u32, n_prompt: u32, n: u32| {
        let tokens = (0..n_prompt).map(|it| (it * it + prompt) % 23).chain((0..n).map(|it| (it * 7 + n) % 23));
        encoded(&tokens.collect::<Vec<_>>(), n_prompt as usize)
    };
    let of = [(1, 20, 5), (2, 17, 4), (1, 20, 1), (1, 20, 9), (3, 2, 3), (2, 17, 8), (2, 17, 4)];
    of.map(|(prompt, n_prompt, n)| sample(prompt, n_prompt, n)).to_vec()
}

#[test]
fn a_common_beginning_is_as_if_each_sequence_were_alone() {
    let (samples, model) = (samples(), full().transformer());
    let together = Batch::new(&samples);
    assert!(together.tokens.len() < together.layout.lengths().iter().sum::<usize>(), "positions are shared");
    let alone: Vec<f32> = samples.iter().flat_map(|it| score(&model, &Batch::new([it]))).collect();
    assert_eq!(score(&model, &together), alone, "to the bit");
}

#[test]
fn the_loss_is_a_mean_over_tokens_however_sequences_are_split() {
    split_as_whole(&sequences());
    split_as_whole(&samples());
}

fn split_as_whole(sequences: &[Encoded]) {
    let step = |max_positions: usize| {
        let (mut full, mut adam) = (full(), probe());
        let batches = Batch::split(sequences, max_positions);
        let stats = sft_step(&mut full, &mut adam, &batches, 0.0).expect("a finite step");
        (batches.len(), stats, gradient(&adam))
    };
    let (n_one, one, one_gradient) = step(10_000);
    let (n_many, many, many_gradient) = step(1);
    assert_eq!((n_one, n_many), (1, sequences.len()));
    assert_eq!(one.n_tokens, many.n_tokens);
    assert!((one.loss - many.loss).abs() < 1e-5);
    for (name, one) in &one_gradient {
        for (one, many) in host(one).iter().zip(host(&many_gradient[name])) {
            assert!((one - many).abs() < 1e-5, "`{name}`: {one} is not {many}");
        }
    }
}

/// Matrices, vectors and batches of several parallel tasks each.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let shape = Shape { width: 48, ffn_width: 400, n_vocab: 700, n_positions: 256, ..tiny::shape() };
    let sequence = |index: u32| encoded(&(0..20 + 37 * index).map(|it| (it * it + index) % 700).collect::<Vec<_>>(), 3);
    let batches = Batch::split(&(0..6).map(sequence).collect::<Vec<_>>(), 250);
    assert!(batches.len() > 2);
    let steps = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
        pool.install(|| {
            let weights = tiny::drawn(&shape, Seed(5), &device());
            let mut full = Full { weights, compute: Compute::default() };
            let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
            let mut adam = Adam::new(&full, cfg, 1.0);
            let step = |_| sft_step(&mut full, &mut adam, &batches, 1e-2).expect("a finite step");
            let stats: Vec<_> = (0..2).map(step).collect();
            (stats, full.weights.hash(&[]), adam.to_bytes())
        })
    };
    let one = steps(1);
    for n_threads in [2, 3] {
        assert!(steps(n_threads) == one, "{n_threads} threads");
    }
}

#[test]
fn recomputed_activations_change_no_bit() {
    let batches = [Batch::split(&sequences(), 24), vec![Batch::new(&samples())]].concat();
    let step = |recompute: bool| {
        let compute = Compute { recompute, ..Compute::default() };
        let (mut full, mut adam) = (Full { compute, ..full() }, probe());
        let stats = sft_step(&mut full, &mut adam, &batches, 1e-2).expect("a finite step");
        (stats, full.weights.hash(&[]), adam.to_bytes())
    };
    assert!(step(true) == step(false));
}

#[test]
fn a_fresh_batch_has_ratio_one() {
    let (mut full, mut adam) = (full(), probe());
    let model = full.transformer();
    let fresh = |batch: Batch| {
        let token = |logprob: f32| RlToken { advantage: 1.0, old: logprob, reference: None };
        RlBatch { tokens: score(&model, &batch).into_iter().map(token).collect(), batch }
    };
    let batches: Vec<RlBatch> = Batch::split(&sequences(), 24).into_iter().map(fresh).collect();
    let cfg = Rl { clip: 0.2, kl: 0.0 };
    let stats = rl_step(&mut full, &mut adam, &batches, &cfg, 0.0).expect("a finite step");
    assert_eq!((stats.clip_fraction, stats.kl), (0.0, None));
    assert!(stats.ratio_drift < 1e-5, "{}", stats.ratio_drift);
    assert!((stats.loss + 1.0).abs() < 1e-5, "with ratio and advantage 1 the loss is -1, not {}", stats.loss);
}

#[test]
fn a_batch_without_trained_tokens_is_refused() {
    let (mut full, mut adam) = (full(), probe());
    let untrained = encoded(&[1, 2, 3], 3);
    let batches = [Batch::new([&untrained])];
    assert_eq!(sft_step(&mut full, &mut adam, &batches, 0.1), Err(StepError::NothingTrained));
    assert_eq!(adam.n_steps(), 0);
}

#[test]
fn a_broken_gradient_changes_nothing() {
    let (mut broken, mut adam) = (full(), probe());
    broken.weights.update(|it, tensor| if it.name == "model.norm.weight" { tensor * f32::NAN } else { tensor });
    let before = broken.weights.hash(&[]);
    let batches = Batch::split(&sequences(), 1000);
    assert!(matches!(sft_step(&mut broken, &mut adam, &batches, 0.1), Err(StepError::Diverged { what: "loss", .. })));
    assert_eq!((broken.weights.hash(&[]), adam.n_steps()), (before, 0));
}
