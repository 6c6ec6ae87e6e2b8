//! From prompts to deliberations fit to be learnt from: the spec in context, sampled, read by a judge (sections 3.1 and 3.2).

use anyhow::Context;
use collimate_eval::filter::{Fate, FilterReport, screen};
use collimate_eval::judge::{FilterJudge, Reading};
use collimate_run::{Artifact, ArtifactId};
use collimate_schema::{
    Brief, Conversation, Example, Graded, Prompt, Request, RequestId, Rollout, Sampler, Sampling, Score, Seed, Source,
    Spec, Unscored, Verdict,
};
use serde::{Deserialize, Serialize};

use super::ask::ask;
use super::site::Site;

/// Shows a policy to a model with a prompt: `spec(category)` for the teacher and the judges.
pub(crate) type Briefs<'a> = dyn Fn(&Prompt) -> anyhow::Result<Brief> + 'a;

/// `n` samples by `teacher` of what `shown` makes of each prompt. A request that failed leaves no rollout.
pub(crate) fn rollouts(
    (site, name): (Site<'_>, &str),
    teacher: &dyn Sampler,
    (prompts, parents): (&[Prompt], &[&ArtifactId]),
    shown: impl Fn(&Prompt) -> anyhow::Result<Conversation>,
    (n, sampling, seed): (u32, Sampling, Seed),
) -> anyhow::Result<Artifact<Vec<Rollout>>> {
    site.run.stage_lines(&site.at(&format!("{name}/rollouts")), parents, || {
        let bar = site.progress.stage(&site.at(&format!("{name} deliberate")), prompts.len() as u64 * u64::from(n));
        let mut requests = Vec::new();
        for prompt in prompts {
            let conversation = shown(prompt)?;
            let id = |sample| RequestId::new("deliberate", &prompt.id).sample(sample);
            requests.extend((0..n).map(|sample| Request::new(id(sample), conversation.clone(), sampling, seed)));
        }
        let replies = ask(site, &format!("{name}-rollouts"), teacher, requests, &bar)?;
        let by = teacher.by();
        let which = prompts.iter().flat_map(|prompt| (0..n).map(move |ordinal| (prompt, ordinal)));
        let rollout = |((prompt, ordinal), reply): ((&Prompt, u32), super::ask::Reply)| {
            let it = reply.ok()?;
            let (prompt, by) = (prompt.id.clone(), by.clone());
            Some(Rollout { prompt, ordinal, by, trace: it.trace, parsed: it.parsed, stop: it.stop })
        };
        anyhow::Ok(which.zip(replies).filter_map(rollout).collect())
    })
}

/// `readings` readings of every well-formed deliberation by the filter judge.
pub(crate) fn graded(
    (site, name): (Site<'_>, &str),
    (judge, readings, seed): (&FilterJudge<'_>, u32, Seed),
    (prompts, rollouts): (&[Prompt], &[Rollout]),
    (spec, briefs): (&Spec, &Briefs<'_>),
    parents: &[&ArtifactId],
) -> anyhow::Result<Artifact<Vec<Graded>>> {
    site.run.stage_lines(&site.at(&format!("{name}/graded")), parents, || {
        let mut requests = Vec::new();
        let mut n_readings = Vec::new();
        for rollout in rollouts {
            let prompt = answered(prompts, rollout)?;
            let before = requests.len();
            if let Ok(turn) = screen(rollout) {
                for ordinal in 0..readings {
                    let reading = Reading { prompt: &prompt.id, sample: rollout.ordinal, ordinal };
                    let case = (&prompt.conversation, turn);
                    requests.push(judge.request(reading, case, &briefs(prompt)?, prompt.label, seed));
                }
            }
            n_readings.push(requests.len() - before);
        }
        let bar = site.progress.stage(&site.at(&format!("{name} filter")), requests.len() as u64);
        let mut replies = ask(site, &format!("{name}-filter"), judge.model(), requests, &bar)?.into_iter();
        let graded = rollouts.iter().zip(n_readings).map(|(rollout, n)| {
            let read = |it: super::ask::Reply| match it {
                Ok(completion) => judge.read(&completion, spec),
                Err(_) => Verdict::Unscored(Unscored::Failed),
            };
            Graded { rollout: rollout.clone(), verdicts: replies.by_ref().take(n).map(read).collect() }
        });
        anyhow::Ok(graded.collect())
    })
}

/// What the filter leaves, in one artefact.
#[derive(Serialize, Deserialize)]
pub(crate) struct Filtered {
    /// Original prompt, without the spec -> thought and answer.
    pub examples: Vec<Example>,
    /// Counts by fate.
    pub report: FilterReport,
}

/// The deliberations whose least score is `threshold` or more, on their original conversations.
pub(crate) fn filtered(
    (site, name): (Site<'_>, &str),
    threshold: Score,
    (prompts, graded): (&[Prompt], &[Graded]),
    parents: &[&ArtifactId],
) -> anyhow::Result<Artifact<Filtered>> {
    let filtered = site.run.stage(&site.at(&format!("{name}/dataset")), parents, || {
        let mut report = FilterReport::new(threshold);
        let mut examples = Vec::new();
        for it in graded {
            let prompt = answered(prompts, &it.rollout)?;
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
    anyhow::ensure!(
        !filtered.value.examples.is_empty(),
        "{}: none of {} deliberations passed the filter: {}; look at {}",
        site.at(name),
        graded.len(),
        filtered.value.report.all.in_words(),
        site.at(&format!("{name}/graded.jsonl"))
    );
    Ok(filtered)
}

/// The prompt that a rollout answers.
fn answered<'p>(prompts: &'p [Prompt], rollout: &Rollout) -> anyhow::Result<&'p Prompt> {
    let found = prompts.iter().find(|it| it.id == rollout.prompt);
    found.with_context(|| format!("a rollout answers `{}`, which is none of the prompts", rollout.prompt))
}
