//! From groups of rewarded rollouts to what an RL step takes: each sampled token with its rollout's advantage over the others
//! of the same prompt.

use collimate_model::{Encoded, Transformer};
use collimate_schema::{Completion, Sampled, Stop, Trace};

use crate::advantage::{Advantages, Baseline, advantages};
use crate::batch::{Batch, pack};
use crate::rl::{RlBatch, RlToken};
use crate::score::score;

/// A rollout with its reward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewarded<'a> {
    /// What was continued.
    pub prompt: &'a [u32],
    /// What was sampled, with log-probabilities under the policy that sampled it.
    pub sampled: &'a [Sampled],
    /// Whether it was cut at the most tokens it could have.
    pub truncated: bool,
    /// Finite; `None` where whoever rewards could not tell.
    pub reward: Option<f32>,
}

/// A rollout that cannot be learnt from: only an engine's own has tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rollout has no tokens: RL needs an engine that records them")]
pub struct NoTokens;

impl<'a> Rewarded<'a> {
    /// `completion` with its reward.
    pub fn new(completion: &'a Completion, reward: Option<f32>) -> Result<Rewarded<'a>, NoTokens> {
        let Trace::Tokens { prompt, sampled } = &completion.trace else {
            return Err(NoTokens);
        };
        Ok(Rewarded { prompt, sampled, truncated: completion.stop == Stop::Length, reward })
    }

    fn encoded(&self) -> Encoded {
        let tokens: Vec<u32> = self.prompt.iter().copied().chain(self.sampled.iter().map(|it| it.token)).collect();
        Encoded { trained: (0..tokens.len()).map(|at| at >= self.prompt.len()).collect(), tokens }
    }
}

/// What the groups of a step are like, whether they are learnt from or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupStats {
    /// Mean length of a rollout, sampled tokens.
    pub length: f64,
    /// Share of rollouts that were cut.
    pub truncated: f64,
    /// Share of rollouts without a reward.
    pub unscored: f64,
    /// Share of groups that have nothing to teach.
    pub degenerate: f64,
    /// Mean over the rollouts with a reward; `None` if there are none.
    pub reward: Option<f64>,
}

/// What `groups`, one of rollouts per prompt, teach: micro-batches of at most `max_positions` positions with the advantage of
/// each sampled token, and its log-probability under the `reference` policy where there is one. Rollouts that are neither
/// better nor worse than their group, that nobody could reward or whose group has nothing to teach have advantage 0, and
/// micro-batches of their own: the step is a mean over them too.
pub fn rl_batches(
    groups: &[Vec<Rewarded<'_>>],
    baseline: Baseline,
    reference: Option<&Transformer>,
    max_positions: usize,
) -> (Vec<RlBatch>, GroupStats) {
    let (mut teaching, mut rest) = (Vec::new(), Vec::new());
    let mut n_degenerate = 0;
    for group in groups {
        let rewards: Vec<f32> = group.iter().filter_map(|it| it.reward).collect();
        let mut advantages = match advantages(&rewards, baseline) {
            Advantages::Of(advantages) => advantages,
            Advantages::Degenerate(_) => {
                n_degenerate += 1;
                vec![0.0; rewards.len()]
            }
        }
        .into_iter();
        for it in group {
            let advantage = it.reward.and_then(|_| advantages.next()).unwrap_or(0.0);
            let to = if advantage == 0.0 { &mut rest } else { &mut teaching };
            to.push((*it, advantage));
        }
    }
    let batches = [teaching, rest].iter().flat_map(|it| packed(it, reference, max_positions)).collect();
    (batches, stats(groups, n_degenerate as f64 / groups.len().max(1) as f64))
}

/// Micro-batches of rollouts with their advantages.
fn packed(rollouts: &[(Rewarded<'_>, f32)], reference: Option<&Transformer>, max_positions: usize) -> Vec<RlBatch> {
    let sequences: Vec<Encoded> = rollouts.iter().map(|(it, _)| it.encoded()).collect();
    let together = |group: Vec<usize>| {
        let batch = Batch::new(group.iter().map(|it| &sequences[*it]));
        let references = reference.map(|it| score(it, &batch));
        let sampled = group.iter().flat_map(|it| {
            let (rollout, advantage) = rollouts[*it];
            rollout.sampled.iter().map(move |it| (it.logprob, advantage))
        });
        let token = |(at, (old, advantage))| {
            let reference = references.as_ref().map(|it| it[at]);
            RlToken { advantage, old, reference }
        };
        RlBatch { tokens: sampled.enumerate().map(token).collect(), batch }
    };
    pack(&sequences, max_positions).into_iter().map(together).collect()
}

fn stats(groups: &[Vec<Rewarded<'_>>], degenerate: f64) -> GroupStats {
    let all = || groups.iter().flatten();
    let n = all().count().max(1) as f64;
    let share = |of: fn(&Rewarded<'_>) -> bool| all().filter(|it| of(it)).count() as f64 / n;
    let rewards: Vec<f64> = all().filter_map(|it| it.reward).map(f64::from).collect();
    GroupStats {
        length: all().map(|it| it.sampled.len()).sum::<usize>() as f64 / n,
        truncated: share(|it| it.truncated),
        unscored: share(|it| it.reward.is_none()),
        degenerate,
        reward: (!rewards.is_empty()).then(|| rewards.iter().sum::<f64>() / rewards.len() as f64),
    }
}
