//! From rewarded rollouts to what an RL step takes.

mod tiny;

use std::collections::BTreeMap;

use collimate_model::{Encoded, Transformer};
use collimate_schema::{Completion, Malformed, Parsed, Sampled, Stop, Trace};
use collimate_train::{Baseline, Batch, GroupStats, Rewarded, RlToken, rl_batches, score};
use tiny::{Group, encoded, full};

const PROMPTS: [&[u32]; 3] = [&[0, 1, 2], &[0, 2], &[0, 1]];

/// Of each prompt: what was sampled, and its reward. No token is sampled twice, so that each says where it belongs.
const ROLLOUTS: [&[(&[u32], Option<f32>)]; 3] = [
    &[(&[3, 4, 5], Some(1.0)), (&[6], Some(0.0)), (&[7, 8], None), (&[9], Some(0.5))],
    &[(&[10, 11], Some(0.3)), (&[12], Some(0.3))],
    &[(&[13], Some(1.0)), (&[1], None)],
];

fn old(token: u32) -> f32 {
    -(token as f32) / 10.0
}

/// What is learnt of each sampled token of [`ROLLOUTS`].
fn learnt(baseline: Baseline, reference: Option<&Transformer>, max_positions: usize) -> BTreeMap<u32, RlToken> {
    let olds = |it: &Encoded| it.tokens.iter().zip(&it.trained).filter(|it| *it.1).map(|it| old(*it.0)).collect();
    let groups = [0, 1, 2].map(|at| Group::new(PROMPTS[at], ROLLOUTS[at], olds));
    let rewarded: Vec<_> = groups.iter().map(Group::rewarded).collect();
    let (batches, stats) = rl_batches(&rewarded, baseline, reference, max_positions);
    let reward = (1.0 + 0.5 + 2.0 * f64::from(0.3_f32) + 1.0) / 6.0;
    let expected = GroupStats {
        length: 12.0 / 8.0,
        truncated: 7.0 / 8.0,
        unscored: 2.0 / 8.0,
        degenerate: 2.0 / 3.0,
        reward: Some(reward),
    };
    assert_eq!(stats, expected);
    assert!(batches.iter().all(|it| it.batch.trained.len() == it.tokens.len()));
    assert!(batches.iter().all(|it| it.batch.tokens.len() <= max_positions));
    let teaches = |it: &RlToken| it.advantage != 0.0;
    assert!(batches.iter().all(|it| it.tokens.iter().all(teaches) || !it.tokens.iter().any(teaches)), "mixed");
    let tokens =
        batches.iter().flat_map(|it| it.batch.trained.iter().map(|it| it.token).zip(it.tokens.iter().copied()));
    let tokens: Vec<(u32, RlToken)> = tokens.collect();
    let by_token: BTreeMap<u32, RlToken> = tokens.iter().copied().collect();
    assert_eq!(by_token.len(), tokens.len(), "nothing is learnt twice");
    by_token
}

#[test]
fn scored_tokens_of_a_group_that_teaches_have_its_advantages_and_all_others_none() {
    let by_hand = |[high, low, middle]: [f32; 3]| {
        let teaching = [(3, high), (4, high), (5, high), (6, low), (9, middle)];
        [7, 8, 10, 11, 12, 13, 1].map(|it| (it, 0.0)).into_iter().chain(teaching)
    };
    let expected =
        [(Baseline::LeaveOneOut, by_hand([0.75, -0.75, 0.0])), (Baseline::GroupMean, by_hand([0.5, -0.5, 0.0]))];
    for (baseline, expected) in expected {
        let token = |(token, advantage)| (token, RlToken { advantage, old: old(token), reference: None });
        for max_positions in [5, 8, 100] {
            assert_eq!(learnt(baseline, None, max_positions), expected.clone().map(token).collect());
        }
    }
}

#[test]
fn the_reference_is_asked_for_the_very_tokens() {
    let reference = full().transformer();
    let mut alone: BTreeMap<u32, f32> = BTreeMap::new();
    for (prompt, rollouts) in PROMPTS.iter().zip(ROLLOUTS) {
        for (tokens, _) in rollouts {
            let sequence = encoded(&[prompt, *tokens].concat(), prompt.len());
            alone.extend(tokens.iter().copied().zip(score(&reference, &Batch::new([&sequence]))));
        }
    }
    for (token, it) in learnt(Baseline::LeaveOneOut, Some(&reference), 8) {
        assert_eq!(it.reference, Some(alone[&token]), "token {token}");
    }
}

#[test]
fn a_completion_is_learnt_from_by_its_tokens() {
    let sampled = vec![Sampled { token: 7, logprob: -0.5 }];
    let of = |trace, stop| Completion { trace, parsed: Parsed::Malformed(Malformed::Truncated), stop, usage: None };
    let tokens = Trace::Tokens { prompt: vec![0, 1], sampled: sampled.clone() };
    let completion = of(tokens.clone(), Stop::Length);
    let expected = Rewarded { prompt: &[0, 1], sampled: &sampled, truncated: true, reward: Some(0.5) };
    assert_eq!(Rewarded::new(&completion, Some(0.5)), Ok(expected));
    assert!(!Rewarded::new(&of(tokens, Stop::EndOfTurn), None).expect("it has tokens").truncated);
    let error = Rewarded::new(&of(Trace::Text("hi".to_owned()), Stop::EndOfTurn), None).expect_err("it has none");
    let expected = "a rollout has no tokens: RL needs an engine that records them";
    assert_eq!(error.to_string(), expected);
}
