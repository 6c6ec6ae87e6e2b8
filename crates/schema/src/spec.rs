//! A safety policy in Markdown, and the part of it that a model is shown.
//!
//! ```text
//! # Harbor policy
//!
//! ## Contraband
//! **refuse**: smuggled goods               <- stance and summary
//! - *contraband*: goods kept from customs  <- a definition
//! - **CI** (refuse): instructions          <- a clause: id, outcome, when it applies
//! - style (safe): healer                   <- how this category's safe completions read
//!
//! ## Style
//! - style (refuse): apology                <- how refusals of every category read
//! ```
//!
//! A brief prints a clause as `- when id outcome`. Each word follows the one by which it is looked up, so that quoting a rule
//! is copying what stood behind the same word before: small models were measured to learn that, and no other order.

use serde::{Deserialize, Serialize};

/// What the policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answer in full.
    Comply,
    /// Hard refusal.
    Refuse,
    /// Safe completion: neither full help nor a bare refusal.
    Safe,
}

impl Outcome {
    /// All three, in a fixed order.
    pub const ALL: [Outcome; 3] = [Outcome::Comply, Outcome::Refuse, Outcome::Safe];

    /// The word a spec uses: `comply`, `refuse` or `safe`.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Comply => "comply",
            Outcome::Refuse => "refuse",
            Outcome::Safe => "safe",
        }
    }

    /// Reads [`Outcome::word`].
    pub fn parse(word: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// A clause's id: letters and then digits, such as `C3`, or two or three capitals, such as `CI`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClauseId(pub String);

impl std::fmt::Display for ClauseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// Unique within the spec.
    pub id: ClauseId,
    /// What to do.
    pub outcome: Outcome,
    /// When: what kind of request the clause is about.
    pub text: String,
    /// Line of the Markdown file, from 1; 0 for a generated spec.
    #[serde(skip)]
    pub line: usize,
}

/// How outputs of one outcome must read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Style {
    /// Which outputs.
    pub outcome: Outcome,
    /// How they read.
    pub text: String,
}

/// A safety category with its detailed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Heading.
    pub name: String,
    /// What the policy mostly asks for here; all that a reader of the summaries learns.
    pub stance: Outcome,
    /// One line.
    pub summary: String,
    /// Definitions of terms, `term: meaning`.
    pub definitions: Vec<String>,
    /// The rules.
    pub clauses: Vec<Clause>,
    /// Style rules of this category (safe completions are topic-specific).
    pub styles: Vec<Style>,
    /// Line of the heading, from 1; 0 for a generated spec.
    #[serde(skip)]
    pub line: usize,
}

/// A safety policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Title.
    pub title: String,
    /// In order.
    pub categories: Vec<Category>,
    /// Style rules of all categories.
    pub styles: Vec<Style>,
}

/// What a model is shown of a spec. Its text may stand in a prompt that is sampled, never in one that is trained on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Brief(pub String);

/// What is wrong with a spec file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SpecError {
    /// From 1.
    pub line: usize,
    /// What, with the value and the way out.
    pub problem: String,
}

impl Spec {
    /// Reads the Markdown form above. Errors are the first of each line, all of them.
    pub fn parse(markdown: &str) -> Result<Spec, Vec<SpecError>> {
        let mut spec = Spec { title: String::new(), categories: Vec::new(), styles: Vec::new() };
        let mut errors = Vec::new();
        let mut section = Section::Front;
        for (index, text) in markdown.lines().enumerate() {
            let line = index + 1;
            if let Err(problem) = spec.read_line(text.trim(), line, &mut section) {
                errors.push(SpecError { line, problem });
            }
        }
        let end = markdown.lines().count().max(1);
        if spec.title.is_empty() {
            errors.push(SpecError {
                line: 1,
                problem: "no title: begin the file with `# Name of the policy`".to_owned(),
            });
        }
        if spec.categories.is_empty() {
            errors.push(SpecError { line: end, problem: "no category: add a `## Category` section".to_owned() });
        }
        let mut seen = std::collections::BTreeMap::new();
        for category in &spec.categories {
            if category.clauses.is_empty() {
                let problem = format!("category `{}` has no clause: add `- **X1** (refuse): when`", category.name);
                errors.push(SpecError { line: category.line, problem });
            }
            for clause in &category.clauses {
                if let Some(first) = seen.insert(&clause.id, clause.line) {
                    let problem =
                        format!("clause `{}` is already defined on line {first}: give it another id", clause.id);
                    errors.push(SpecError { line: clause.line, problem });
                }
            }
        }
        if errors.is_empty() { Ok(spec) } else { Err(errors) }
    }

