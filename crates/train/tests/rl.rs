//! An RL step is a mean over all rollouts that were sampled for it, those included that teach nothing.

mod tiny;

use collimate_model::{Encoded, Role};
use collimate_train::{Adam, AdamW, Baseline, Batch, Rl, RlStats, rl_batches, rl_step, score};
use tiny::{Group, full};

/// Two rollouts of a prompt, sampled by a policy that differed a little.
fn group(prompt: u32, rewards: [Option<f32>; 2]) -> Group {
    let policy = full().transformer();
    let old = |sequence: &Encoded| {
        let logprobs = score(&policy, &Batch::new([sequence]));
        logprobs.into_iter().enumerate().map(|(at, it)| it + [-0.5, 0.1][at % 2]).collect()
    };
    Group::new(&[0, prompt], &[(&[prompt + 3, 4, 1], rewards[0]), (&[2, prompt + 5], rewards[1])], old)
}

/// A step on `groups` with weight `kl` of the divergence; whether the weights are as before.
fn step(groups: &[&Group], kl: f32) -> (RlStats, bool) {
    let mut full = full();
    let before = full.weights.hash(&[]);
    let mut reference = full.clone();
    reference.weights.update(|param, tensor| if param.role == Role::Norm { tensor } else { tensor * 0.9 });
    let cfg = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let mut adam = Adam::new(&full, cfg, 1.0);
    let rewarded: Vec<_> = groups.iter().map(|it| it.rewarded()).collect();
    let (batches, _) = rl_batches(&rewarded, Baseline::LeaveOneOut, Some(&reference.transformer()), 8);
    let stats = rl_step(&mut full, &mut adam, &batches, &Rl { clip: 0.2, kl }, 1e-3).expect("a finite step");
    assert_eq!(adam.n_steps(), u64::from(stats.grad_norm.is_some()));
    (stats, full.weights.hash(&[]) == before)
}

#[test]
fn one_group_that_teaches_counts_as_its_share_of_all_tokens() {
    let teaching = group(5, [Some(1.0), Some(0.0)]);
    let mut silent: Vec<Group> = (6..12).map(|prompt| group(prompt, [Some(0.5), Some(0.5)])).collect();
    silent.push(group(12, [Some(1.0), None]));
    let silent: Vec<&Group> = silent.iter().collect();
    let (one, _) = step(&[&teaching], 0.0);
    let (rest, is_as_before) = step(&silent, 0.0);
    let (all, _) = step(&[&[&teaching], &silent[..]].concat(), 0.0);
    assert!(is_as_before && rest.grad_norm.is_none(), "nothing was taught, yet a step was taken");
    assert_eq!((one.n_tokens, rest.n_tokens, all.n_tokens), (5, 35, 40));
    let norms = [one, all].map(|it| it.grad_norm.expect("a step was taken"));
    assert!((norms[1] / norms[0] * 8.0 - 1.0).abs() < 1e-4, "{norms:?}");
    let numbers = |it: &RlStats| [it.loss, it.kl.expect("asked for"), it.entropy, it.clip_fraction, it.ratio_drift];
    for ((one, rest), all) in numbers(&one).into_iter().zip(numbers(&rest)).zip(numbers(&all)) {
        assert!((all - (one + 7.0 * rest) / 8.0).abs() < 1e-5, "{all} is not {one} and {rest}");
    }
    assert!(one.clip_fraction > 0.0 && rest.entropy > 0.0 && rest.kl.is_some_and(|it| it > 0.0));
}

#[test]
fn a_divergence_holds_on_rollouts_that_teach_nothing_else() {
    let (stats, is_as_before) = step(&[&group(6, [Some(0.5), None])], 0.1);
    assert!(stats.grad_norm.is_some_and(|it| it > 0.0) && !is_as_before);
}
