//! Reinforcement learning with rewards that see prompt and answer, and never a thought (section 4).
//!
//! Each step samples a group of rollouts per prompt from the policy as it is, rewards the answers, and takes one clipped
//! policy-gradient step on advantages over the group. Departs from the paper, which discloses neither algorithm nor scale.

use std::collections::BTreeMap;

use anyhow::Context;
use collimate_eval::judge::{Reading, RewardJudge};
use collimate_model::{Model, Stored, prove_contexts};
use collimate_run::{Artifact, ArtifactId, Row};
use collimate_schema::{
    Answer, By, Completion, Hash, Parsed, Prompt, PromptId, Request, RequestId, Sampling, Score, Seed, Spec,
};
use collimate_train::{self as train, Baseline, NoTokens, Rewarded, RlStats, rl_batches, rl_step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ask::{Replies, Reply};
use super::filter::Briefs;
use super::fine_tune::ADAMW;
use super::learner::{BATCH_POSITIONS, Learner, at_step};
use super::site::Site;
use super::trained::{MODEL, Trained};
use crate::progress::Progress;

/// Reinforcement learning (section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rl {
    /// Optimizer steps.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: u64,
    /// Safety prompts per step.
    #[schemars(range(min = 1, max = 100_000))]
    pub prompts: usize,
    /// Capability prompts per step.
    #[schemars(range(max = 100_000), extend("unit" = "prompts"))]
    pub capability: usize,
    /// Rollouts per prompt: a group.
    #[schemars(range(min = 2, max = 10_000))]
    pub samples: u32,
    /// How rollouts are sampled. Temperature 1 keeps the ratio at 1.
    pub sampling: Sampling,
    /// How the judge is sampled.
    pub judge: Sampling,
    /// Whether a reward is compared with the mean of the others or of the whole group.
    pub leave_one_out: bool,
    /// Passes over each batch of rollouts; from the second on the ratio is clipped.
    #[schemars(range(min = 1, max = 1_000))]
    pub passes: u32,
    /// Ratios beyond 1 - clip and 1 + clip stop to earn.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub clip: f32,
    /// Weight of the divergence from the starting policy.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub kl: f32,
    /// Learning rate.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub lr: f32,
    /// Steps between checkpoints.
    #[schemars(range(min = 1), extend("unit" = "steps"))]
    pub checkpoint_every: u64,
    /// Steps between policies that are kept for the Pareto plot; 0 keeps none.
    #[schemars(extend("unit" = "steps"))]
    pub milestone_every: u64,
}

/// An answer to be rewarded: all that a reward may know of a rollout.
pub struct AnswerTo<'a> {
    /// The prompt.
    pub prompt: &'a Prompt,
    /// Which sample of it, from 0.
    pub sample: u32,
    /// The answer.
    pub answer: &'a Answer,
}

/// What answers are worth, in [0, 1]; `None` where nobody can tell, which drops the rollout. No reward can see a thought.
pub trait Reward {
    /// The rewards of the answers of one step, in order.
    fn of(&mut self, step: u64, asked: &[AnswerTo<'_>]) -> anyhow::Result<Vec<Option<f32>>>;
}

/// A judge's grade under the brief of the prompt's category.
pub(crate) struct ByJudge<'a> {
    judge: RewardJudge<'a>,
    spec: &'a Spec,
    briefs: &'a Briefs<'a>,
    replies: Replies,
    seed: Seed,
}

impl<'a> ByJudge<'a> {
    /// Rewards the rollouts of the stage `name`; `seed` is that stage's.
    pub(crate) fn new(
        (site, name): (Site<'_>, &str),
        judge: RewardJudge<'a>,
        (spec, briefs): (&'a Spec, &'a Briefs<'a>),
        seed: Seed,
    ) -> anyhow::Result<ByJudge<'a>> {
        let replies = Replies::open(site, &format!("{name}-reward"))?;
        Ok(ByJudge { judge, spec, briefs, replies, seed })
    }
}

impl Reward for ByJudge<'_> {
    fn of(&mut self, step: u64, asked: &[AnswerTo<'_>]) -> anyhow::Result<Vec<Option<f32>>> {
        let seed = self.seed.child(&format!("reward {step}"));
        let request = |it: &AnswerTo<'_>| {
            let reading = Reading { prompt: &it.prompt.id, sample: it.sample, ordinal: step as u32 };
            Ok(self.judge.request(reading, &it.prompt.conversation, it.answer, &(self.briefs)(it.prompt)?, seed))
        };
        let requests = asked.iter().map(request).collect::<anyhow::Result<Vec<_>>>()?;
        let bar = Progress::hidden().stage("reward", requests.len() as u64);
        let replies = self.replies.ask(self.judge.model(), requests, &bar)?;
        let grade = |reply: Reply| Some(self.judge.read(&reply.ok()?, self.spec).score()?.reward());
        Ok(replies.into_iter().map(grade).collect())
    }
}

/// 1 for the right answer, word for word, and 0 for any other.
pub(crate) struct ByKey<'a>(pub BTreeMap<&'a PromptId, &'a Answer>);

impl Reward for ByKey<'_> {
    fn of(&mut self, _: u64, asked: &[AnswerTo<'_>]) -> anyhow::Result<Vec<Option<f32>>> {
        let of = |it: &AnswerTo<'_>| self.0.get(&it.prompt.id).map(|right| f32::from(u8::from(*right == it.answer)));
        Ok(asked.iter().map(of).collect())
    }
}

/// Prompts of one kind, so many of which are in every step, with what rewards them.
pub(crate) struct Course<'a> {
    /// The prompts, taken in turn.
    pub prompts: &'a [Prompt],
    /// How many a step takes.
    pub per_step: usize,
    /// What rewards them.
    pub reward: &'a mut dyn Reward,
}

