//! Asking every arm the same exam.

use anyhow::Context;
use collimate_eval::suites::Observation;
use collimate_schema::{Artifact, Parsed, Request, RequestId};
use serde::{Deserialize, Serialize};

use super::arms::Shown;
use super::{Lab, Trained};
use crate::recipes::sampling::sample_all;
use crate::recipes::world::{Exam, Question};

/// One output, kept as evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Output {
    /// The question's name.
    pub question: String,
    /// What the model said.
    pub parsed: Parsed,
    /// What that shows.
    pub observations: Vec<Observation>,
}

impl Lab<'_> {
    /// The outputs of `model` on `exam`, with the spec in its context or without. The artefact is the evidence of the numbers.
    pub(super) fn examine(
        &self,
        name: &str,
        model: &Trained,
        shown: Shown,
        exam: &Exam,
    ) -> anyhow::Result<Artifact<Vec<Output>>> {
        let stage = self.at(&format!("exam/{name}"));
        self.run.stage_lines(&stage, &[&model.id], || {
            let bar = self.progress.stage(&stage, exam.questions.len() as u64);
            let id = |question: &Question| RequestId(format!("exam/{}", question.id));
            let requests = exam.questions.iter().map(|question| {
                let id = id(question);
                let seed = self.seed.child(&id.0);
                let conversation = match (shown, &question.category) {
                    (Shown::Nothing, _) | (Shown::Brief, None) => question.conversation.clone(),
                    (Shown::Summaries, _) => question.conversation.with_brief(&self.world.spec().summaries()),
                    (Shown::Brief, Some(category)) => {
                        let brief = self.world.spec().brief(category).expect("an exam's categories are the spec's");
                        question.conversation.with_brief(&brief)
                    }
                };
                Request { id, conversation, sampling: self.cfg.exam.sampling, seed, stop: Vec::new() }
            });
            let engine = model.model.engine();
            let mut done = sample_all(self.run, &stage.replace('/', "-"), &engine, requests.collect(), &bar)?;
            let outputs = exam.questions.iter().enumerate().map(|(at, question)| {
                let parsed = done.remove(&id(question)).context("every question is answered")?.parsed;
                let observations = (exam.observe)(at, &parsed);
                Ok(Output { question: question.id.0.clone(), parsed, observations })
            });
            outputs.collect()
        })
    }
}

/// All observations of an exam.
pub(super) fn observations(outputs: &[Output]) -> Vec<Observation> {
    outputs.iter().flat_map(|it| it.observations.iter().cloned()).collect()
}
