//! One training seed at work: the steps of the recipe with this run's config, material and roles filled in.

use std::collections::BTreeMap;

use anyhow::Context;
use collimate_eval::card::RlPoint;
use collimate_eval::filter::FilterReport;
use collimate_eval::judge::{Confusion, FilterJudge, RewardJudge};
use collimate_eval::papers::DELIBERATIVE_ALIGNMENT;
use collimate_eval::stats::Finite;
use collimate_model::Model;
use collimate_run::{Artifact, ArtifactId, Row, RunFolder};
use collimate_schema::{
    Brief, By, Example, Graded, Hash, NoisyLabel, Prompt, Request, RequestId, Sampler, Score, Seed, Spec, Thought,
    Turn, Wording,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arms::{Asked, Shown};
use super::config::Deliberate;
use crate::material::{Material, Question, Roles};
use crate::progress::Progress;
use crate::recipes::steps::ask::ask;
use crate::recipes::steps::examine::{Exam, Examined, examine};
use crate::recipes::steps::filter::{Filtered, filtered, graded, rollouts};
use crate::recipes::steps::fine_tune::{Lesson, fine_tune};
use crate::recipes::steps::reinforce::{ByJudge, ByKey, Course, Outcome, Reinforced, Start, highest_kl, reinforce};
use crate::recipes::steps::site::Site;
use crate::recipes::steps::trained::Trained;

/// What every stage of one training seed shares.
pub(super) struct Lab<'a> {
    pub cfg: &'a Deliberate,
    pub material: &'a Material,
    pub given: Given,
    site: Site<'a>,
    roles: &'a Roles<'a>,
    base: &'a Model,
    seed: Seed,
}

/// The material as artefacts.
#[derive(Clone)]
pub(super) struct Given {
    /// The base model; not in the folder.
    pub base: ArtifactId,
    /// Policy and wording.
    pub policy: Artifact<(Spec, Wording)>,
    pub sft: Artifact<Vec<Prompt>>,
    pub rl: Artifact<Vec<Prompt>>,
    pub full: Artifact<Vec<Prompt>>,
    pub tasks: Artifact<Vec<Example>>,
    pub exam: Artifact<Vec<Question>>,
}

/// Deliberations fit to be learnt from, and what became of the others.
pub(super) struct Deliberations {
    /// Original prompt, without the spec -> thought and answer.
    pub examples: Artifact<Vec<Example>>,
    /// The prompts they answer.
    pub n_prompts: usize,
    /// Every deliberation with its verdicts, in the order of prompts and samples.
    pub graded: Artifact<Vec<Graded>>,
    /// Counts by fate.
    pub report: FilterReport,
}

impl<'a> Lab<'a> {
    /// Writes the material into the folder.
    pub(super) fn open(
        (run, part, progress): (&'a RunFolder, &'a str, &'a Progress),
        cfg: &'a Deliberate,
        material: &'a Material,
        roles: &'a Roles<'a>,
        base: &'a Model,
    ) -> anyhow::Result<Lab<'a>> {
        let site = Site { run, part, progress };
        let text = (material.spec.clone(), material.wording.clone());
        let policy = run.stage("policy", &[&ArtifactId::of_setting("policy", &text)], || anyhow::Ok(text))?;
        let prompts = |name: &str, prompts: &[Prompt]| written(run, &site.at(name), prompts, &[&policy.id]);
        let given = Given {
            base: ArtifactId { name: "base".to_owned(), hash: base.hash() },
            sft: prompts("data/given", &material.sft)?,
            rl: prompts("rl-prompts", &material.rl)?,
            full: prompts("full-data/given", &material.full)?,
            tasks: written(run, &site.at("capability"), &material.tasks, &[])?,
            exam: written(run, "exam", &material.exam, &[&policy.id])?,
            policy,
        };
        Ok(Lab { cfg, material, given, site, roles, base, seed: Seed(material.seed) })
    }

    /// Whether some arm asks this model.
    pub(super) fn wants(&self, asked: Asked) -> bool {
        self.cfg.arms_in_order().iter().any(|it| it.asked == asked)
    }

    /// spec(category) of a prompt; summaries for a prompt without one.
    fn brief(&self, prompt: &Prompt) -> anyhow::Result<Brief> {
        let spec = &self.material.spec;
        match &prompt.category {
            None => Ok(spec.summaries()),
            Some(category) => spec.brief(category).with_context(|| {
                format!("prompt `{}` is of category `{category}`, which {} does not define", prompt.id, spec.title)
            }),
        }
    }

