//! What can be changed of the recipe. A new knob is a field here.

use anyhow::Context;
use collimate_schema::{Sampling, Score};
use collimate_world::CaseCounts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arms::{self, Arm};
use crate::material::Material;
use crate::precision::Precision;
use crate::ranges;
use crate::recipes::steps::fine_tune::Sft;
use crate::recipes::steps::reinforce::Rl;

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deliberate {
    /// Training seeds; every arm is trained once with each.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub seeds: Vec<u64>,
    /// What products are taken in, when sampling and when training.
    #[serde(default)]
    pub precision: Precision,
    /// Comparison arms, by key.
    #[schemars(schema_with = "arms::schema")]
    pub arms: Vec<String>,
    /// How deliberations are made and filtered.
    pub data: Data,
    /// Supervised fine-tuning.
    pub sft: Sft,
    /// Reinforcement learning.
    pub rl: Rl,
    /// How arms are measured.
    pub exam: ExamSize,
}

/// Deliberations (sections 3.1 and 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Safety prompts.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub prompts: usize,
    /// Deliberations sampled per prompt.
    #[schemars(range(min = 1, max = 1_000))]
    pub samples: u32,
    /// How they are sampled.
    pub sampling: Sampling,
    /// Readings per deliberation, k; the least score counts.
    #[schemars(range(min = 1, max = 100))]
    pub readings: u32,
    /// How the judge is sampled.
    pub judge: Sampling,
    /// The least score that is kept.
    #[schemars(range(min = 1, max = 5), extend("unit" = "grade"))]
    pub threshold: u8,
    /// Whether the judge is told what another AI, which saw summaries only, would have done.
    pub opinions: bool,
    /// Capability examples to mix in.
    #[schemars(range(min = 1, max = 1_000_000), extend("unit" = "examples"))]
    pub capability: usize,
}

/// How arms are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExamSize {
    /// Requests per suite.
    pub cases: CaseCounts,
    /// Capability tasks.
    #[schemars(range(min = 1, max = 1_000_000), extend("unit" = "tasks"))]
    pub capability: usize,
    /// How answers are sampled.
    pub sampling: Sampling,
    /// Seed of the questions: the same for all training seeds, so that arms answer the same exam.
    pub seed: u64,
}

const GREEDY: Sampling = Sampling::greedy(96);
const SAMPLED: Sampling = Sampling::at(1.0, 96);

/// The full recipe: three seeds, every arm.
pub fn base() -> Deliberate {
    Deliberate {
        seeds: vec![1, 2, 3],
        precision: Precision::F32,
        arms: arms::ALL.iter().map(|it| it.key.to_owned()).collect(),
        data: Data {
            prompts: 600,
            samples: 3,
            sampling: SAMPLED,
            readings: 2,
            judge: SAMPLED,
            threshold: 5,
            opinions: false,
            capability: 2000,
        },
        sft: Sft { steps: 250, examples: 48, capability_share: 0.35, lr: 1e-3, warmup: 10, checkpoint_every: 40 },
        rl: Rl {
            steps: 30,
            prompts: 16,
            capability: 6,
            samples: 8,
            sampling: SAMPLED,
            judge: GREEDY,
            leave_one_out: true,
            passes: 1,
            clip: 0.2,
            kl: 0.0,
            lr: 5e-5,
            checkpoint_every: 10,
            milestone_every: 15,
        },
        exam: ExamSize {
            cases: CaseCounts { plain: 150, jailbreak: 30, encoded: 50 },
            capability: 2000,
            sampling: GREEDY,
            seed: 2000,
        },
    }
}

/// What `collimate quickstart` runs: one seed, fewer samples, minutes.
pub fn quickstart() -> Deliberate {
    let full = base();
    Deliberate {
        seeds: vec![1],
        data: Data { prompts: 500, ..full.data },
        sft: Sft { steps: 200, ..full.sft },
        rl: Rl { steps: 20, prompts: 12, capability: 4, milestone_every: 10, ..full.rl },
        exam: ExamSize { cases: CaseCounts { plain: 90, jailbreak: 12, encoded: 24 }, capability: 200, ..full.exam },
        ..full
    }
}

/// The same method, small: for tests. Its numbers mean nothing.
pub fn tiny() -> Deliberate {
    let full = base();
    Deliberate {
        seeds: vec![1],
        data: Data { prompts: 14, samples: 2, capability: 20, ..full.data },
        sft: Sft { steps: 4, examples: 8, warmup: 1, checkpoint_every: 2, ..full.sft },
        rl: Rl { steps: 2, prompts: 2, capability: 1, samples: 4, checkpoint_every: 1, milestone_every: 1, ..full.rl },
        exam: ExamSize { cases: CaseCounts { plain: 9, jailbreak: 1, encoded: 1 }, capability: 8, ..full.exam },
        ..full
    }
}

/// Deliberations are in memory together when they are filtered.
const MOST_DELIBERATIONS: u64 = 10_000_000;

impl Data {
    /// The least score that is kept.
    pub(super) fn threshold(&self) -> anyhow::Result<Score> {
        Score::new(self.threshold)
            .with_context(|| format!("data.threshold is a grade from 1 to 5, not {}", self.threshold))
    }
}

