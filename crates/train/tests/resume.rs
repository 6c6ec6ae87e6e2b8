//! Saving and loading weights and optimizer is invisible: 6 steps are 3, save, load, 3, bit for bit.

mod tiny;

use collimate_model::{Stored, Weights, WeightsError, read_tensors, write_tensors};
use collimate_train::{Adam, AdamError, AdamW, Batch, Muon, Schedule, sft_step};
use tiny::{config, device, sequences, weights};

const CFG: AdamW = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
const MAX_NORM: f32 = 1.0;

fn steps(weights: &mut Weights, adam: &mut Adam, range: std::ops::Range<u64>) -> Vec<f32> {
    let schedule = Schedule { peak: 1e-2, floor: 1e-3, n_warmup: 2, n_steps: 6 };
    let batches = Batch::split(&sequences(), 24);
    range.map(|step| sft_step(weights, adam, &batches, schedule.at(step)).expect("a finite step").loss).collect()
}

#[test]
fn six_steps_are_three_and_three() {
    resumes(None);
    resumes(Some(Muon { momentum: 0.9, weight_decay: 0.1 }));
}

fn resumes(muon: Option<Muon>) {
    let fresh = || {
        let mut adam = Adam::new(&weights(), CFG, MAX_NORM);
        adam.muon = muon;
        (weights(), adam)
    };
    let (mut straight, mut adam) = fresh();
    let losses = steps(&mut straight, &mut adam, 0..6);
    assert!(losses[5] < losses[0], "the loss falls: {losses:?}");

    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut first, mut first_adam) = fresh();
    let mut resumed_losses = steps(&mut first, &mut first_adam, 0..3);
    first.save(&dir.path().join("model"), Stored::F32, &[]).expect("saved");
    let state = dir.path().join("adam.safetensors");
    first_adam.save(first.config(), &state).expect("saved");

    let mut second = Weights::load(&dir.path().join("model"), &device()).expect("loads");
    let mut second_adam = Adam::load(&state, second.config(), CFG, MAX_NORM, &device()).expect("loads");
    second_adam.muon = muon;
    assert_eq!(second_adam.n_steps(), 3);
    resumed_losses.extend(steps(&mut second, &mut second_adam, 3..6));
    assert_eq!(resumed_losses, losses);
    assert_eq!(second.hash(&[]), straight.hash(&[]));
    assert_eq!(second_adam.to_bytes(&config()), adam.to_bytes(&config()));
}

#[test]
fn decay_spares_norms() {
    let (mut weights, mut adam) = (weights(), Adam::new(&weights(), CFG, MAX_NORM));
    // Gradients so small against eps that only the decay moves anything.
    adam.cfg.eps = 1e9;
    let before = weights.clone();
    sft_step(&mut weights, &mut adam, &Batch::split(&sequences(), 1000), 0.5).expect("a finite step");
    for (name, tensor) in weights.tensors() {
        let change = tensor.clone() / before.tensors()[name].clone();
        let change = change.to_data();
        let expected = if name.contains("norm") { 1.0 } else { 0.95 };
        assert!(change.as_slice::<f32>().expect("f32").iter().all(|it| (it - expected).abs() < 1e-4), "`{name}`");
    }
}

#[test]
fn a_missing_moment_is_an_error() {
    let adam = Adam::new(&weights(), CFG, MAX_NORM);
    let bytes = adam.to_bytes(&config());
    let shapes = config().tensors();
    let m = read_tensors(&bytes, &shapes, "m.", &device()).expect("reads");
    let read = |bytes: &[u8]| Adam::from_bytes(bytes, &config(), CFG, MAX_NORM, &device());

    let without_v = write_tensors(&shapes, &[("m.", &m)], Stored::F32, None);
    assert!(matches!(read(&without_v), Err(AdamError::Tensors(WeightsError::Missing(name))) if name.starts_with("v.")));
    let one_less = write_tensors(&shapes[1..], &[("m.", &m), ("v.", &m)], Stored::F32, None);
    assert!(matches!(read(&one_less), Err(AdamError::Tensors(WeightsError::Missing(name))) if name.starts_with("m.")));
    let without_step = write_tensors(&shapes, &[("m.", &m), ("v.", &m)], Stored::F32, None);
    assert!(matches!(read(&without_step), Err(AdamError::NoStep)));
    assert!(matches!(read(&bytes[..bytes.len() - 1]), Err(AdamError::Tensors(WeightsError::Format(_)))));
}
