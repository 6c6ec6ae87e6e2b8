//! The weights of a checkpoint in one safetensors file or in several, with an index that says which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use safetensors::SafeTensors;
use serde_json::Value;

use super::TensorsError;
use super::read::{NamedTensors, open, read_values, values};
use crate::Param;
use crate::json::{excerpt, parse};

/// Reads from the bytes of a file the tensors of `parameters`, each under `prefix` + its name, and nothing else under that
/// prefix. Vectors come back as [1, D].
pub fn read_tensors(
    bytes: &[u8],
    parameters: &[Param],
    prefix: &str,
    device: &Device,
) -> Result<BTreeMap<String, Tensor<2>>, TensorsError> {
    let values = read_values(&Shards::one("", bytes)?, parameters, prefix, &|_| false)?;
    let tensor = |(param, values): (&Param, Vec<f32>)| {
        (param.name.clone(), Tensor::from_data(TensorData::new(values, param.rows_and_columns()), device))
    };
    Ok(parameters.iter().zip(values).map(tensor).collect())
}

/// Files, of which no two have a tensor of one name.
pub(crate) struct Shards<'a> {
    files: Vec<(&'a str, SafeTensors<'a>)>,
    places: BTreeMap<String, usize>,
}

impl<'a> Shards<'a> {
    /// One file, `name`, with these bytes.
    pub(crate) fn one(name: &'a str, bytes: &'a [u8]) -> Result<Shards<'a>, TensorsError> {
        Shards::new(vec![(name, open(bytes)?)])
    }

    /// Several files, each with its name.
    pub(crate) fn new(files: Vec<(&'a str, SafeTensors<'a>)>) -> Result<Shards<'a>, TensorsError> {
        let mut places = BTreeMap::new();
        for (place, (file, tensors)) in files.iter().enumerate() {
            for name in tensors.names() {
                if let Some(other) = places.insert(name.to_owned(), place) {
                    let found = format!("in {} and in {file}", files[other].0);
                    return Err(TensorsError::Misplaced { name: excerpt(name), found });
                }
            }
        }
        Ok(Shards { files, places })
    }
}

impl NamedTensors for Shards<'_> {
    fn name(&self) -> &str {
        match &self.files[..] {
            [(name, _)] => name,
            _ => "model.safetensors.index.json",
        }
    }

    fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (_, file) = &self.files[*self.places.get(name)?];
        Some(file.tensor(name).ok()?.shape().to_vec())
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, TensorsError> {
        let missing = || TensorsError::Missing(excerpt(name));
        let (_, file) = &self.files[*self.places.get(name).ok_or_else(missing)?];
        values(name, &file.tensor(name)?)
    }
}

/// A `model.safetensors.index.json`.
pub(crate) struct ShardIndex(BTreeMap<String, String>);

impl ShardIndex {
    /// Reads a file. The files that it names are beside it.
    pub(crate) fn from_json(json: &[u8]) -> Result<ShardIndex, TensorsError> {
        let index = parse(json).map_err(|it| TensorsError::Index(it.to_string()))?;
        let map = index["weight_map"].as_object().filter(|it| !it.is_empty());
        let map = map.ok_or_else(|| TensorsError::Index("it has no `weight_map`".to_owned()))?;
        let entry = |(tensor, file): (&String, &Value)| {
            let is_beside = |it: &&str| it.ends_with(".safetensors") && !it.contains(['/', '\\']);
            let name = file.as_str().filter(is_beside).ok_or_else(|| {
                let (tensor, file) = (excerpt(tensor), excerpt(&file.to_string()));
                TensorsError::Index(format!("`{tensor}` is in {file}, which is no safetensors file beside it"))
            })?;
            Ok((tensor.clone(), name.to_owned()))
        };
        Ok(ShardIndex(map.iter().map(entry).collect::<Result<_, TensorsError>>()?))
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str).collect::<BTreeSet<_>>().into_iter()
    }

    /// An error unless each tensor is where the index says.
    pub(crate) fn check(&self, shards: &Shards<'_>) -> Result<(), TensorsError> {
        for (name, file) in &self.0 {
            let place = shards.places.get(name).map(|it| shards.files[*it].0);
            if place != Some(file) {
                let found = format!("in {}, and by the index in {file}", place.unwrap_or("no file"));
                return Err(TensorsError::Misplaced { name: excerpt(name), found });
            }
        }
        Ok(())
    }
}