impl Deliberate {
    /// Refuses what could only fail later, before the first token is sampled.
    pub fn check(&self) -> anyhow::Result<()> {
        ranges::check(self)?;
        anyhow::ensure!(
            self.rl.sampling.is_on_policy(),
            "rl.sampling must draw from the policy itself: temperature = 1, no top_k, top_p, min_p or thought_budget"
        );
        let n_deliberations = self.data.prompts as u64 * u64::from(self.data.samples);
        anyhow::ensure!(
            n_deliberations <= MOST_DELIBERATIONS,
            "data.prompts x data.samples is {n_deliberations}: a run holds at most {MOST_DELIBERATIONS}, lower one of them"
        );
        self.sft.check()
    }

    /// Refuses samples that leave a prompt no room in a context of so many tokens.
    pub fn check_room(&self, context: usize) -> anyhow::Result<()> {
        for (name, sampling) in [
            ("data.sampling", &self.data.sampling),
            ("data.judge", &self.data.judge),
            ("rl.sampling", &self.rl.sampling),
            ("rl.judge", &self.rl.judge),
            ("exam.sampling", &self.exam.sampling),
        ] {
            let most = context * 3 / 4; // a prompt with a brief takes the rest
            anyhow::ensure!(
                sampling.max_tokens as usize <= most,
                "{name}.max_tokens is {}: the model's context is {context} tokens, so at most {most} leave the prompt room",
                sampling.max_tokens
            );
        }
        Ok(())
    }

    /// The arms to be compared, in the order of the card.
    pub(super) fn arms_in_order(&self) -> Vec<Arm> {
        arms::ALL.into_iter().filter(|it| self.arms.iter().any(|key| key == it.key)).collect()
    }

    /// The plan, for people: what each stage makes, and how many.
    pub fn plan(&self, materials: &[Material]) -> String {
        let Deliberate { data, sft, rl, exam, .. } = self;
        let questions = n_questions(materials);
        format!(
            "seeds       {seeds:?}, each:\n\
             deliberate  {prompts} prompts x {samples} samples, spec in context\n\
             filter      format, leaning on context, judge x {readings}, least score {threshold} or more\n\
             fine-tune   {steps} steps of {examples} examples, {share:.0} % capability; once per data arm\n\
             reinforce   {rl_steps} steps of {rl_prompts} safety and {rl_capability} capability prompts x {rl_samples} rollouts\n\
             examine     {n_arms} arms x {questions} questions: {arms}\n\
             card        card.html, card.json, results.json",
            seeds = self.seeds,
            prompts = data.prompts,
            samples = data.samples,
            readings = data.readings,
            threshold = data.threshold,
            steps = sft.steps,
            examples = sft.examples,
            share = 100.0 * sft.capability_share,
            rl_steps = rl.steps,
            rl_prompts = rl.prompts,
            rl_capability = rl.capability,
            rl_samples = rl.samples,
            n_arms = self.arms.len(),
            arms = self.arms.join(", "),
        ) + &format!("\nexam seed   {}", exam.seed)
    }
}

/// The exam is the same for every seed.
fn n_questions(materials: &[Material]) -> usize {
    materials.first().map_or(0, |it| it.exam.len())
}

/// Seconds per unit of each kind of stage on two cores, for the time left only.
mod seconds {
    pub(super) const DELIBERATION: f64 = 0.006;
    pub(super) const READING: f64 = 0.008;
    pub(super) const SFT_EXAMPLE: f64 = 0.005;
    pub(super) const ROLLOUT: f64 = 0.007;
    pub(super) const QUESTION: f64 = 0.0025;
}

impl Deliberate {
    /// Every stage that shows progress, in order, with the seconds it may take.
    pub fn stages(&self, materials: &[Material]) -> Vec<(String, f64)> {
        let has = |key: &str| self.arms.iter().any(|it| it == key);
        let mut stages = Vec::new();
        for seed in &self.seeds {
            let mut stage = |name: String, n: f64, each: f64| stages.push((format!("seed-{seed}/{name}"), n * each));
            let n_samples = self.data.prompts as f64 * f64::from(self.data.samples);
            let data = |name: &str, stage: &mut dyn FnMut(String, f64, f64)| {
                stage(format!("{name} deliberate"), n_samples, seconds::DELIBERATION);
                stage(format!("{name} filter"), n_samples * f64::from(self.data.readings), seconds::READING);
            };
            let n_examples = self.sft.steps as f64 * self.sft.examples as f64;
            let rollouts = (self.rl.prompts + self.rl.capability) as f64 * f64::from(self.rl.samples);
            let n_rollouts = self.rl.steps as f64 * rollouts;
            data("data", &mut stage);
            stage("sft".to_owned(), n_examples, seconds::SFT_EXAMPLE);
            stage("sft-rl".to_owned(), n_rollouts, seconds::ROLLOUT);
            stage("no-safety".to_owned(), n_examples, seconds::SFT_EXAMPLE);
            if has("rl") {
                stage("rl".to_owned(), n_rollouts, seconds::ROLLOUT);
            }
            if has("answers_only") {
                stage("answers-only".to_owned(), n_examples, seconds::SFT_EXAMPLE);
            }
            if has("full_data") {
                data("full-data", &mut stage);
                stage("full-data-sft".to_owned(), n_examples, seconds::SFT_EXAMPLE);
                stage("full-data-sft-rl".to_owned(), n_rollouts, seconds::ROLLOUT);
            }
            let questions = n_questions(materials) as f64;
            for arm in arms::ALL.iter().filter(|it| has(it.key)) {
                stage(format!("exam/{}", arm.key), questions, seconds::QUESTION);
            }
            for step in (1..self.rl.steps).filter(|it| self.rl.milestone_every > 0 && it % self.rl.milestone_every == 0)
            {
                stage(format!("exam/sft-rl-step-{step}"), questions, seconds::QUESTION);
            }
        }
        stages
    }
}
