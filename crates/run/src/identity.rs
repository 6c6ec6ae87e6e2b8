//! What makes two runs the same: the recipe and its full config.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use collimate_schema::Hash;

use crate::error::RunError;
use crate::finite::finite;
use crate::lineage::LINEAGE;
use crate::lock::LOCK;
use crate::whole::{pretty, regular, write_whole};

pub(crate) const CONFIG: &str = "config.json";

/// The content of `config.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) recipe: String,
    pub(crate) hash: Hash,
    pub(crate) config: Value,
}

impl Identity {
    pub(crate) fn of(path: &Path, recipe: &str, config: &impl Serialize) -> Result<Identity, RunError> {
        let unwritable = |problem| RunError::Unwritable { path: path.join(CONFIG), problem };
        finite(config).map_err(unwritable)?;
        // As it will be read back: `f32` fields keep their short spelling, and a long number may lose its last digit.
        let config = reread(config).and_then(|it| reread(&it)).map_err(|it| unwritable(it.to_string()))?;
        Ok(Identity { recipe: recipe.to_owned(), hash: hash_of(recipe, &config), config })
    }

    /// `None` if the folder has no `config.json`, or somebody else's, such as a checkpoint's.
    pub(crate) fn read(folder: &Path) -> Result<Option<Identity>, RunError> {
        let path = folder.join(CONFIG);
        regular(&path)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(RunError::io("read", &path, source)),
        };
        let damaged = |problem| Err(RunError::DamagedConfig { path: path.clone(), problem });
        match serde_json::from_slice::<Identity>(&bytes) {
            Ok(it) if it.hash == hash_of(&it.recipe, &it.config) => Ok(Some(it)),
            Ok(it) => damaged(format!("it says hash {}, which is not that of its content", it.hash)),
            Err(error) if [LINEAGE, LOCK].iter().any(|it| folder.join(it).exists()) => damaged(error.to_string()),
            Err(_) => Ok(None),
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

fn reread(value: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::from_str(&serde_json::to_string(value)?)
}

fn hash_of(recipe: &str, config: &Value) -> Hash {
    Hash::of_json(&(recipe, config))
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