impl<'a> Course<'a> {
    fn of_step(&self, step: u64) -> Vec<&'a Prompt> {
        let prompts = self.prompts;
        let n = self.per_step.min(prompts.len()); // none twice in a step
        (0..n).map(|it| &prompts[(step as usize * n + it) % prompts.len()]).collect()
    }
}

/// One rollout with its reward, as it is kept to be read and audited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Optimizer steps before it was sampled.
    pub step: u64,
    /// The prompt.
    pub prompt: PromptId,
    /// Which sample of it.
    pub sample: u32,
    /// What was said.
    pub parsed: Parsed,
    /// What that was worth; `None` if nobody could tell.
    pub reward: Option<f32>,
}

/// A policy in the middle of training, kept for the Pareto plot.
#[derive(Clone, Debug)]
pub(crate) struct Milestone {
    /// Steps behind it.
    pub step: u64,
    /// The policy.
    pub policy: Trained,
}

/// What RL made.
pub(crate) struct Reinforced {
    /// The final policy.
    pub policy: Trained,
    /// Policies on the way.
    pub milestones: Vec<Milestone>,
    /// Every rollout with its reward, step by step.
    pub outcomes: Artifact<Vec<Outcome>>,
}

/// Where training starts and what it must know besides its courses.
pub(crate) struct Start<'a> {
    /// The policy.
    pub model: &'a Model,
    /// The policy text, none of which may stand in a context.
    pub spec: &'a Spec,
    /// What policy, prompts and rewards were made from.
    pub parents: &'a [&'a ArtifactId],
    /// The stage's.
    pub seed: Seed,
}

