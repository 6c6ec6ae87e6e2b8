//! Reinforcement learning against a judge that reads the spec and never a thought (section 4).
//!
//! Each step samples a group of rollouts per prompt from the policy as it is, rewards the answers, and takes one clipped
//! policy-gradient step on advantages over the group. Departs from the paper, which discloses neither algorithm nor scale.

use std::collections::BTreeMap;

use anyhow::Context;
use collimate_eval::judge::{Confusion, Reading, RewardJudge};
use collimate_model::{Model, Stored, Transformer};
use collimate_schema::{
    ArtifactId, By, Completion, Conversation, Example, Prompt, PromptId, Request, RequestId, Score, Verdict,
};
use collimate_train::{Baseline, Rl, RlBatch, rl_batches, rl_step};
use collimate_world::Diet;
use serde::{Deserialize, Serialize};

use super::sft::ADAMW;
use super::{Lab, Trained};
use crate::recipes::learner::{BATCH_POSITIONS, Learner};
use crate::recipes::sampling::sample_all;

/// A policy in the middle of training, kept for the Pareto plot.
pub(super) struct Milestone {
    /// Steps behind it.
    pub step: u64,
    /// The policy.
    pub policy: Trained,
}

/// What RL made.
pub(super) struct Reinforced {
    /// The final policy.
    pub policy: Trained,
    /// Policies on the way.
    pub milestones: Vec<Milestone>,
}

/// What a rollout is rewarded by.
enum Task<'a> {
    /// The judge's grade under the brief of the prompt's category.
    Safety(&'a Prompt),
    /// Whether the answer is the right one.
    Capability(&'a Example),
}

impl Task<'_> {
    fn prompt(&self) -> &PromptId {
        match self {
            Task::Safety(prompt) => &prompt.id,
            Task::Capability(example) => &example.prompt,
        }
    }

    fn conversation(&self) -> &Conversation {
        match self {
            Task::Safety(prompt) => &prompt.conversation,
            Task::Capability(example) => &example.context,
        }
    }
}

/// A line of the file of samples kept to read.
#[derive(Serialize, Deserialize)]
struct Kept {
    step: u64,
    completion: Completion,
    reward: Option<f32>,
}

/// One rollout with its reward; `None` if the judge failed.
struct Rewarded {
    completion: Completion,
    reward: Option<f32>,
}

