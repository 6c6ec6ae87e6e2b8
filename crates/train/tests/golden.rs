//! Losses of a tiny model on scripted sequences and rollouts, stored: tests that compare the program with itself pass where it
//! learns the wrong thing every time.

mod tiny;

use collimate_model::Compute;
use collimate_schema::Seed;
use collimate_train::{Adam, AdamW, Baseline, Batch, Full, Rl, rl_batches, rl_step, score, sft_step};
use tiny::{Group, device, drawn, sequences, shape};

fn check(what: &str, found: &[f32], stored: &[f32]) {
    // Kernels round differently from processor to processor.
    let close = found.len() == stored.len() && found.iter().zip(stored).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close, "{what}: {found:?} is not {stored:?}");
}

#[test]
fn losses_are_as_stored() {
    let mut full = Full { weights: drawn(&shape(), Seed(3), &device()), compute: Compute::default() };
    let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let mut adam = Adam::new(&full, cfg, 1.0);
    let batches = Batch::split(&sequences(), 24);
    let losses: Vec<f32> =
        (0..4).map(|_| sft_step(&mut full, &mut adam, &batches, 1e-2).expect("a finite step").loss).collect();
    check("fine-tuning", &losses, &[3.28600, 3.11554, 2.93187, 2.75327]);

    // One group with a rollout that nobody could reward, one of equal rewards.
    let policy = full.transformer();
    let logprobs = |it: &_| score(&policy, &Batch::new([it]));
    let spread: [(&[u32], _); 4] =
        [(&[3, 4, 1], Some(1.0)), (&[8, 1], Some(0.0)), (&[3, 11, 12, 1], Some(0.25)), (&[6], None)];
    let equal: [(&[u32], _); 2] = [(&[14, 15, 1], Some(0.5)), (&[20, 1], Some(0.5))];
    let groups = [Group::new(&[0, 5, 9], &spread, logprobs), Group::new(&[0, 7], &equal, logprobs)];
    let rewarded: Vec<_> = groups.iter().map(Group::rewarded).collect();
    let (batches, _) = rl_batches(&rewarded, Baseline::LeaveOneOut, Some(&policy), 6);
    let loss = Rl { clip: 0.2, kl: 0.1 };
    let passes: Vec<_> =
        (0..4).map(|_| rl_step(&mut full, &mut adam, &batches, &loss, 3e-3).expect("a finite step")).collect();
    let (losses, divergences): (Vec<f32>, Vec<f32>) =
        passes.iter().map(|it| (it.loss, it.kl.expect("asked for"))).unzip();
    // The first is the mean of minus the advantages: 0.875, -0.625 and -0.25 for 3, 2 and 4 of the 15 tokens.
    check("reinforcement", &losses, &[-0.375 / 15.0, -0.04026, -0.05576, -0.05892]);
    check("divergence", &divergences, &[0.0, 0.00112, 0.00655, 0.01760]);
}