/// Trains a policy by reinforcement.
pub(crate) fn reinforce(
    (site, name): (Site<'_>, &str),
    cfg: &Rl,
    start: &Start<'_>,
    courses: &mut [Course<'_>],
) -> anyhow::Result<Reinforced> {
    let &Start { model: first, parents, .. } = start;
    let stage = site.at(name);
    let setting = ArtifactId::of_setting("rl", cfg);
    let parents = &[parents, &[&setting]].concat()[..];
    let training = Hash::of_json(&(&stage, parents));
    let by = |step: u64| By::Step { training: training.clone(), step };
    let dir = site.run.stage_model(&stage, parents, |dir| {
        prove(start, courses.iter().flat_map(|it| it.prompts))?;
        let (done, mut learner) = Learner::resume_or((site, name), parents, (ADAMW, None), first)?;
        let reference = first.transformer();
        let mut metrics = site.run.metrics(&stage, done)?;
        let mut replies = Replies::open(site, &format!("{name}-rollouts"))?;
        let mut outcomes = site.run.journal(&outcomes_of(&stage))?;
        let bar = site.progress.stage(&stage, cfg.steps);
        bar.advance(done);
        let (first_step, mut n_graded, mut n_learnt) = (done, 0, 0);
        for step in done..cfg.steps {
            let policy = learner.full.model(&first.codec);
            let rollouts = sample(cfg, &policy, by(step), (step, start.seed), courses, &mut replies)?;
            let groups = reward(step, rollouts, courses)?;
            outcomes.keep(&step_key(&by(step)), &told(step, &groups))?;
            let rewarded = groups.iter().map(|group| group.iter().map(Sample::rewarded).collect());
            let rewarded = rewarded.collect::<Result<Vec<Vec<_>>, _>>()?;
            let baseline = if cfg.leave_one_out { Baseline::LeaveOneOut } else { Baseline::GroupMean };
            let (batches, stats) = rl_batches(&rewarded, baseline, Some(&reference), BATCH_POSITIONS);
            let mut numbers = BTreeMap::from([
                ("length".to_owned(), stats.length),
                ("truncated".to_owned(), stats.truncated),
                ("unscored".to_owned(), stats.unscored),
                ("degenerate".to_owned(), stats.degenerate),
            ]);
            numbers.extend(stats.reward.map(|it| ("reward".to_owned(), it)));
            let at = (&*stage, step, "rl.lr");
            for pass in 1..=cfg.passes {
                let loss = train::Rl { clip: cfg.clip, kl: cfg.kl };
                let stats = rl_step(&mut learner.full, &mut learner.adam, &batches, &loss, cfg.lr);
                numbers.extend(of_pass(pass, &at_step(stats, at)?));
            }
            n_graded += groups.iter().flatten().filter(|it| it.reward.is_some()).count();
            n_learnt += u64::from(numbers.contains_key("grad_norm"));
            metrics.log(step, numbers.iter().map(|(tag, value)| (&**tag, *value)))?;
            bar.advance(1);
            if let Some(reward) = numbers.get("reward") {
                bar.note(&format!("reward {reward:.3}"));
            }
            let done = step + 1;
            if done == cfg.steps || is_milestone(cfg, done) || done.is_multiple_of(cfg.checkpoint_every) {
                at_step(learner.check(&batches[0].batch), at)?;
            }
            if is_milestone(cfg, done) {
                site.run.stage_model(&milestone(&stage, done), parents, |dir| {
                    store(&learner.full.model(&first.codec), dir)
                })?;
            }
            if done.is_multiple_of(cfg.checkpoint_every) && done < cfg.steps {
                learner.keep((site, name), done, parents)?;
            }
        }
        if first_step < cfg.steps && n_graded == 0 {
            anyhow::bail!("{stage}: no rollout of any step could be graded: raise rl.judge.max_tokens, or look at the judge's replies");
        }
        if first_step < cfg.steps && n_learnt == 0 {
            site.progress.warn(&format!("{stage}: in no step did the rewards of a group differ: nothing was learnt"));
        }
        store(&learner.full.model(&first.codec), dir)
    })?;
    let policy = Trained::at(dir);
    let milestones = (1..cfg.steps).filter(|it| is_milestone(cfg, *it)).map(|step| {
        let kept = site.run.dir(&milestone(&stage, step), parents)?;
        let policy = Trained::at(kept.with_context(|| format!("{stage}: the policy of step {step} is gone"))?);
        anyhow::Ok(Milestone { step, policy })
    });
    let milestones = milestones.collect::<Result<_, _>>()?;
    let outcomes = site.run.stage_lines(&outcomes_of(&stage), &[&policy.id], || {
        let journal = site.run.journal(&outcomes_of(&stage))?;
        let of_step = |step| journal.get::<Vec<Outcome>>(&step_key(&by(step)));
        let steps = (0..cfg.steps).map(|step| of_step(step)?.with_context(|| format!("{stage}: step {step} is gone")));
        Ok::<_, anyhow::Error>(steps.collect::<Result<Vec<_>, _>>()?.concat())
    })?;
    Ok(Reinforced { policy, milestones, outcomes })
}

/// A rollout on its way.
struct Sample<'a> {
    prompt: &'a Prompt,
    sample: u32,
    completion: Completion,
    reward: Option<f32>,
}

impl Sample<'_> {
    fn rewarded(&self) -> Result<Rewarded<'_>, NoTokens> {
        Rewarded::new(&self.completion, self.reward)
    }
}

/// A group of rollouts for each prompt of the step, from the policy as it is; prompts course by course. A request that failed
/// leaves no rollout.
fn sample<'a>(
    cfg: &Rl,
    policy: &Model,
    by: By,
    (step, seed): (u64, Seed),
    courses: &[Course<'a>],
    replies: &mut Replies,
) -> anyhow::Result<Vec<Vec<Vec<Sample<'a>>>>> {
    let engine = policy.engine_by(by);
    let asked: Vec<Vec<&Prompt>> = courses.iter().map(|it| it.of_step(step)).collect();
    let mut requests = Vec::new();
    for prompt in asked.iter().flatten() {
        let id = |sample| RequestId::new(format!("step {step:05}"), &prompt.id).sample(sample);
        let conversation = &prompt.conversation;
        requests.extend((0..cfg.samples).map(|it| Request::new(id(it), conversation.clone(), cfg.sampling, seed)));
    }
    let bar = Progress::hidden().stage("rollouts", requests.len() as u64);
    let done = replies.ask(&engine, requests, &bar)?;
    if let Some(Err(failure)) = done.first().filter(|_| done.iter().all(Result::is_err)) {
        anyhow::bail!("step {step}: nothing could be sampled: {failure}");
    }
    let mut done = done.into_iter();
    let mut group = |prompt: &'a Prompt| {
        let samples = (0..cfg.samples).zip(done.by_ref().take(cfg.samples as usize));
        let some =
            samples.filter_map(|(sample, it)| Some(Sample { prompt, sample, completion: it.ok()?, reward: None }));
        some.collect()
    };
    Ok(asked.into_iter().map(|prompts| prompts.into_iter().map(&mut group).collect()).collect())
}

