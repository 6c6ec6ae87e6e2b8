//! Asking a model an exam, and having its answers graded.

use anyhow::Context;
use collimate_eval::papers::Paper;
use collimate_eval::suites::{Observation, observe};
use collimate_model::Engine;
use collimate_run::{Artifact, ArtifactId};
use collimate_schema::{Answered, Conversation, Parsed, Request, RequestId, Said, Sampler, Sampling, Seed};

use super::ask::{Reply, ask};
use super::site::Site;
use crate::material::{Grader, Question};

/// An exam, as every model is asked it.
pub(crate) struct Exam<'a> {
    /// The questions, in a fixed order.
    pub questions: &'a Artifact<Vec<Question>>,
    /// Whose suites read the answers.
    pub paper: &'static Paper,
    /// Who grades.
    pub grader: &'a dyn Grader,
    /// How answers are sampled.
    pub sampling: Sampling,
}

/// What a model made of an exam.
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    /// What it said, question by question.
    pub answers: Artifact<Vec<Answered>>,
    /// What that shows: the evidence of the numbers.
    pub observations: Artifact<Vec<Observation>>,
}

/// The answers of the model that `engine` loads to the questions as they are `shown`, and what they show. `parents` are
/// what the model and what is shown were made from.
pub(crate) fn examine(
    (site, name): (Site<'_>, &str),
    exam: &Exam<'_>,
    engine: impl FnOnce() -> anyhow::Result<Engine>,
    shown: impl Fn(&Question) -> anyhow::Result<Conversation>,
    seed: Seed,
    parents: &[&ArtifactId],
) -> anyhow::Result<Examined> {
    let stage = format!("exam/{name}");
    let questions = &exam.questions.value;
    let setting = ArtifactId::of_setting("exam.sampling", &exam.sampling);
    let parents: Vec<&ArtifactId> = parents.iter().copied().chain([&exam.questions.id, &setting]).collect();
    let answers = site.run.stage_lines(&site.at(&stage), &parents, || {
        let bar = site.progress.stage(&site.at(&stage), questions.len() as u64);
        let request = |it: &Question| {
            let id = RequestId::new("exam", &it.asked.question);
            Ok(Request::new(id, shown(it)?, exam.sampling, seed))
        };
        let requests = questions.iter().map(request).collect::<anyhow::Result<Vec<_>>>()?;
        let engine = engine()?;
        let replies = ask(site, &stage.replace('/', "-"), &engine, requests, &bar)?;
        if let Some(Err(failure)) = replies.first().filter(|_| replies.iter().all(Result::is_err)) {
            anyhow::bail!("{}: no question could be asked: {failure}", site.at(&stage));
        }
        let by = engine.by();
        let answered = |(question, reply): (&Question, Reply)| {
            let said = match reply {
                Ok(it) => Said::Output { parsed: it.parsed, stop: it.stop },
                Err(failure) => Said::Failed(failure),
            };
            Answered { question: question.asked.question.clone(), by: by.clone(), said }
        };
        anyhow::Ok(questions.iter().zip(replies).map(answered).collect::<Vec<_>>())
    })?;
    let graded = [&answers.id, &exam.questions.id];
    let observations = site.run.stage_lines(&site.at(&format!("{stage}-graded")), &graded, || {
        let pairs = || questions.iter().zip(&answers.value);
        let said: Vec<(&Question, &Parsed)> = pairs().filter_map(|(it, answer)| Some((it, answer.parsed()?))).collect();
        let mut found = exam.grader.find(&said)?.into_iter();
        let mut observations = Vec::new();
        for (question, answer) in pairs() {
            match &answer.said {
                Said::Output { .. } => {
                    let found = found.next().context("the grader says something of every answer")?;
                    observations.extend(observe(exam.paper.suites, &question.asked, &found));
                }
                Said::Failed(failure) => observations.push(question.asked.unscored(failure.to_string())),
            }
        }
        anyhow::Ok(observations)
    })?;
    Ok(Examined { answers, observations })
}
