//! What every section of a card has, and how its part of the page is written. Numbers become texts in the section's file; its
//! template lays them out. Every text is escaped, and control and direction characters in it are made visible: model output is
//! data, never markup.

use collimate_schema::Hash;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use super::facts::RunFacts;
use super::numbers::Numbers;

/// A section of a card.
pub(super) trait Part {
    /// Its name in files and links.
    fn key(&self) -> &'static str;

    /// Its name in the list of sections.
    fn name(&self) -> &'static str;

    /// What stands above it.
    fn heading(&self) -> &'static str {
        self.name()
    }

    /// Every artefact that something in it rests on, with what rests on it.
    fn evidence<'a>(&'a self, _: &'a Numbers) -> Vec<(String, &'a Hash)> {
        Vec::new()
    }

    /// Whether what it says follows from the card's numbers.
    fn follows(&self, _: &Numbers) -> bool {
        true
    }

    /// What it says in a word or two, for the head of the page.
    fn chips(&self) -> Vec<Value> {
        Vec::new()
    }

    /// Its part of the page, below its heading.
    fn html(&self, page: &Page<'_>) -> Value;
}

/// What a section may show of the rest of its card.
pub(super) struct Page<'a> {
    /// What was run.
    pub(super) run: &'a RunFacts,
    /// What was measured.
    pub(super) numbers: &'a Numbers,
    /// What rests on which artefact, over the whole card.
    pub(super) evidence: &'a [(String, &'a Hash)],
}

/// Fills `template` with `context`; the result is markup.
pub(super) fn render(template: &str, context: Value) -> Value {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => minijinja::escape_formatter(out, state, &Value::from(visible(text))),
        _ => minijinja::escape_formatter(out, state, value),
    });
    env.add_template("chip.html", include_str!("chip.html")).expect("the embedded template parses: a test renders it");
    env.add_template("hint.html", include_str!("hint.html")).expect("the embedded template parses: a test renders it");
    let page = env.render_str(template, context).expect("a template asks only for what it is given: a test renders it");
    Value::from_safe_string(page)
}

/// `text` with characters that act on the text around them spelt out.
fn visible(text: &str) -> String {
    let acts = |it: char| {
        it.is_control() && it != '\n' && it != '\t'
            || matches!(it, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().flat_map(|it| if acts(it) { it.escape_unicode().collect::<Vec<_>>() } else { vec![it] }).collect()
}