/// Rewards every rollout: a malformed one is behaviour and scores lowest; the answers of the others go to their course's reward.
fn reward<'a>(
    step: u64,
    rollouts: Vec<Vec<Vec<Sample<'a>>>>,
    courses: &mut [Course<'_>],
) -> anyhow::Result<Vec<Vec<Sample<'a>>>> {
    let mut all = Vec::new();
    for (mut groups, course) in rollouts.into_iter().zip(courses) {
        let asked: Vec<AnswerTo<'_>> = (groups.iter().flatten())
            .filter_map(|it| {
                Some(AnswerTo { prompt: it.prompt, sample: it.sample, answer: &it.completion.parsed.turn()?.answer })
            })
            .collect();
        let mut rewards = course.reward.of(step, &asked)?.into_iter();
        for it in groups.iter_mut().flatten() {
            it.reward = match it.completion.parsed {
                Parsed::Malformed(_) => Some(Score::LOWEST.reward()),
                Parsed::Turn(_) => rewards.next().context("a reward for every answer")?,
            };
        }
        all.extend(groups);
    }
    Ok(all)
}

/// No text of the policy stands in what is trained after, and nothing in it but the template's tokens is a control token.
fn prove<'a>(start: &Start<'_>, prompts: impl Iterator<Item = &'a Prompt>) -> anyhow::Result<()> {
    let codec = &*start.model.codec;
    let encode = |it: &'a Prompt| Ok((it, codec.encode_prompt(&it.conversation)?));
    let encoded = prompts.map(encode).collect::<anyhow::Result<Vec<_>>>()?;
    let contexts = encoded.iter().map(|(it, tokens)| (&it.id, &it.conversation, &tokens[..]));
    prove_contexts(start.spec, codec, contexts).context("the mask proof failed, nothing was trained")?;
    Ok(())
}

/// The numbers of one pass over a step's rollouts, before its update. The first pass sees the policy that sampled them; what an
/// update did shows in the next pass, or in the next step's first.
fn of_pass(pass: u32, stats: &RlStats) -> Vec<(String, f64)> {
    let tag = |name: &str| if pass == 1 { name.to_owned() } else { format!("pass-{pass}/{name}") };
    let always =
        [("entropy", stats.entropy), ("ratio_drift", stats.ratio_drift), ("clip_fraction", stats.clip_fraction)];
    let sometimes = [("grad_norm", stats.grad_norm), ("kl", stats.kl)];
    let known = sometimes.into_iter().filter_map(|(name, it)| Some((name, it?)));
    always.into_iter().chain(known).map(|(name, it)| (tag(name), f64::from(it))).collect()
}

/// The highest divergence from the starting policy that any pass of a step began with.
pub(crate) fn highest_kl(row: &Row) -> Option<f64> {
    let kls = row.values.iter().filter(|(tag, _)| *tag == "kl" || tag.ends_with("/kl"));
    kls.filter_map(|(_, it)| it.as_f64()).max_by(f64::total_cmp)
}

fn told(step: u64, groups: &[Vec<Sample<'_>>]) -> Vec<Outcome> {
    let outcome = |it: &Sample<'_>| Outcome {
        step,
        prompt: it.prompt.id.clone(),
        sample: it.sample,
        parsed: it.completion.parsed.clone(),
        reward: it.reward,
    };
    groups.iter().flatten().map(outcome).collect()
}

fn store(model: &Model, dir: &std::path::Path) -> anyhow::Result<Hash> {
    model.save(&dir.join(MODEL), Stored::F32)?;
    Ok(model.hash())
}

fn is_milestone(cfg: &Rl, done: u64) -> bool {
    cfg.milestone_every > 0 && done.is_multiple_of(cfg.milestone_every) && done < cfg.steps
}

fn milestone(stage: &str, step: u64) -> String {
    format!("{stage}-milestones/{step}")
}

fn outcomes_of(stage: &str) -> String {
    format!("{stage}-outcomes")
}

/// The journal's key for a step's outcomes.
fn step_key(by: &By) -> String {
    Hash::of_json(by).0
}
