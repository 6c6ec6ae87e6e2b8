//! From prompts to a dataset of deliberations: spec in context, sampled, filtered, spec removed (sections 3.1 and 3.2).

use anyhow::Context;
use collimate_eval::filter::{Fate, FilterReport, screen};
use collimate_eval::judge::{FilterJudge, Reading};
use collimate_schema::{
    Artifact, Example, Graded, NoisyLabel, Prompt, Request, RequestId, Rollout, Sampler, Score, Source, Thought, Turn,
};
use collimate_world::Diet;
use serde::{Deserialize, Serialize};

use super::Lab;
use crate::recipes::sampling::sample_all;

/// Deliberations fit to be learnt from, and what became of the others.
pub(super) struct Deliberations {
    /// Original prompt, without the spec -> thought and answer.
    pub examples: Artifact<Vec<Example>>,
    /// Every deliberation with its verdicts, in the order of prompts and samples.
    pub graded: Vec<Graded>,
    /// The prompts they answer.
    pub prompts: Vec<Prompt>,
    /// Counts by fate.
    pub report: FilterReport,
}

/// What the filter leaves, in one artefact.
#[derive(Serialize, Deserialize)]
struct Filtered {
    examples: Vec<Example>,
    report: FilterReport,
}

impl Lab<'_> {
    /// Makes the dataset called `name` from prompts of `diet`.
    pub(super) fn deliberations(&self, diet: Diet, name: &str) -> anyhow::Result<Deliberations> {
        let prompts = self.prompts(diet, name)?;
        let rollouts = self.rollouts(&prompts, name)?;
        let graded = self.graded(&prompts.value, &rollouts, name)?;
        let threshold = Score::new(self.cfg.data.threshold).context("data.threshold is a grade from 1 to 5")?;
        let filtered = self.run.stage(&self.at(&format!("{name}/dataset")), &[&prompts.id, &graded.id], || {
            let mut report = FilterReport::new(threshold);
            let mut examples = Vec::new();
            for it in &graded.value {
                let prompt = find(&prompts.value, it);
                if report.decide(prompt, it) == Fate::Kept
                    && let Some(turn) = it.rollout.parsed.turn()
                {
                    examples.push(Example {
                        prompt: prompt.id.clone(),
                        context: prompt.conversation.clone(),
                        target: turn.clone(),
                        source: Source::Safety,
                    });
                }
            }
            anyhow::Ok(Filtered { examples, report })
        })?;
        let Filtered { examples, report } = filtered.value;
        anyhow::ensure!(
            !examples.is_empty(),
            "none of {} deliberations passed the filter ({report:?}): lower data.threshold or look at {name}/graded.jsonl",
            graded.value.len()
        );
        let examples = Artifact { id: filtered.id, value: examples };
        Ok(Deliberations { examples, graded: graded.value, prompts: prompts.value, report })
    }

    fn prompts(&self, diet: Diet, name: &str) -> anyhow::Result<Artifact<Vec<Prompt>>> {
        self.run.stage_lines(&self.at(&format!("{name}/prompts")), &[], || {
            let mut prompts = self.world.prompts(diet, self.cfg.data.prompts, self.seed.child(name));
            if self.cfg.data.opinions {
                self.label(&mut prompts, name)?;
            }
            Ok(prompts)
        })
    }

    /// Labels of unknown reliability: what the base model does when it is shown summaries only.
    fn label(&self, prompts: &mut [Prompt], name: &str) -> anyhow::Result<()> {
        let bar = self.progress.stage(&self.at(&format!("{name} opinions")), prompts.len() as u64);
        let summaries = self.world.spec().summaries();
        let requests = prompts.iter().map(|prompt| {
            let id = RequestId(format!("opinion/{}", prompt.id));
            let seed = self.seed.child(&id.0);
            Request {
                stop: Vec::new(),
                id,
                conversation: prompt.conversation.with_brief(&summaries),
                sampling: self.cfg.data.sampling,
                seed,
            }
        });
        let mut done =
            sample_all(self.run, &self.at(&format!("{name}-opinions")), &self.judge, requests.collect(), &bar)?;
        for prompt in prompts {
            let said =
                done.remove(&RequestId(format!("opinion/{}", prompt.id))).context("every request is answered")?;
            prompt.label = said.parsed.turn().and_then(|turn| self.world.outcome(&turn.answer)).map(NoisyLabel);
        }
        Ok(())
    }

    /// n samples of each augmented prompt: the conversation with spec(category) and the instruction to cite it.
    fn rollouts(&self, prompts: &Artifact<Vec<Prompt>>, name: &str) -> anyhow::Result<Artifact<Vec<Rollout>>> {
        self.run.stage_lines(&self.at(&format!("{name}/rollouts")), &[&prompts.id, &self.base_id], || {
            let n_samples = self.cfg.data.samples;
            let bar = self
                .progress
                .stage(&self.at(&format!("{name} deliberate")), prompts.value.len() as u64 * u64::from(n_samples));
            let id = |prompt: &Prompt, ordinal: u32| RequestId(format!("deliberate/{}/{ordinal}", prompt.id));
            let mut requests = Vec::new();
            for prompt in &prompts.value {
                let conversation = prompt.conversation.with_brief(&self.brief(prompt)?);
                for ordinal in 0..n_samples {
                    let id = id(prompt, ordinal);
                    let seed = self.seed.child(&id.0);
                    requests.push(Request {
                        stop: Vec::new(),
                        id,
                        conversation: conversation.clone(),
                        sampling: self.cfg.data.sampling,
                        seed,
                    });
                }
            }
            let mut done = sample_all(self.run, &self.at(&format!("{name}-rollouts")), &self.judge, requests, &bar)?;
            let mut rollouts = Vec::new();
            for prompt in &prompts.value {
                for ordinal in 0..n_samples {
                    let it = done.remove(&id(prompt, ordinal)).context("every request is answered")?;
                    let by = self.judge.by();
                    rollouts.push(Rollout {
                        prompt: prompt.id.clone(),
                        ordinal,
                        by,
                        trace: it.trace,
                        parsed: it.parsed,
                        stop: it.stop,
                    });
                }
            }
            Ok(rollouts)
        })
    }

    /// k readings of every well-formed deliberation by the filter judge.
    fn graded(
        &self,
        prompts: &[Prompt],
        rollouts: &Artifact<Vec<Rollout>>,
        name: &str,
    ) -> anyhow::Result<Artifact<Vec<Graded>>> {
        self.run.stage_lines(&self.at(&format!("{name}/graded")), &[&rollouts.id, &self.base_id], || {
            let judge = FilterJudge::new(&self.judge, self.cfg.data.judge);
            let seed = self.seed.child("filter");
            let mut requests = Vec::new();
            for rollout in &rollouts.value {
                let prompt = &prompts[position(prompts, rollout)];
                if let Ok(turn) = screen(rollout) {
                    for ordinal in 0..self.cfg.data.readings {
                        let reading = Reading { prompt: &prompt.id, sample: rollout.ordinal, ordinal };
                        let brief = self.brief(prompt)?;
                        requests.push(judge.request(reading, (&prompt.conversation, turn), &brief, prompt.label, seed));
                    }
                }
            }
            let bar = self.progress.stage(&self.at(&format!("{name} filter")), requests.len() as u64);
            let done = sample_all(self.run, &self.at(&format!("{name}-filter")), judge.model(), requests, &bar)?;
            let graded = rollouts.value.iter().map(|rollout| {
                let prefix = format!("filter/{}/{}/", rollout.prompt, rollout.ordinal);
                let readings = (0..self.cfg.data.readings).filter_map(|k| done.get(&RequestId(format!("{prefix}{k}"))));
                let verdicts = readings.map(|it| judge.read(it, self.world.spec())).collect();
                Graded { rollout: rollout.clone(), verdicts }
            });
            Ok(graded.collect())
        })
    }
}

/// The same examples with their thoughts removed: the answers-only arm.
pub(super) fn without_thoughts(examples: &[Example]) -> Vec<Example> {
    let strip = |it: &Example| Example {
        target: Turn { thought: Thought(String::new()), answer: it.target.answer.clone() },
        ..it.clone()
    };
    examples.iter().map(strip).collect()
}

fn position(prompts: &[Prompt], rollout: &Rollout) -> usize {
    prompts.iter().position(|it| it.id == rollout.prompt).expect("rollouts answer these prompts")
}

fn find<'p>(prompts: &'p [Prompt], graded: &Graded) -> &'p Prompt {
    &prompts[position(prompts, &graded.rollout)]
}
