//! What `spec check` says of a policy: the errors of [`Spec::parse`], and what parses but cannot be meant.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::spec::{ClauseId, Outcome, Spec, is_clause_id};

/// Whether a finding is a mistake or only suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A run would fail, or do something else than the text says.
    Error,
    /// It would run, but something is likely missing.
    Warning,
}

/// Which of the two files a finding is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum File {
    /// The policy.
    Spec,
    /// The prompts.
    Prompts,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lint {
    /// In which file.
    pub file: File,
    /// On which line, from 1.
    pub line: usize,
    /// How bad.
    pub severity: Severity,
    /// What, with the value and the way out.
    pub problem: String,
}

/// What a prompt says it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// Its line in the prompts file, from 1.
    pub line: usize,
    /// Its category.
    pub category: String,
    /// The clause it was written for, where the file says so.
    pub clause: Option<ClauseId>,
}

/// Checks the Markdown of a spec, and the prompts that are to be used with it (`None` to check the spec alone). Sorted by
/// file and line. The second check waits until the spec parses.
pub fn check(markdown: &str, prompts: Option<&[Citation]>) -> Vec<Lint> {
    let mut lints = match Spec::parse(markdown) {
        Err(errors) => errors.into_iter().map(|it| finding(File::Spec, it.line, Severity::Error, it.problem)).collect(),
        Ok(spec) => {
            let mut lints = dangling_references(&spec, markdown);
            lints.extend(missing_styles(&spec));
            if let Some(prompts) = prompts {
                lints.extend(unknown_citations(&spec, prompts));
                lints.extend(uncovered_clauses(&spec, prompts));
            }
            lints
        }
    };
    lints.sort();
    lints
}

fn finding(file: File, line: usize, severity: Severity, problem: String) -> Lint {
    Lint { file, line, severity, problem }
}

/// `[I9]` or `clause I9`, anywhere in the file, where the spec defines no such clause.
fn dangling_references(spec: &Spec, markdown: &str) -> Vec<Lint> {
    let mut lints = Vec::new();
    for (index, text) in markdown.lines().enumerate() {
        for id in references(text).into_iter().filter(|id| spec.clause(id).is_none()) {
            let problem = format!("clause `{id}` is cited but not defined: define it, or cite another");
            lints.push(finding(File::Spec, index + 1, Severity::Error, problem));
        }
    }
    lints
}

/// The clause ids a line cites.
fn references(text: &str) -> BTreeSet<ClauseId> {
    let bracketed = text.match_indices('[').filter_map(|(at, _)| {
        let (inner, after) = text[at + 1..].split_once(']')?;
        (!after.starts_with('(')).then_some(inner) // `[C3](..)` is a link
    });
    let words: Vec<&str> = text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty()).collect();
    let named = words.windows(2).filter(|it| ["clause", "clauses"].contains(&it[0].to_lowercase().as_str()));
    let cited = bracketed.chain(named.map(|it| it[1]));
    cited.filter(|it| is_clause_id(it)).map(|it| ClauseId(it.to_owned())).collect()
}

/// Outcomes other than comply that a category asks for and no style rule describes.
fn missing_styles(spec: &Spec) -> Vec<Lint> {
    let mut lints = Vec::new();
    for category in &spec.categories {
        for outcome in [Outcome::Refuse, Outcome::Safe] {
            let line = if category.stance == outcome { Some(category.line) } else { None };
            let used = category.clauses.iter().find(|it| it.outcome == outcome).map(|it| it.line).or(line);
            let styled = category.styles.iter().chain(&spec.styles).any(|it| it.outcome == outcome);
            if let (Some(line), false) = (used, styled) {
                let problem = format!(
                    "category `{}` asks for `{word}`, and no style rule says how that reads: add `- style ({word}): ..`",
                    category.name,
                    word = outcome.word()
                );
                lints.push(finding(File::Spec, line, Severity::Warning, problem));
            }
        }
    }
    lints
}

/// Prompts of a category, or for a clause, that the spec does not have.
fn unknown_citations(spec: &Spec, prompts: &[Citation]) -> Vec<Lint> {
    let problem = |prompt: &Citation| match (spec.category(&prompt.category), &prompt.clause) {
        (None, _) => {
            let near = nearest(&prompt.category, spec.categories.iter().map(|it| it.name.as_str()));
            Some(format!("unknown category `{}`: the spec has no such heading{near}", prompt.category))
        }
        (Some(category), Some(clause)) if !category.clauses.iter().any(|it| it.id == *clause) => {
            let ids: Vec<_> = category.clauses.iter().map(|it| it.id.0.as_str()).collect();
            Some(format!("unknown clause `{clause}`: category `{}` defines {}", category.name, ids.join(", ")))
        }
        _ => None,
    };
    prompts.iter().filter_map(|it| Some(finding(File::Prompts, it.line, Severity::Error, problem(it)?))).collect()
}

/// Clauses that no prompt was written for. A category whose prompts do not say for which clause is taken to be covered.
fn uncovered_clauses(spec: &Spec, prompts: &[Citation]) -> Vec<Lint> {
    let mut lints = Vec::new();
    for category in &spec.categories {
        let here: Vec<_> = prompts.iter().filter(|it| it.category == category.name).collect();
        if here.iter().any(|it| it.clause.is_none()) {
            continue;
        }
        for clause in &category.clauses {
            if !here.iter().any(|it| it.clause.as_ref() == Some(&clause.id)) {
                let problem = format!("no prompt covers clause `{}` of `{}`: add one", clause.id, category.name);
                lints.push(finding(File::Spec, clause.line, Severity::Warning, problem));
            }
        }
    }
    lints
}

/// A suggestion, if one of `known` is spelt almost like `given`.
fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let distance = |it: &&str| strsim::damerau_levenshtein(&given.to_lowercase(), &it.to_lowercase());
    let near = known.min_by_key(distance).filter(|it| distance(it) <= 1 + given.chars().count() / 4);
    near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default()
}
