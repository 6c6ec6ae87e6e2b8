//! What the fields of a config may be. Meaning, unit and range stand where a field is declared, as its doc comment and
//! `#[schemars(..)]`; here they are read, checked and put into words.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value};

/// A field of a config, or the whole of it.
#[derive(Clone, Debug)]
pub struct Field(Value);

/// The config `T` as a field.
pub fn of<T: JsonSchema>() -> Field {
    let settings = SchemaSettings::default().with(|it| {
        it.inline_subschemas = true;
        it.meta_schema = None;
    });
    Field(settings.into_generator().into_root_schema_for::<T>().to_value())
}

/// Refuses a config with a value out of its range, by the field's name.
pub fn check<T: JsonSchema + Serialize>(config: &T) -> anyhow::Result<()> {
    let value = serde_json::to_value(config)?;
    for (path, field) in of::<T>().leaves() {
        let found = path.iter().try_fold(&value, |it, key| it.get(key)).unwrap_or(&Value::Null);
        if let Some(problem) = field.refuse(found) {
            anyhow::bail!("{} {problem}", path.join("."));
        }
    }
    Ok(())
}

/// Parses a command-line value that the field `name` of the config `C` could have.
pub fn flag<C: JsonSchema, T>(name: &'static str) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + Into<f64> + Copy + 'static,
    T::Err: fmt::Display,
{
    move |text| {
        let value: T = text.parse().map_err(|it: T::Err| it.to_string())?;
        let field = of::<C>().field(name).ok_or_else(|| format!("no field `{name}`"))?;
        let number: f64 = value.into();
        if field.holds(number) { Ok(value) } else { Err(format!("must be {}, not {text}", field.range())) }
    }
}

impl Field {
    /// The field below it that is called `name`.
    pub fn field(&self, name: &str) -> Option<Field> {
        self.0["properties"].get(name).cloned().map(Field)
    }

    /// Every value below it: the names that lead there, and the field.
    pub fn leaves(&self) -> Vec<(Vec<String>, Field)> {
        let Some(properties) = self.properties() else { return vec![(Vec::new(), self.clone())] };
        let below = |(name, schema): (&String, &Value)| {
            let leaves = Field(schema.clone()).leaves().into_iter();
            leaves.map(|(path, it)| ([vec![name.clone()], path].concat(), it)).collect::<Vec<_>>()
        };
        properties.iter().flat_map(below).collect()
    }

    fn properties(&self) -> Option<&Map<String, Value>> {
        self.0.get("properties")?.as_object()
    }

    /// What it decides.
    pub fn meaning(&self) -> String {
        self.text("description").split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
    }

    /// What it is counted in, if in anything.
    pub fn unit(&self) -> Option<&str> {
        self.0.get("unit")?.as_str()
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Why it cannot be `value`. Types are not looked at: reading the config refuses wrong ones.
    pub fn refuse(&self, value: &Value) -> Option<String> {
        let is_in_range = match value {
            Value::Number(number) => number.as_f64().is_some_and(|it| self.holds(it)),
            Value::String(text) => self.choices().is_none_or(|it| it.iter().any(|it| it == text)),
            Value::Array(items) => {
                let item = self.item();
                let refused =
                    items.iter().find_map(|it| Some(format!("holds an item that {}", item.as_ref()?.refuse(it)?)));
                if refused.is_some() {
                    return refused;
                }
                let twice = items.iter().enumerate().find(|(at, it)| items[..*at].contains(it));
                if let (Some((_, twice)), true) = (twice, self.0["uniqueItems"] == true) {
                    return Some(format!("holds {twice} twice: each counts once, leave one out"));
                }
                self.bound("minItems").is_none_or(|it| items.len() as f64 >= it)
            }
            Value::Null if !self.is_optional() => return Some(format!("must be {}, and finite", self.range())),
            _ => true,
        };
        (!is_in_range).then(|| format!("must be {}, not {value}", self.range()))
    }

    fn holds(&self, number: f64) -> bool {
        let at_least = self.bound("minimum").is_none_or(|it| number >= it);
        let more_than = self.bound("exclusiveMinimum").is_none_or(|it| number > it);
        let at_most = self.bound("maximum").is_none_or(|it| number <= it);
        let less_than = self.bound("exclusiveMaximum").is_none_or(|it| number < it);
        number.is_finite() && at_least && more_than && at_most && less_than
    }

    fn bound(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }

    fn item(&self) -> Option<Field> {
        self.0.get("items").cloned().map(Field)
    }

    /// The words it must be one of.
    fn choices(&self) -> Option<Vec<String>> {
        let word = |it: &Value| Some(it.as_str()?.to_owned());
        if let Some(words) = self.0.get("enum").and_then(Value::as_array) {
            return words.iter().map(word).collect();
        }
        self.0.get("oneOf")?.as_array()?.iter().map(|it| word(it.get("const")?)).collect()
    }

    fn is_optional(&self) -> bool {
        self.0["type"].as_array().is_some_and(|it| it.contains(&Value::from("null")))
    }

    /// Its range in words: `1 to 5`, `more than 0, at most 1`, `f32 or bf16`.
    pub fn range(&self) -> String {
        let mut text = self.range_of_one();
        if self.is_optional() {
            text.push_str(", or left out");
        }
        text
    }

    fn range_of_one(&self) -> String {
        if let Some(item) = self.item() {
            let least = self.bound("minItems").map(|it| format!(" at least {it}")).unwrap_or_default();
            let distinct = if self.0["uniqueItems"] == true { ", all different" } else { "" };
            return format!("a list of{least}{distinct}, each {}", item.range()).replace("of,", "of items,");
        }
        if let Some(choices) = self.choices() {
            return choices.join(" or ");
        }
        let of_type = match &self.0["type"] {
            Value::Array(types) => types.first().and_then(Value::as_str).unwrap_or_default(),
            other => other.as_str().unwrap_or_default(),
        };
        match of_type {
            "boolean" => return "true or false".to_owned(),
            "string" => return "a text".to_owned(),
            _ => {}
        }
        let bounds = [
            (self.bound("minimum"), "at least"),
            (self.bound("exclusiveMinimum"), "more than"),
            (self.bound("maximum"), "at most"),
            (self.bound("exclusiveMaximum"), "less than"),
        ];
        let kind = if of_type == "integer" { "a whole number" } else { "a number" };
        let bounds: Vec<String> = bounds.iter().filter_map(|(it, how)| Some(format!("{how} {}", (*it)?))).collect();
        format!("{kind}, {}", bounds.join(", ")).trim_end_matches(", ").to_owned()
    }
}
