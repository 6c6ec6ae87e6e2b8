//! A recipe's config: a named one, or a TOML file that names one and overrides fields.
//!
//! ```toml
//! base = "tiny"     # a named config; `base` if left out
//! seed = 2
//! [sft]
//! steps = 40        # every other field stays as in `tiny`
//! ```

use std::ops::Range;
use std::path::Path;

use anyhow::{anyhow, bail};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::files::read_text;
use crate::output::Usage;
use crate::ranges;

/// The named configs of a recipe: `&[("base", base), ("tiny", tiny)]`.
pub type Named<T> = [(&'static str, fn() -> T)];

/// What `given` stands for: one of `named`, or a path to a TOML file. Unknown names and keys are errors with a suggestion, and so
/// are values out of their range.
pub fn resolve<T: Serialize + DeserializeOwned + JsonSchema>(given: &str, named: &Named<T>) -> anyhow::Result<T> {
    if let Some((_, config)) = named.iter().find(|(name, _)| *name == given) {
        return Ok(config());
    }
    let path = Path::new(given);
    if !path.exists() && path.extension().is_none_or(|it| it != "toml") {
        return Err(Usage(format!("unknown config `{given}`: {}", choices(given, named))).into());
    }
    let text = read_text(path, "config")?;
    Recipe { place: given, text: &text }.resolve(named)
}

fn choices<T>(given: &str, named: &Named<T>) -> String {
    let names: Vec<_> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
    let near = nearest(given, named.iter().map(|(name, _)| *name));
    let near = near.map(|it| format!("did you mean `{it}`? ")).unwrap_or_default();
    format!("{near}use {} or a TOML file", names.join(", "))
}

/// A TOML file.
struct Recipe<'a> {
    place: &'a str,
    text: &'a str,
}

impl Recipe<'_> {
    fn resolve<T: Serialize + DeserializeOwned + JsonSchema>(&self, named: &Named<T>) -> anyhow::Result<T> {
        let table = DeTable::parse(self.text)
            .map_err(|it| anyhow!("{}: {}", self.at(&it.span().unwrap_or(0..0)), it.message().replace('\n', ", ")))?;
        let base = match table.get_ref().get("base") {
            None => "base",
            Some(value) => match value.get_ref() {
                DeValue::String(name) => name,
                _ => bail!("{}: `base` names a config: write `base = \"tiny\"`", self.at(&value.span())),
            },
        };
        let Some((_, config)) = named.iter().find(|(name, _)| *name == base) else {
            bail!("{}: unknown base `{base}`: {}", self.at(&table.get_ref()["base"].span()), choices(base, named));
        };
        let mut fields = match serde_json::to_value(config())? {
            Value::Object(fields) => fields,
            other => bail!("a config is a struct, not {other}"),
        };
        let ranges = ranges::of::<T>();
        for leaf in self.leaves(&fields, table.get_ref())? {
            leaf.set(&mut fields);
            let (at, name) = (self.at(&leaf.span), leaf.path.join("."));
            serde_json::from_value::<T>(Value::Object(fields.clone())).map_err(|it| anyhow!("{at}: `{name}`: {it}"))?;
            let field = leaf.path.iter().try_fold(ranges.clone(), |it, key| it.field(key));
            if let Some(problem) = field.and_then(|it| it.refuse(&leaf.value)) {
                bail!("{at}: `{name}` {problem}");
            }
        }
        Ok(serde_json::from_value(Value::Object(fields))?)
    }

    /// Every field that the file overrides, in its order. All keys exist in `base`.
    fn leaves(&self, base: &Map<String, Value>, table: &DeTable<'_>) -> anyhow::Result<Vec<Leaf>> {
        let mut leaves = Vec::new();
        self.collect(base, table, &[], &mut leaves)?;
        leaves.sort_by_key(|it| it.span.start);
        Ok(leaves)
    }

    fn collect(
        &self,
        base: &Map<String, Value>,
        table: &DeTable<'_>,
        above: &[String],
        leaves: &mut Vec<Leaf>,
    ) -> anyhow::Result<()> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if above.is_empty() && name == "base" {
                continue;
            }
            let path = [above, &[name.to_owned()]].concat();
            let Some(field) = base.get(name) else {
                let near = nearest(name, base.keys().map(String::as_str));
                let near = near.map_or_else(
                    || format!("the fields here are {}", base.keys().cloned().collect::<Vec<_>>().join(", ")),
                    |it| format!("did you mean `{it}`?"),
                );
                bail!("{}: unknown key `{}`: {near}", self.at(&key.span()), path.join("."));
            };
            let (at, name) = (self.at(&value.span()), path.join("."));
            match (field, value.get_ref()) {
                (Value::Object(inner), DeValue::Table(table)) => self.collect(inner, table, &path, leaves)?,
                (Value::Object(_), _) => bail!("{at}: `{name}` is a table: write `[{name}]` and its keys below it"),
                (_, DeValue::Table(_)) => bail!("{at}: `{name}` is one value, not a table"),
                _ => {
                    let value_of = self.json(value).map_err(|it| anyhow!("{at}: `{name}`: {it}"))?;
                    leaves.push(Leaf { path, value: value_of, span: value.span() });
                }
            }
        }
        Ok(())
    }

    fn json(&self, value: &Spanned<DeValue<'_>>) -> anyhow::Result<Value> {
        let unusable = || {
            let text = &self.text[value.span()];
            anyhow!("`{text}` is no value of a config: numbers are finite and below 2^64, and there are no dates")
        };
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(it) => Value::from(*it),
            DeValue::Integer(it) => match i64::from_str_radix(it.as_str(), it.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(u64::from_str_radix(it.as_str(), it.radix()).map_err(|_| unusable())?),
            },
            DeValue::Float(it) => {
                let number: f64 = it.as_str().parse().map_err(|_| unusable())?;
                serde_json::Number::from_f64(number).map(Value::Number).ok_or_else(unusable)?
            }
            DeValue::Array(items) => items.iter().map(|it| self.json(it)).collect::<Result<_, _>>()?,
            DeValue::Table(table) => {
                let pairs = table.iter().map(|(key, it)| Ok((key.get_ref().as_ref().to_owned(), self.json(it)?)));
                Value::Object(pairs.collect::<anyhow::Result<_>>()?)
            }
            DeValue::Datetime(_) => return Err(unusable()),
        })
    }

    /// `file:line:column` of a place in the text.
    fn at(&self, span: &Range<usize>) -> String {
        let before = &self.text[..span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
        format!("{}:{line}:{column}", self.place)
    }
}

struct Leaf {
    path: Vec<String>,
    value: Value,
    span: Range<usize>,
}

impl Leaf {
    fn set(&self, fields: &mut Map<String, Value>) {
        let (name, above) = self.path.split_last().expect("a leaf has a name");
        let inner = above.iter().fold(fields, |it, key| it[key].as_object_mut().expect("collected from an object"));
        inner.insert(name.clone(), self.value.clone());
    }
}

/// The nearest of `known`, if it is near.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|it| (strsim::jaro_winkler(given, it), it)).max_by(|a, b| a.0.total_cmp(&b.0));
    near.filter(|(similarity, _)| *similarity > 0.75).map(|(_, it)| it)
}

#[cfg(test)]
mod tests;