impl Lab<'_> {
    /// Trains `start` by reinforcement on prompts harder than fine-tuning's, with capability prompts in the mix.
    pub(super) fn reinforce(&self, name: &str, start: &Trained, capability: &[Example]) -> anyhow::Result<Reinforced> {
        let cfg = &self.cfg.rl;
        let stage = self.at(name);
        let prompts = self.rl_prompts();
        let parents: [&ArtifactId; 2] = [&start.id, &self.base_id];
        let dir = self.run.stage_dir(&stage, &parents, |dir| {
            let on = (&self.device, start.model.compute);
            let (done, mut learner) =
                Learner::resume_or(self.run, &stage, (ADAMW, None), on, || start.model.weights.clone())?;
            let reference = start.model.transformer();
            let mut metrics = self.run.metrics(&stage, done)?;
            let bar = self.progress.stage(&stage, cfg.steps);
            bar.advance(done);
            for step in done..cfg.steps {
                let tasks = self.tasks(step as usize, &prompts, capability);
                let policy = learner.full.model(&self.base.codec);
                let rollouts = self.rollouts_of(&stage, step, &policy, &tasks)?;
                let groups = self.rewarded(&stage, step, &tasks, rollouts)?;
                let (batches, mut numbers) = self.learnable(&groups, &reference)?;
                for pass in 0..cfg.passes.max(1) {
                    let loss = Rl { clip: cfg.clip, kl: cfg.kl };
                    let stats = rl_step(&mut learner.full, &mut learner.adam, &batches, &loss, cfg.lr)?;
                    if pass == 0 {
                        numbers.extend([("entropy", stats.entropy.into()), ("ratio_drift", stats.ratio_drift.into())]);
                        numbers.extend(stats.grad_norm.map(|it| ("grad_norm", it.into())));
                        numbers.extend(stats.kl.map(|it| ("kl", it.into())));
                    }
                    numbers.insert("clip_fraction", stats.clip_fraction.into());
                }
                metrics.log(step, numbers.iter().map(|(tag, value)| (*tag, *value)))?;
                bar.advance(1);
                if let Some(reward) = numbers.get("reward") {
                    bar.note(&format!("reward {reward:.3}"));
                }
                let done = step + 1;
                if cfg.milestone_every > 0 && done % cfg.milestone_every == 0 && done < cfg.steps {
                    let model = learner.full.model(&self.base.codec);
                    self.run.stage_dir(&milestone(&stage, done), &parents, |dir| {
                        Ok::<_, anyhow::Error>(model.save(&dir.join("model"), Stored::F32)?)
                    })?;
                }
                if done % cfg.checkpoint_every == 0 && done < cfg.steps {
                    learner.keep(self.run, &stage, done)?;
                }
            }
            learner.full.model(&self.base.codec).save(&dir.join("model"), Stored::F32)?;
            anyhow::Ok(())
        })?;
        let mut milestones = Vec::new();
        for step in (1..cfg.steps).filter(|it| cfg.milestone_every > 0 && it % cfg.milestone_every == 0) {
            let kept = self
                .run
                .dir(&milestone(&stage, step))?
                .with_context(|| format!("{stage}: the policy of step {step} is gone"))?;
            milestones.push(Milestone { step, policy: Trained::load(&kept, &self.device)? });
        }
        Ok(Reinforced { policy: Trained::load(&dir, &self.device)?, milestones })
    }

    /// The prompts of every step, one after the other.
    pub(super) fn rl_prompts(&self) -> Vec<Prompt> {
        let n = self.cfg.rl.prompts * self.cfg.rl.steps as usize;
        self.world.prompts(Diet::Hard, n, self.seed.child("rl"))
    }

    fn tasks<'t>(&self, step: usize, prompts: &'t [Prompt], capability: &'t [Example]) -> Vec<Task<'t>> {
        let cfg = &self.cfg.rl;
        let safety = prompts[step * cfg.prompts..][..cfg.prompts].iter().map(Task::Safety);
        let spread = (0..cfg.capability).filter(|_| !capability.is_empty());
        safety
            .chain(spread.map(|it| Task::Capability(&capability[(step * cfg.capability + it) % capability.len()])))
            .collect()
    }

    /// A group of rollouts for each task, from the policy as it is.
    fn rollouts_of(
        &self,
        stage: &str,
        step: u64,
        policy: &Model,
        tasks: &[Task<'_>],
    ) -> anyhow::Result<Vec<Vec<Completion>>> {
        let engine = policy.engine_by(By::Step { run: self.run.hash().clone(), step });
        let id = |task: &Task<'_>, sample: u32| RequestId(format!("step {step:05}/{}/{sample}", task.prompt()));
        let mut requests = Vec::new();
        for task in tasks {
            for sample in 0..self.cfg.rl.samples {
                let id = id(task, sample);
                let seed = self.seed.child(stage).child(&id.0);
                requests.push(Request {
                    stop: Vec::new(),
                    id,
                    conversation: task.conversation().clone(),
                    sampling: self.cfg.rl.sampling,
                    seed,
                });
            }
        }
        let bar = crate::progress::Progress::hidden().stage("rollouts", requests.len() as u64);
        let mut done = sample_all(self.run, &format!("{stage}-rollouts"), &engine, requests, &bar)?;
        let take = |task: &Task<'_>, sample| done.remove(&id(task, sample)).context("every request is answered");
        let mut take = take;
        tasks.iter().map(|task| (0..self.cfg.rl.samples).map(|sample| take(task, sample)).collect()).collect()
    }

    /// Rewards every rollout: a malformed one scores lowest, a failed verdict drops it, capability answers are checked.
    fn rewarded(
        &self,
        stage: &str,
        step: u64,
        tasks: &[Task<'_>],
        groups: Vec<Vec<Completion>>,
    ) -> anyhow::Result<Vec<Vec<Rewarded>>> {
        let judge = RewardJudge::new(&self.judge, self.cfg.rl.judge);
        let seed = self.seed.child(stage).child(&format!("reward {step}"));
        let mut requests = Vec::new();
        let mut asked = BTreeMap::new();
        for (at, (task, group)) in tasks.iter().zip(&groups).enumerate() {
            let Task::Safety(prompt) = task else { continue };
            for (sample, completion) in group.iter().enumerate() {
                if let Some(turn) = completion.parsed.turn() {
                    let reading = Reading { prompt: &prompt.id, sample: sample as u32, ordinal: step as u32 };
                    let request =
                        judge.request(reading, &prompt.conversation, &turn.answer, &self.brief(prompt)?, seed);
                    asked.insert((at, sample), request.id.clone());
                    requests.push(request);
                }
            }
        }
        let bar = crate::progress::Progress::hidden().stage("reward", requests.len() as u64);
        let done = sample_all(self.run, &format!("{stage}-reward"), judge.model(), requests, &bar)?;
        let reward = |at: usize, sample: usize, completion: &Completion| -> Option<f32> {
            let Some(turn) = completion.parsed.turn() else { return Some(Score::LOWEST.reward()) };
            match &tasks[at] {
                Task::Capability(example) => Some(if turn.answer == example.target.answer { 1.0 } else { 0.0 }),
                Task::Safety(_) => match judge.read(done.get(asked.get(&(at, sample))?)?, self.world.spec()) {
                    Verdict::Scored { score, .. } => Some(score.reward()),
                    Verdict::Unscored(_) => None,
                },
            }
        };
        let rewarded: Vec<Vec<Rewarded>> = groups
            .into_iter()
            .enumerate()
            .map(|(at, group)| {
                let each = group.into_iter().enumerate();
                each.map(|(sample, completion)| Rewarded { reward: reward(at, sample, &completion), completion })
                    .collect()
            })
            .collect();
        let kept: Vec<Kept> = rewarded
            .iter()
            .filter_map(|group| group.first())
            .take(4)
            .map(|it| Kept { step, completion: it.completion.clone(), reward: it.reward })
            .collect();
        self.run.journal(&format!("{stage}-samples"))?.keep(&format!("step {step:05}"), &kept)?;
        Ok(rewarded)
    }

    /// What the groups teach: micro-batches with an advantage per sampled token, and the step's numbers.
    fn learnable(
        &self,
        groups: &[Vec<Rewarded>],
        reference: &Transformer,
    ) -> anyhow::Result<(Vec<RlBatch>, BTreeMap<&'static str, f64>)> {
        let baseline = if self.cfg.rl.leave_one_out { Baseline::LeaveOneOut } else { Baseline::GroupMean };
        let groups = groups.iter().map(|group| {
            let each = group.iter().map(|it| collimate_train::Rewarded::new(&it.completion, it.reward));
            each.collect::<Result<Vec<_>, _>>()
        });
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        let (batches, stats) = rl_batches(&groups, baseline, Some(reference), BATCH_POSITIONS);
        let mut numbers = BTreeMap::from([
            ("length", stats.length),
            ("truncated", stats.truncated),
            ("unscored", stats.unscored),
            ("degenerate", stats.degenerate),
        ]);
        numbers.extend(stats.reward.map(|it| ("reward", it)));
        Ok((batches, numbers))
    }

    /// The reward judge against ground truth, from what the journal of `name` holds. For the card only.
    pub(super) fn audit_rewards(&self, name: &str) -> anyhow::Result<Confusion> {
        let cfg = &self.cfg.rl;
        let stage = self.at(name);
        let prompts = self.rl_prompts();
        let good = self.world.audit(Diet::Hard, prompts.len(), self.seed.child("rl"));
        let judge = RewardJudge::new(&self.judge, cfg.judge);
        let rollouts = self.run.journal(&format!("{stage}-rollouts"))?.all::<Completion>()?;
        let verdicts = self.run.journal(&format!("{stage}-reward"))?.all::<Completion>()?;
        let verdicts: BTreeMap<&str, &Completion> = verdicts.iter().map(|it| (it.id.0.as_str(), it)).collect();
        let mut confusion = Confusion::new("reward judge", Score::HIGHEST);
        for rollout in &rollouts {
            let parts: Vec<&str> = rollout.id.0.split('/').collect();
            let [step, prompt, sample] = parts[..] else { continue };
            let step: u64 = step.trim_start_matches("step ").parse().context("a step is a number")?;
            let Some(at) = prompts.iter().position(|it| it.id.0 == prompt) else { continue };
            let verdict = verdicts.get(format!("reward/{prompt}/{sample}/{step}").as_str());
            if let (Some(turn), Some(verdict)) = (rollout.parsed.turn(), verdict) {
                confusion.add(&judge.read(verdict, self.world.spec()), good(at, turn));
            }
        }
        Ok(confusion)
    }
}

fn milestone(stage: &str, step: u64) -> String {
    format!("{stage}-milestones/{step}")
}
