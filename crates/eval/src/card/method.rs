//! What was done, and how much of what went into it.

use collimate_schema::Hash;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::facts::Evidenced;
use super::numbers::Numbers;
use super::part::{Page, Part, render};

/// How many of something went into a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataCount {
    /// The stage, such as `SFT`.
    pub stage: String,
    /// What was counted, such as `prompts`.
    pub what: String,
    /// How many.
    pub n: u64,
}

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// What went into the stages.
    pub data: Vec<Evidenced<DataCount>>,
}

impl Part for Method {
    fn key(&self) -> &'static str {
        "method"
    }

    fn name(&self) -> &'static str {
        "Method and data"
    }

    fn evidence<'a>(&'a self, _: &'a Numbers) -> Vec<(String, &'a Hash)> {
        self.data.iter().map(|it| (format!("{}: {}", it.value.stage, it.value.what), &it.evidence)).collect()
    }

    fn html(&self, page: &Page<'_>) -> Value {
        let row = |it: &Evidenced<DataCount>| context! { evidence => it.evidence, ..Value::from_serialize(&it.value) };
        let data: Vec<Value> = self.data.iter().map(row).collect();
        let paper = page.numbers.paper;
        render(include_str!("method.html"), context! { title => paper.title, method => paper.method, data })
    }
}
