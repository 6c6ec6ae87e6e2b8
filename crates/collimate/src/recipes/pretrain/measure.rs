//! How good a base model is, on documents that pretraining never sees: greedy samples, compared word for word.

use std::collections::BTreeMap;

use collimate_eval::judge::{Confusion, parse_verdict};
use collimate_eval::stats::Rate;
use collimate_model::Model;
use collimate_schema::{Parsed, PromptId, Request, RequestId, Sampling, Score, Seed, Spec};
use collimate_world::{Document, Kind, TaskKind, held_out_documents};
use serde::{Deserialize, Serialize};

use crate::recipes::steps::ask::ask;
use crate::recipes::steps::site::Site;

/// The kinds of held-out document that are measured, and whether ciphers and the invented language are forced or forbidden.
pub(super) const MEASURED: [(&str, Kind, Option<bool>); 9] = [
    ("policy_plain", Kind::Policy, Some(false)),
    ("policy_encoded", Kind::Policy, Some(true)),
    ("helpful_plain", Kind::Helpful, Some(false)),
    ("helpful_encoded", Kind::Helpful, Some(true)),
    ("judge", Kind::Judge, None),
    ("decode", Kind::Capability(TaskKind::Decode), None),
    ("arithmetic", Kind::Capability(TaskKind::Arithmetic), None),
    ("known", Kind::Capability(TaskKind::Known), None),
    ("unknown", Kind::Capability(TaskKind::Unknown), None),
];

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accuracies {
    /// Thought and answer both word for word right, by kind.
    pub exact: BTreeMap<String, Rate>,
    /// The answer word for word right, whatever the thought, by kind. For judges: the grade.
    pub answer: BTreeMap<String, Rate>,
    /// The same as `exact`, by the surface form of the request (policy documents).
    pub exact_by_surface: BTreeMap<String, Rate>,
    /// The judge's grades on cases that are right in every respect and on cases that are not.
    pub judge: Confusion,
}

/// Measures `model` on `n` held-out documents of each kind.
pub(super) fn measure(site: Site<'_>, model: &Model, n: usize, seed: Seed) -> anyhow::Result<Accuracies> {
    let documents: Vec<(&str, Document)> = MEASURED
        .iter()
        .flat_map(|(name, kind, encoded)| {
            held_out_documents(*kind, *encoded, n, seed.child("measure")).into_iter().map(move |it| (*name, it))
        })
        .collect();
    let sampling = Sampling::greedy(128);
    let id = |at: usize| RequestId::new("measure", &PromptId(format!("{at:06}")));
    let request = |(at, (_, document)): (usize, &(&str, Document))| Request {
        id: id(at),
        conversation: document.context.clone(),
        sampling,
        seed: seed.child(&at.to_string()),
        stop: Vec::new(),
    };
    let requests = documents.iter().enumerate().map(request).collect();
    let bar = site.progress.stage("measure", documents.len() as u64);
    let replies = ask(site, "measure", &model.engine(), requests, &bar)?;

    let mut exact: BTreeMap<String, Vec<Option<bool>>> = BTreeMap::new();
    let mut answer = exact.clone();
    let mut by_surface = exact.clone();
    let mut judge = Confusion::new("base model as judge", Score::HIGHEST);
    // Random specs have no ids to check citations against; the grade is what is compared.
    let any_spec = Spec { title: String::new(), categories: Vec::new(), styles: Vec::new() };
    for ((name, document), reply) in documents.iter().zip(replies) {
        let completion = reply.map_err(|it| anyhow::anyhow!("a document of kind {name}: {it}"))?;
        let right = right(&completion.parsed, document);
        exact.entry((*name).to_owned()).or_default().push(Some(right.0));
        answer.entry((*name).to_owned()).or_default().push(Some(right.1));
        if document.kind == Kind::Policy
            && let Some(surface) = document.surface
        {
            by_surface.entry(surface.name().unwrap_or("plain").to_owned()).or_default().push(Some(right.0));
        }
        if let Some(grade) = document.grade {
            let verdict = parse_verdict(&completion.parsed, completion.stop, &any_spec);
            judge.add(verdict.score(), grade == Score::HIGHEST.get());
        }
    }
    let rates = |it: BTreeMap<String, Vec<Option<bool>>>| {
        it.into_iter().map(|(name, all)| (name, all.into_iter().collect())).collect()
    };
    Ok(Accuracies { exact: rates(exact), answer: rates(answer), exact_by_surface: rates(by_surface), judge })
}

/// Whether thought and answer, and whether the answer alone, are word for word the document's.
fn right(output: &Parsed, document: &Document) -> (bool, bool) {
    let Some(turn) = output.turn() else { return (false, false) };
    // Documents say now and then that the policy stands above; either wording is right.
    let plain = |thought: &str| thought.trim().replace("policy above:", "policy:");
    let answer = turn.answer.0.trim() == document.target.answer.0.trim();
    (answer && plain(&turn.thought.0) == plain(&document.target.thought.0), answer)
}

impl Accuracies {
    /// Markdown tables for the model card.
    pub(super) fn to_markdown(&self) -> String {
        use std::fmt::Write;
        let mut text = "| held-out documents | thought and answer exact | answer exact |\n|---|---|---|\n".to_owned();
        for (name, rate) in &self.exact {
            let _ = writeln!(text, "| {name} | {rate} | {} |", self.answer[name]);
        }
        text.push_str(
            "\nPolicy documents by how the request is written:\n\n| surface | thought and answer exact |\n|---|---|\n",
        );
        for (surface, rate) in &self.exact_by_surface {
            let _ = writeln!(text, "| {surface} | {rate} |");
        }
        let _ = write!(
            text,
            "\nAs a judge: agreement {}; wrong cases accepted {}; right cases rejected {}.\n\n| grade given | right cases | wrong cases |\n|---|---|---|\n",
            self.judge.agreement(),
            self.judge.false_accepts(),
            self.judge.false_rejects()
        );
        for (at, counts) in self.judge.grades.iter().enumerate() {
            let _ = writeln!(text, "| {} | {} | {} |", at + 1, counts.good, counts.bad);
        }
        let _ = writeln!(text, "| none | {} | {} |", self.judge.unscored.good, self.judge.unscored.bad);
        text
    }
}