    /// Makes the dataset called `name` from `given` prompts.
    pub(super) fn deliberations(&self, name: &str, given: &Artifact<Vec<Prompt>>) -> anyhow::Result<Deliberations> {
        let (cfg, here) = (&self.cfg.data, (self.site, name));
        let (policy, wording) = (&self.given.policy, &self.material.wording);
        let [teacher, filter] = [("teacher", self.roles.teacher), ("filter", self.roles.filter)].map(artifact_of);
        let prompts = self.labelled(name, given)?;
        let setting = ArtifactId::of_setting("data.sampling", &(cfg.samples, cfg.sampling));
        let rollouts = rollouts(
            here,
            self.roles.teacher,
            (&prompts.value, &[&prompts.id, &policy.id, &teacher, &setting]),
            |prompt| Ok(wording.deliberation(&prompt.conversation, &self.brief(prompt)?)),
            (cfg.samples, cfg.sampling, self.seed),
        )?;
        let judge = FilterJudge::new(self.roles.filter, cfg.judge, wording);
        let setting = ArtifactId::of_setting("data.judge", &(cfg.readings, cfg.judge));
        let graded = graded(
            here,
            (&judge, cfg.readings, self.seed.child("filter")),
            (&prompts.value, &rollouts.value),
            (&self.material.spec, &|prompt| self.brief(prompt)),
            &[&rollouts.id, &prompts.id, &policy.id, &filter, &setting],
        )?;
        let of = (&prompts.value[..], &graded.value[..]);
        let setting = ArtifactId::of_setting("data.threshold", &cfg.threshold);
        let Artifact { id, value } = filtered(here, cfg.threshold()?, of, &[&prompts.id, &graded.id, &setting])?;
        let Filtered { examples, report } = value;
        Ok(Deliberations { examples: Artifact { id, value: examples }, n_prompts: prompts.len(), graded, report })
    }

    /// The prompts, with labels of unknown reliability if the config wants them: what the teacher does when it is shown
    /// summaries only.
    fn labelled(&self, name: &str, given: &Artifact<Vec<Prompt>>) -> anyhow::Result<Artifact<Vec<Prompt>>> {
        let teacher = artifact_of(("teacher", self.roles.teacher));
        let setting = ArtifactId::of_setting("data.opinions", &(self.cfg.data.opinions, self.cfg.data.sampling));
        let parents = [&given.id, &self.given.policy.id, &teacher, &setting];
        self.site.run.stage_lines(&self.site.at(&format!("{name}/prompts")), &parents, || {
            let mut prompts = given.value.clone();
            if !self.cfg.data.opinions {
                return Ok(prompts);
            }
            let bar = self.site.progress.stage(&self.site.at(&format!("{name} opinions")), prompts.len() as u64);
            let summaries = self.material.spec.summaries();
            let requests = prompts.iter().map(|prompt| {
                let shown = self.material.wording.deliberation(&prompt.conversation, &summaries);
                Request::new(RequestId::new("opinion", &prompt.id), shown, self.cfg.data.sampling, self.seed)
            });
            let stage = format!("{name}-opinions");
            let replies = ask(self.site, &stage, self.roles.teacher, requests.collect(), &bar)?;
            for (prompt, reply) in prompts.iter_mut().zip(replies) {
                let turn = reply.ok().and_then(|it| it.parsed.turn().cloned());
                prompt.label = turn.and_then(|it| (self.material.recognise)(&it.answer)).map(NoisyLabel);
            }
            anyhow::Ok(prompts)
        })
    }

    /// The same examples with their thoughts removed: the answers-only arm.
    pub(super) fn without_thoughts(&self, examples: &Artifact<Vec<Example>>) -> anyhow::Result<Artifact<Vec<Example>>> {
        let strip = |it: &Example| Example {
            target: Turn { thought: Thought(String::new()), answer: it.target.answer.clone() },
            ..it.clone()
        };
        let name = self.site.at("data/without-thoughts");
        self.site.run.stage_lines(&name, &[&examples.id], || Ok(examples.iter().map(strip).collect()))
    }

    /// The base model fine-tuned on these deliberations, if any, and capability data.
    pub(super) fn fine_tune(&self, name: &str, safety: Option<&Artifact<Vec<Example>>>) -> anyhow::Result<Trained> {
        let Given { base, policy, tasks, .. } = &self.given;
        let parents: Vec<&ArtifactId> =
            [base, &policy.id].into_iter().chain(safety.map(|it| &it.id)).chain([&tasks.id]).collect();
        let lesson = Lesson {
            spec: &self.material.spec,
            safety: safety.map_or(&[], |it| &it.value),
            tasks: &tasks.value,
            parents: &parents,
        };
        fine_tune((self.site, name), &self.cfg.sft, self.base, &lesson, self.seed.child(name))
    }

