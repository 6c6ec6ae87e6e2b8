//! `config`: what can be set, what it means, and what it may be.

use std::fmt::Write;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Exit, deliberate, pretrain, quickstart};
use crate::config::{Named, nearest};
use crate::output::{self, Usage};
use crate::ranges::{self, Field};

/// Arguments of `config`.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// A recipe (`deliberate`), a named config of it (`tiny`), a table (`rl.sampling`) or a key (`clip`)
    #[arg(long, value_name = "NAME", default_value = "deliberate")]
    pub explain: String,
    /// Print keys, meanings, units, ranges and defaults as JSON
    #[arg(long)]
    pub json: bool,
}

/// A recipe and what its configs hold.
struct Recipe {
    command: &'static str,
    ranges: Field,
    configs: Vec<(&'static str, Value)>,
}

impl Recipe {
    fn of<T: Serialize + schemars::JsonSchema>(command: &'static str, named: &Named<T>) -> anyhow::Result<Recipe> {
        // Through text: `f32` fields keep their short spelling.
        let value = |make: fn() -> T| serde_json::from_str(&serde_json::to_string(&make())?);
        let configs = named.iter().map(|(name, make)| Ok((*name, value(*make)?))).collect::<serde_json::Result<_>>()?;
        Ok(Recipe { command, ranges: ranges::of::<T>(), configs })
    }

    /// The values of the named config, or of the first.
    fn values(&self, config: Option<&str>) -> &Value {
        let named = self.configs.iter().find(|it| Some(it.0) == config);
        &named.unwrap_or(&self.configs[0]).1
    }

    /// Every key with its field.
    fn keys(&self) -> Vec<(String, Field)> {
        self.ranges.leaves().into_iter().map(|(path, field)| (path.join("."), field)).collect()
    }
}

/// What a user asked to have explained, in one recipe.
struct Subject<'a> {
    recipe: &'a Recipe,
    config: Option<&'a str>,
    /// Only keys that are called or begin so.
    keys: Option<&'a str>,
}

impl Subject<'_> {
    fn holds(&self, key: &str) -> bool {
        let Some(wanted) = self.keys else { return true };
        key == wanted
            || key.strip_suffix(wanted).is_some_and(|it| it.ends_with('.'))
            || key.strip_prefix(wanted).is_some_and(|it| it.starts_with('.'))
    }
}

/// Explains, as a TOML file that could be given to `--config`.
pub fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let recipes = [
        Recipe::of("deliberate", deliberate::NAMED)?,
        Recipe::of("quickstart", quickstart::NAMED)?,
        Recipe::of("pretrain", pretrain::NAMED)?,
    ];
    let subjects = subjects(&recipes, &args.explain)?;
    if args.json {
        let rows = subjects.iter().flat_map(|it| {
            let keys = it.recipe.keys().into_iter().filter(|(key, _)| it.holds(key));
            keys.map(|(key, field)| {
                json!({
                    "recipe": it.recipe.command, "key": key, "meaning": field.meaning(), "unit": field.unit(),
                    "range": field.range(), "default": at(it.recipe.values(it.config), &key),
                })
            })
        });
        output::print_json(&rows.collect::<Vec<_>>())?;
    } else {
        output::print(&subjects.iter().map(toml).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(Exit::Ok)
}

fn subjects<'a>(recipes: &'a [Recipe], name: &'a str) -> anyhow::Result<Vec<Subject<'a>>> {
    let whole = |recipe, config| Subject { recipe, config, keys: None };
    if let Some(recipe) = recipes.iter().find(|it| it.command == name) {
        return Ok(vec![whole(recipe, None)]);
    }
    let with: Vec<_> = recipes.iter().filter(|it| it.configs.iter().any(|(it, _)| *it == name)).collect();
    if !with.is_empty() {
        return Ok(with.into_iter().map(|it| whole(it, Some(name))).collect());
    }
    let (of, key) = match name.split_once('.') {
        Some((first, key)) if recipes.iter().any(|it| it.command == first) => (Some(first), key),
        _ => (None, name),
    };
    // `quickstart` has the keys of `deliberate`.
    let asked = recipes.iter().filter(|it| of.map_or(it.command != "quickstart", |of| it.command == of));
    let found = asked.map(|recipe| Subject { recipe, config: None, keys: Some(key) });
    let found: Vec<_> = found.filter(|it| it.recipe.keys().iter().any(|(key, _)| it.holds(key))).collect();
    if found.is_empty() {
        let keys: Vec<String> = recipes.iter().flat_map(Recipe::keys).map(|it| it.0).collect();
        let last = |key: &'_ str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let near = nearest(key, keys.iter().map(String::as_str)).map(str::to_owned);
        let near = near.or_else(|| keys.iter().map(|it| last(it)).find(|it| strsim::jaro_winkler(it, key) > 0.75));
        let near = near.map(|it| format!("did you mean `{it}`? ")).unwrap_or_default();
        return Err(Usage(format!(
            "nothing in a config is called `{name}`: {near}`collimate config --explain deliberate` shows all there is"
        ))
        .into());
    }
    Ok(found)
}

fn at<'a>(values: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(values, |it, name| &it[name])
}