    fn read_line(&mut self, text: &str, line: usize, section: &mut Section) -> Result<(), String> {
        if let Some(name) = text.strip_prefix("## ") {
            let name = name.trim();
            if name == "Style" {
                *section = Section::Style;
            } else if self.category(name).is_some() {
                return Err(format!("category `{name}` stands twice: merge the sections"));
            } else {
                *section = Section::Category;
                self.categories.push(Category {
                    name: name.to_owned(),
                    stance: Outcome::Comply,
                    summary: String::new(),
                    definitions: Vec::new(),
                    clauses: Vec::new(),
                    styles: Vec::new(),
                    line,
                });
            }
            return Ok(());
        }
        if let Some(title) = text.strip_prefix("# ") {
            self.title = title.trim().to_owned();
            return Ok(());
        }
        if let Some(item) = text.strip_prefix("- ") {
            if let Some(rest) = item.strip_prefix("style ") {
                let (outcome, text) = outcome_and_text(rest)?;
                let style = Style { outcome, text };
                match (&*section, self.categories.last_mut()) {
                    (Section::Style, _) => self.styles.push(style),
                    (Section::Category, Some(category)) => category.styles.push(style),
                    _ => return Err("a style rule before any section: move it under `## Style`".to_owned()),
                }
                return Ok(());
            }
            let Some(category) = self.categories.last_mut().filter(|_| matches!(section, Section::Category)) else {
                return match section {
                    Section::Front => Ok(()), // a list in the introduction is prose
                    _ => Err("not a style rule: write `- style (refuse): how it reads`".to_owned()),
                };
            };
            if let Some(rest) = item.strip_prefix("**") {
                let (id, rest) =
                    rest.split_once("**").ok_or("a clause id must end in `**`: write `- **C3** (refuse): when`")?;
                if !is_clause_id(id) {
                    return Err(format!(
                        "`{id}` is no clause id: use letters, then digits, such as `C3`, or two or three capitals, such as `CI`"
                    ));
                }
                let (outcome, text) =
                    outcome_and_text(rest.trim_start()).map_err(|problem| format!("clause `{id}`: {problem}"))?;
                category.clauses.push(Clause { id: ClauseId(id.to_owned()), outcome, text, line });
            } else if let Some(rest) = item.strip_prefix('*') {
                let (term, meaning) = rest.split_once("*:").ok_or("a definition reads `- *term*: meaning`")?;
                category.definitions.push(format!("{term}: {}", meaning.trim()));
            } else {
                return Err(format!(
                    "`- {item}` is neither a clause `- **C3** (refuse): when`, a definition `- *term*: meaning` nor a style rule"
                ));
            }
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("**")
            && let Some(category) = self.categories.last_mut().filter(|_| matches!(section, Section::Category))
        {
            let (stance, summary) = rest.split_once("**:").ok_or("a summary reads `**refuse**: one line`")?;
            category.stance = parse_outcome(stance)?;
            category.summary = summary.trim().to_owned();
        }
        Ok(()) // prose between the items is for people
    }

    /// The category called `name`.
    pub fn category(&self, name: &str) -> Option<&Category> {
        self.categories.iter().find(|it| it.name == name)
    }

    /// The clause `id` with its category.
    pub fn clause(&self, id: &ClauseId) -> Option<(&Category, &Clause)> {
        self.categories.iter().find_map(|category| Some((category, category.clauses.iter().find(|it| it.id == *id)?)))
    }

    /// spec(category) of section 2.4: summaries of all categories, the style rules, and the full text of one category.
    /// `None` if the spec has no such category.
    pub fn brief(&self, category: &str) -> Option<Brief> {
        use std::fmt::Write;
        let category = self.category(category)?;
        let Brief(mut text) = self.summaries();
        let _ = write!(text, "\n{}", category.name);
        for definition in &category.definitions {
            let _ = write!(text, "\n- {definition}");
        }
        for clause in &category.clauses {
            let _ = write!(text, "\n- {} {} {}", clause.text, clause.id, clause.outcome.word());
        }
        for style in &category.styles {
            let _ = write!(text, "\n- style {}: {}", style.outcome.word(), style.text);
        }
        Some(Brief(text))
    }

    /// The un-tailored brief: summaries of all categories and the style rules. What fits in a context when the category is
    /// not known (the spec-at-inference arm of figure 14).
    pub fn summaries(&self) -> Brief {
        use std::fmt::Write;
        let mut text = "policy".to_owned();
        for category in &self.categories {
            let _ = write!(text, "\n- {}: {}", category.name, category.stance.word());
            if !category.summary.is_empty() {
                let _ = write!(text, ", {}", category.summary);
            }
        }
        for style in &self.styles {
            let _ = write!(text, "\n- style {}: {}", style.outcome.word(), style.text);
        }
        Brief(text)
    }

    /// The Markdown that [`Spec::parse`] reads back.
    pub fn to_markdown(&self) -> String {
        use std::fmt::Write;
        let mut text = format!("# {}\n", self.title);
        for category in &self.categories {
            let _ = write!(text, "\n## {}\n**{}**: {}\n", category.name, category.stance.word(), category.summary);
            for definition in &category.definitions {
                let (term, meaning) = definition.split_once(": ").unwrap_or((definition, ""));
                let _ = writeln!(text, "- *{term}*: {meaning}");
            }
            for clause in &category.clauses {
                let _ = writeln!(text, "- **{}** ({}): {}", clause.id, clause.outcome.word(), clause.text);
            }
            for style in &category.styles {
                let _ = writeln!(text, "- style ({}): {}", style.outcome.word(), style.text);
            }
        }
        text.push_str("\n## Style\n");
        for style in &self.styles {
            let _ = writeln!(text, "- style ({}): {}", style.outcome.word(), style.text);
        }
        text
    }
}

enum Section {
    Front,
    Category,
    Style,
}

pub(crate) fn is_clause_id(id: &str) -> bool {
    let digits = id.trim_start_matches(|it: char| it.is_ascii_alphabetic());
    let letters = &id[..id.len() - digits.len()];
    let numbered = !letters.is_empty() && !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    let lettered =
        digits.is_empty() && (2..=3).contains(&letters.len()) && letters.bytes().all(|it| it.is_ascii_uppercase());
    numbered || lettered
}

fn parse_outcome(word: &str) -> Result<Outcome, String> {
    Outcome::parse(word).ok_or_else(|| format!("`{word}` is no outcome: use `comply`, `refuse` or `safe`"))
}

/// Reads `(refuse): text`.
fn outcome_and_text(rest: &str) -> Result<(Outcome, String), String> {
    let (outcome, text) = rest
        .strip_prefix('(')
        .and_then(|it| it.split_once("):"))
        .ok_or("the outcome is missing: write `(comply):`, `(refuse):` or `(safe):` before the text")?;
    let text = text.trim();
    if text.is_empty() {
        return Err("nothing follows the outcome: say when the rule applies".to_owned());
    }
    Ok((parse_outcome(outcome)?, text.to_owned()))
}