    /// `start` reinforced on prompts harder than fine-tuning's, with capability prompts in the mix.
    pub(super) fn reinforce(&self, name: &str, start: &Trained) -> anyhow::Result<Reinforced> {
        let (cfg, Given { policy, rl, tasks, .. }) = (&self.cfg.rl, &self.given);
        let model = start.load(self.base)?;
        let seed = self.seed.child(&self.site.at(name));
        let judge = RewardJudge::new(self.roles.reward, cfg.judge, &self.material.wording);
        let briefs = |prompt: &Prompt| self.brief(prompt);
        let mut by_judge = ByJudge::new((self.site, name), judge, (&self.material.spec, &briefs), seed)?;
        let mut by_key = ByKey(tasks.iter().map(|it| (&it.prompt, &it.target.answer)).collect::<BTreeMap<_, _>>());
        let questions: Vec<Prompt> = tasks.iter().map(Example::question).collect();
        let mut courses = [
            Course { prompts: &rl.value, per_step: cfg.prompts, reward: &mut by_judge },
            Course { prompts: &questions, per_step: cfg.capability, reward: &mut by_key },
        ];
        let judge = artifact_of(("reward judge", self.roles.reward));
        let parents = [&start.id, &rl.id, &tasks.id, &policy.id, &judge];
        let start = Start { model: &model, spec: &self.material.spec, parents: &parents, seed };
        reinforce((self.site, name), cfg, &start, &mut courses)
    }

    /// The model's answers to the exam, with the spec in its context or without, and what they show.
    pub(super) fn examine(&self, name: &str, model: &Trained, shown: Shown) -> anyhow::Result<Examined> {
        let Given { policy, exam, .. } = &self.given;
        let (spec, wording) = (&self.material.spec, &self.material.wording);
        let exam = Exam {
            questions: exam,
            paper: &DELIBERATIVE_ALIGNMENT,
            grader: self.material.grader.as_ref(),
            sampling: self.cfg.exam.sampling,
        };
        let shown = |question: &Question| {
            let with = |brief: &Brief| wording.deliberation(&question.conversation, brief);
            Ok(match (shown, &question.category) {
                (Shown::Nothing, _) | (Shown::Brief, None) => question.conversation.clone(),
                (Shown::Summaries, _) => with(&spec.summaries()),
                (Shown::Brief, Some(category)) => with(&spec.brief(category).with_context(|| {
                    format!(
                        "question `{}` is of category `{category}`, which {} does not define",
                        question.asked.question, spec.title
                    )
                })?),
            })
        };
        let engine = || Ok(model.load(self.base)?.engine());
        examine((self.site, name), &exam, engine, shown, self.seed, &[&model.id, &policy.id])
    }

    /// Both judges against what is known of the truth, for the card; none where nobody knows.
    pub(super) fn audit(
        &self,
        data: &Deliberations,
        outcomes: &Artifact<Vec<Outcome>>,
    ) -> anyhow::Result<Artifact<Vec<Confusion>>> {
        let grader = self.material.grader.as_ref();
        let parents = [&data.graded.id, &outcomes.id, &self.given.policy.id];
        self.site.run.stage(&self.site.at("judges"), &parents, || {
            let mut filter = Confusion::new("filter judge", Score::HIGHEST);
            for it in &data.graded.value {
                let right = it.rollout.parsed.turn().and_then(|turn| grader.truth(&it.rollout.prompt, turn));
                if let Some(right) = right {
                    it.verdicts.iter().for_each(|verdict| filter.add(verdict.score(), right.answer && right.thought));
                }
            }
            let mut reward = Confusion::new("reward judge", Score::HIGHEST);
            for it in &outcomes.value {
                let right = it.parsed.turn().and_then(|turn| grader.truth(&it.prompt, turn));
                if let Some(right) = right {
                    reward.add(it.reward.and_then(Score::of_reward), right.answer);
                }
            }
            Ok::<_, anyhow::Error>([filter, reward].into_iter().filter(|it| !it.is_empty()).collect())
        })
    }

    /// The numbers of `name`'s RL steps, as an artefact.
    pub(super) fn curve(&self, name: &str, policy: &Trained) -> anyhow::Result<Artifact<Vec<RlPoint>>> {
        let stage = self.site.at(name);
        self.site.run.stage(&format!("{stage}-curve"), &[&policy.id], || {
            let rows = self.site.run.metrics(&stage, self.cfg.rl.steps)?.rows()?;
            let of = |row: &Row, tag| row.get(tag).and_then(Finite::new);
            let point = |row: &Row| RlPoint {
                step: row.step,
                reward: of(row, "reward"),
                kl: highest_kl(row).and_then(Finite::new),
                entropy: of(row, "entropy"),
                length: of(row, "length"),
                truncated: of(row, "truncated"),
                degenerate: of(row, "degenerate"),
            };
            Ok::<_, anyhow::Error>(rows.iter().map(point).collect())
        })
    }
}

/// A list that is given, as an artefact; what is given is its own setting.
fn written<T: Clone + Serialize + DeserializeOwned>(
    run: &RunFolder,
    name: &str,
    given: &[T],
    parents: &[&ArtifactId],
) -> anyhow::Result<Artifact<Vec<T>>> {
    let setting = ArtifactId::of_setting(name, &given);
    run.stage_lines(name, &[parents, &[&setting]].concat(), || anyhow::Ok(given.to_vec()))
}

/// Who plays a part, as a parent of what was made with it.
fn artifact_of((part, model): (&str, &dyn Sampler)) -> ArtifactId {
    let hash = match model.by() {
        By::Checkpoint(id) => id,
        other => Hash::of_json(&other),
    };
    ArtifactId { name: part.to_owned(), hash }
}