fn toml(subject: &Subject<'_>) -> String {
    let Subject { recipe, config, .. } = subject;
    let config = config.unwrap_or(recipe.configs[0].0);
    let (command, names) = (recipe.command, recipe.configs.iter().map(|it| it.0).collect::<Vec<_>>().join(", "));
    let mut text = comment(&format!(
        "A config of `collimate {command}`, with the values of `{config}` (there are {names}). Leave out what should stay as it is."
    ));
    let _ = writeln!(text, "base = \"{config}\"");
    let (all, mut table) = (recipe.keys(), "");
    let mut keys = all.clone();
    // The keys of a table stand together, those of tables below it after them.
    keys.sort_by_key(|(key, _)| table_of(&all, key));
    let keys: Vec<_> = keys.into_iter().filter(|(key, _)| subject.holds(key)).collect();
    for (key, field) in &keys {
        let (of, name) = key.rsplit_once('.').unwrap_or(("", key));
        if of != table {
            table = of;
            let _ = write!(text, "\n[{table}]\n");
        } else {
            text.push('\n');
        }
        let unit = field.unit().map(|it| format!(" In {it}.")).unwrap_or_default();
        text.push_str(&comment(&format!("{}{unit} May be {}.", field.meaning(), field.range())));
        let _ = match at(recipe.values(subject.config), key) {
            Value::Null => writeln!(text, "# {name} ="),
            value => writeln!(text, "{name} = {value}"),
        };
    }
    text
}

/// Where the table of `key` stands: by the first key of it.
fn table_of(keys: &[(String, Field)], key: &str) -> (bool, usize) {
    let table = |key: &str| key.rsplit_once('.').map_or(String::new(), |it| it.0.to_owned());
    let of = table(key);
    // A table below another comes after all of that one's own keys, which is where the table above it begins.
    let first = keys.iter().position(|(it, _)| table(it) == of).unwrap_or_default();
    (!of.is_empty(), first)
}

/// Text as comment lines of up to 100 characters.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|it| it.len() + word.len() > 99) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.iter().map(|it| format!("{it}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    fn explained<T: Serialize + serde::de::DeserializeOwned + schemars::JsonSchema + PartialEq + std::fmt::Debug>(
        command: &'static str,
        named: &Named<T>,
        check: impl Fn(&T) -> anyhow::Result<()>,
    ) {
        let recipe = Recipe::of(command, named).expect("plain data");
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, make) in named {
            check(&make()).unwrap_or_else(|it| panic!("{command} {name}: {it}"));
            let text = toml(&Subject { recipe: &recipe, config: Some(name), keys: None });
            let file = dir.path().join("mine.toml");
            collimate_run::write_whole(&file, text.as_bytes()).expect("a file");
            let read = resolve::<T>(file.to_str().expect("UTF-8"), named).unwrap_or_else(|it| panic!("{it}\n{text}"));
            assert_eq!(read, make(), "{text}");
        }
        for (key, field) in recipe.keys() {
            assert!(!field.meaning().is_empty(), "{command}: `{key}` has no doc comment");
        }
    }

    #[test]
    fn fault_28_every_key_is_documented_and_what_explains_them_is_a_config() {
        explained("deliberate", deliberate::NAMED, |it| it.check());
        explained("quickstart", quickstart::NAMED, |it| it.check());
        explained("pretrain", pretrain::NAMED, |it| it.check());
    }
}
