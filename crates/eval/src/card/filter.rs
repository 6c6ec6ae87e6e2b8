//! What the filter did.

use collimate_schema::Hash;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::facts::Evidenced;
use super::numbers::Numbers;
use super::part::{Page, Part, render};
use crate::filter::{FateCounts, FilterReport};

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// One for each training seed.
    pub filters: Vec<Evidenced<FilterReport>>,
}

impl Part for Filter {
    fn key(&self) -> &'static str {
        "filter"
    }

    fn name(&self) -> &'static str {
        "Filter"
    }

    fn evidence<'a>(&'a self, _: &'a Numbers) -> Vec<(String, &'a Hash)> {
        self.filters.iter().map(|it| ("filter report".to_owned(), &it.evidence)).collect()
    }

    fn html(&self, _: &Page<'_>) -> Value {
        let filters: Vec<Value> = self.filters.iter().map(filter).collect();
        render(include_str!("filter.html"), context! { filters })
    }
}

fn filter(Evidenced { evidence, value }: &Evidenced<FilterReport>) -> Value {
    let row = |name: &str, it: &FateCounts| {
        context! {
            name,
            all => it.all,
            kept => it.kept,
            malformed => it.n_malformed(),
            leans => it.leans_on_context,
            below => it.below_threshold,
            unscored => it.n_unscored(),
            unjudged => it.unjudged,
            yield => it.yield_rate().to_string(),
        }
    };
    let reasons = |kinds: Vec<(Value, u32)>| {
        kinds
            .into_iter()
            .map(|(why, n)| format!("{} {n}", why.to_string().replace('_', " ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let rows: Vec<Value> = std::iter::once(row("all", &value.all))
        .chain(value.by_category.iter().map(|(name, counts)| row(name, counts)))
        .collect();
    context! {
        evidence,
        threshold => value.threshold,
        rows,
        leaning => value.all.leaning_rate().to_string(),
        malformed => reasons(value.all.malformed.iter().map(|(why, n)| (Value::from_serialize(why), *n)).collect()),
        unscored => reasons(value.all.unscored.iter().map(|(why, n)| (Value::from_serialize(why), *n)).collect()),
        opinions => value.opinions,
    }
}
