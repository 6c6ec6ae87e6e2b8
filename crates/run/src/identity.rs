//! What makes two runs the same: the recipe and its full config.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use collimate_schema::Hash;

use crate::error::{RunError, corrupt};
use crate::whole::{pretty, write_whole};

const CONFIG: &str = "config.json";

/// The content of `config.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) recipe: String,
    pub(crate) hash: Hash,
    pub(crate) config: Value,
}

impl Identity {
    pub(crate) fn of(path: &Path, recipe: &str, config: &impl Serialize) -> Result<Identity, RunError> {
        // Through text, as it will be read back: `f32` fields keep their short spelling.
        let parsed = serde_json::to_string(config).and_then(|it| serde_json::from_str(&it));
        let config: Value = parsed.map_err(|it| corrupt(&path.join(CONFIG), it.line(), &it))?;
        Ok(Identity { recipe: recipe.to_owned(), hash: Hash::of_json(&(recipe, &config)), config })
    }

    /// `None` if the folder has no `config.json`, or somebody else's, such as a checkpoint's.
    pub(crate) fn read(folder: &Path) -> Result<Option<Identity>, RunError> {
        let path = folder.join(CONFIG);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(RunError::io("read", &path, source)),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(CONFIG);
        write_whole(&path, &pretty(&path, self)?)
    }

    /// Each field in which a run `given` now differs from this one, with both values.
    pub(crate) fn differences(&self, given: &Identity) -> Vec<String> {
        let mut fields = Vec::new();
        if self.recipe != given.recipe {
            fields.push(format!("recipe is `{}` there, `{}` here", self.recipe, given.recipe));
        }
        compare("", &self.config, &given.config, &mut fields);
        fields
    }
}

fn compare(place: &str, stored: &Value, given: &Value, fields: &mut Vec<String>) {
    if stored == given {
        return;
    }
    let (Value::Object(left), Value::Object(right)) = (stored, given) else {
        let name = if place.is_empty() { "config" } else { place };
        fields.push(format!("{name} is {stored} there, {given} here"));
        return;
    };
    let keys = left.keys().chain(right.keys().filter(|it| !left.contains_key(*it)));
    for key in keys {
        let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        match (left.get(key), right.get(key)) {
            (Some(stored), Some(given)) => compare(&inner, stored, given, fields),
            (Some(stored), None) => fields.push(format!("{inner} is {stored} there, absent here")),
            (None, given) => fields.push(format!("{inner} is absent there, {} here", given.unwrap_or(&Value::Null))),
        }
    }
}
