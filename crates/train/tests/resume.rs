//! Saving and loading weights and optimizer is invisible: 6 steps are 3, save, load, 3, bit for bit.

mod tiny;

use collimate_model::{Compute, Stored, TensorFile, TensorsError, Weights, read_tensors};
use collimate_train::{Adam, AdamError, AdamW, Batch, Full, Muon, Schedule, sft_step};
use tiny::{device, full, sequences, shape};

const CFG: AdamW = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
const MAX_NORM: f32 = 1.0;

fn steps(full: &mut Full, adam: &mut Adam, range: std::ops::Range<u64>) -> Vec<f32> {
    let schedule = Schedule { peak: 1e-2, floor: 1e-3, n_warmup: 2, n_steps: 6 };
    let batches = Batch::split(&sequences(), 24);
    range.map(|step| sft_step(full, adam, &batches, schedule.at(step)).expect("a finite step").loss).collect()
}

#[test]
fn six_steps_are_three_and_three() {
    resumes(None);
    resumes(Some(Muon { momentum: 0.9, weight_decay: 0.1 }));
}

fn resumes(muon: Option<Muon>) {
    let fresh = || {
        let mut adam = Adam::new(&full(), CFG, MAX_NORM);
        adam.muon = muon;
        (full(), adam)
    };
    let (mut straight, mut adam) = fresh();
    let losses = steps(&mut straight, &mut adam, 0..6);
    assert!(losses[5] < losses[0], "the loss falls: {losses:?}");

    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut first, mut first_adam) = fresh();
    let mut resumed_losses = steps(&mut first, &mut first_adam, 0..3);
    first.weights.save(&dir.path().join("model"), Stored::F32, &[]).expect("saved");
    let state = dir.path().join("adam.safetensors");
    first_adam.save(&state).expect("saved");

    let weights = Weights::load(&dir.path().join("model"), &device()).expect("loads");
    let mut second = Full { weights, compute: Compute::default() };
    let mut second_adam = Adam::load(&state, &second, CFG, MAX_NORM).expect("loads");
    second_adam.muon = muon;
    assert_eq!(second_adam.n_steps(), 3);
    resumed_losses.extend(steps(&mut second, &mut second_adam, 3..6));
    assert_eq!(resumed_losses, losses);
    assert_eq!(second.weights.hash(&[]), straight.weights.hash(&[]));
    assert_eq!(second_adam.to_bytes(), adam.to_bytes());
}

#[test]
fn a_missing_moment_is_an_error() {
    let bytes = Adam::new(&full(), CFG, MAX_NORM).to_bytes();
    let all = shape().parameters();
    let m = read_tensors(&bytes, &all, "m.", &device()).expect("reads");
    let read = |bytes: &[u8]| Adam::from_bytes(bytes, &full(), CFG, MAX_NORM);

    let without_v = TensorFile::new(&all, &[("m.", &m)], Stored::F32).to_bytes();
    assert!(matches!(read(&without_v), Err(AdamError::Tensors(TensorsError::Missing(name))) if name.starts_with("v.")));
    let one_less = TensorFile::new(&all[1..], &[("m.", &m), ("v.", &m)], Stored::F32).to_bytes();
    assert!(matches!(read(&one_less), Err(AdamError::Tensors(TensorsError::Missing(name))) if name.starts_with("m.")));
    let without_step = TensorFile::new(&all, &[("m.", &m), ("v.", &m)], Stored::F32).to_bytes();
    assert!(matches!(read(&without_step), Err(AdamError::NoStep)));
    assert!(matches!(read(&bytes[..bytes.len() - 1]), Err(AdamError::Tensors(TensorsError::Format(_)))));
}
