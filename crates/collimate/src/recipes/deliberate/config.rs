//! What can be changed of the recipe. A new knob is a field here.

use collimate_schema::Sampling;
use collimate_world::CaseCounts;
use serde::{Deserialize, Serialize};

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deliberate {
    /// Training seeds; every arm is trained once with each.
    pub seeds: Vec<u64>,
    /// Comparison arms, by key.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Safety prompts.
    pub prompts: usize,
    /// Deliberations sampled per prompt.
    pub samples: u32,
    /// How they are sampled.
    pub sampling: Sampling,
    /// Readings per deliberation, k; the least score counts.
    pub readings: u32,
    /// How the judge is sampled.
    pub judge: Sampling,
    /// The least score that is kept.
    pub threshold: u8,
    /// Whether the judge is told what another AI, which saw summaries only, would have done.
    pub opinions: bool,
    /// Capability examples to mix in.
    pub capability: usize,
}

/// Supervised fine-tuning (section 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// Optimizer steps.
    pub steps: u64,
    /// Examples per step.
    pub examples: usize,
    /// Share of them that is capability data.
    pub capability_share: f64,
    /// Highest learning rate; it falls to a tenth.
    pub lr: f32,
    /// Steps of the linear rise.
    pub warmup: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// Reinforcement learning (section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rl {
    /// Optimizer steps.
    pub steps: u64,
    /// Safety prompts per step.
    pub prompts: usize,
    /// Capability prompts per step.
    pub capability: usize,
    /// Rollouts per prompt: a group.
    pub samples: u32,
    /// How rollouts are sampled. Temperature 1 keeps the ratio at 1.
    pub sampling: Sampling,
    /// How the judge is sampled.
    pub judge: Sampling,
    /// Whether a reward is compared with the mean of the others or of the whole group.
    pub leave_one_out: bool,
    /// Passes over each batch of rollouts; from the second on the ratio is clipped.
    pub passes: u32,
    /// Ratios beyond 1 - clip and 1 + clip stop to earn.
    pub clip: f32,
    /// Weight of the divergence from the starting policy.
    pub kl: f32,
    /// Learning rate.
    pub lr: f32,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between policies that are kept for the Pareto plot; 0 keeps none.
    pub milestone_every: u64,
}

/// How arms are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExamSize {
    /// Requests per suite.
    pub cases: CaseCounts,
    /// Capability tasks.
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
        arms: super::arms::ALL.iter().map(|it| it.key.to_owned()).collect(),
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

impl Deliberate {
    /// The plan, for people: what each stage makes, and how many.
    pub fn plan(&self) -> String {
        let Deliberate { data, sft, rl, exam, .. } = self;
        let questions = self.n_questions();
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

    fn n_questions(&self) -> usize {
        let cases = &self.exam.cases;
        let ciphers = collimate_world::Cipher::ALL.len();
        cases.plain
            + 3 * cases.plain.div_ceil(3)
            + cases.jailbreak * collimate_world::TEST_FRAMINGS
            + cases.encoded * (ciphers + 1)
            + self.exam.capability
    }
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
    pub fn stages(&self) -> Vec<(String, f64)> {
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
            let questions = self.n_questions() as f64;
            for arm in super::arms::ALL.iter().filter(|it| has(it.key)) {
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
