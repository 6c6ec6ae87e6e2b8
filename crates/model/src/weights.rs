//! The weights of a transformer, by Hugging Face tensor name: drawn from a seed, read from and written to checkpoint
//! directories (`config.json`, `model.safetensors`), addressed by their content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_schema::{Hash, Hasher, Seed};
use rand::Rng;
use rayon::prelude::*;

use crate::bounds;
use crate::files::{map_file, read_file};
use crate::json::excerpt;
use crate::tensors::{NamedTensors, ShardIndex, Shards, Stored, TensorFile, TensorsError, open, read_values};
use crate::{ConfigError, Ends, HfConfig, Param, Role, Shape, ShapeError};

/// Named f32 tensors on a plain device, exactly those of [`Shape::parameters`]. Matrices are [out, in] as in Transformers;
/// vectors (norms) are held as [1, D].
#[derive(Clone, Debug)]
pub struct Weights {
    shape: Shape,
    config: HfConfig,
    tensors: BTreeMap<String, Tensor<2>>,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A checkpoint is never overwritten.
    #[error("{}: already exists: choose another directory or remove it", .0.display())]
    Exists(PathBuf),
    /// The config does not describe a model of ours.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tensors are not those of the config, cannot be computed with, or cannot be written.
    #[error("{file}: {source}")]
    Tensors {
        /// Which file.
        file: String,
        /// Why.
        source: TensorsError,
    },
    /// The directory has no weights that are read.
    #[error("{}: it has no model.safetensors and no model.safetensors.index.json{found}", dir.display())]
    None {
        /// Which directory.
        dir: PathBuf,
        /// What it has instead, and what to do.
        found: String,
    },
}

/// What went wrong with `file`.
fn of_file(file: &str) -> impl Fn(TensorsError) -> WeightsError {
    move |error| match error {
        TensorsError::Io { path, source } => WeightsError::Io { path, source },
        source => WeightsError::Tensors { file: file.to_owned(), source },
    }
}

/// The file of weights, where there is one.
const ONE_FILE: &str = "model.safetensors";
/// Which tensor is in which file, where there are several.
const INDEX: &str = "model.safetensors.index.json";

impl Weights {
    /// Fresh weights: the embedding normal with standard deviation 0.1, matrices with 0.02, those that write to the residual
    /// stream divided by sqrt(2 layers), norms one. Each tensor draws from `seed`'s child of its name: the same bits on every machine.
    pub fn init(shape: &Shape, ends: &Ends, seed: Seed, device: &Device) -> Result<Weights, ShapeError> {
        shape.check()?;
        let tensors = shape.parameters().into_iter().map(|param| {
            let values = TensorData::new(drawn(&param, shape.n_layers, seed), param.rows_and_columns());
            (param.name, Tensor::from_data(values, device))
        });
        Ok(Weights { shape: shape.clone(), config: HfConfig::of(shape, ends), tensors: tensors.collect() })
    }

    /// Reads a checkpoint directory: its weights are in one file or in several, in f32, bf16 or f16.
    pub fn load(dir: &Path, device: &Device) -> Result<Weights, WeightsError> {
        let path = dir.join("config.json");
        let config = read_file(&path).map_err(|source| WeightsError::Io { path, source })?;
        Weights::load_as(HfConfig::from_json(config)?, dir, device)
    }

    /// The same with the content of its `config.json`.
    pub(crate) fn load_as(config: HfConfig, dir: &Path, device: &Device) -> Result<Weights, WeightsError> {
        let path = |name: &str| dir.join(name);
        let io = |name: &str| {
            let path = path(name);
            |source| WeightsError::Io { path, source }
        };
        if !path(ONE_FILE).exists() && !path(INDEX).exists() {
            return Err(WeightsError::None { dir: dir.to_owned(), found: instead(dir) });
        }
        if path(ONE_FILE).exists() {
            let bytes = map_file(&path(ONE_FILE)).map_err(io(ONE_FILE))?;
            let file = Shards::one(ONE_FILE, &bytes).map_err(of_file(ONE_FILE))?;
            return Weights::from_tensors(config, &file, device);
        }
        let index = read_file(&path(INDEX)).map_err(io(INDEX))?;
        let index = ShardIndex::from_json(&index).map_err(of_file(INDEX))?;
        let files = index.files().map(|name| Ok((name, map_file(&path(name)).map_err(io(name))?)));
        let files = files.collect::<Result<Vec<_>, WeightsError>>()?;
        let shards = files.iter().map(|(name, bytes)| Ok((*name, open(bytes).map_err(of_file(name))?)));
        let shards = Shards::new(shards.collect::<Result<_, WeightsError>>()?).map_err(of_file(INDEX))?;
        index.check(&shards).map_err(of_file(INDEX))?;
        Weights::from_tensors(config, &shards, device)
    }

    /// Reads a checkpoint from the bytes of its `config.json` and `model.safetensors`.
    pub fn from_bytes(config: &[u8], safetensors: &[u8], device: &Device) -> Result<Weights, WeightsError> {
        let file = Shards::one(ONE_FILE, safetensors).map_err(of_file(ONE_FILE))?;
        Weights::from_tensors(HfConfig::from_json(config)?, &file, device)
    }

    /// What `config` describes, out of `tensors`; what it says is compared with what they are before anything of such a size is
    /// made.
    pub(crate) fn from_tensors(
        config: HfConfig,
        tensors: &dyn NamedTensors,
        device: &Device,
    ) -> Result<Weights, WeightsError> {
        let shape = config.shape()?;
        config.ends()?;
        let file = tensors.name();
        let names = tensors.names();
        let n_layers = names.iter().filter(|it| it.ends_with(".input_layernorm.weight")).count();
        if n_layers != shape.n_layers {
            let (field, found) = ("num_hidden_layers", shape.n_layers.to_string());
            let expected = format!("{n_layers}, as {file} has that many layers");
            return Err(ConfigError::Wrong { field, found, expected }.into());
        }
        let parameters = shape.parameters();
        let is_extra = |name: &str| is_computed(name) || (shape.head().is_none() && name == HEAD);
        let values = read_values(tensors, &parameters, "", &is_extra).map_err(of_file(file))?;
        let at = |name: &str| parameters.binary_search_by(|it| it.name.as_str().cmp(name)).expect("a parameter");
        if shape.head().is_none() && names.iter().any(|it| it == HEAD) {
            let table = shape.table().name;
            let is_same = tensors.values(HEAD).map_err(of_file(file))? == values[at(&table)];
            if !is_same {
                return Err(of_file(file)(TensorsError::TwoHeads(HEAD.to_owned(), table)));
            }
        }
        bounds::check(&shape, &parameters, &values).map_err(of_file(file))?;
        let tensor = |(param, values): (Param, Vec<f32>)| {
            let values = TensorData::new(values, param.rows_and_columns());
            (param.name, Tensor::from_data(values, device))
        };
        Ok(Weights { shape, config, tensors: parameters.into_iter().zip(values).map(tensor).collect() })
    }

    /// Writes a checkpoint directory: `config.json`, `model.safetensors`, and `others` by file name (the tokenizer, the
    /// template). The directory appears whole or not at all; its parent must exist.
    #[expect(clippy::disallowed_methods, reason = "the folder they are written in is renamed when it is complete")]
    pub fn save(&self, dir: &Path, stored: Stored, others: &[(&str, &[u8])]) -> Result<(), WeightsError> {
        if dir.exists() {
            return Err(WeightsError::Exists(dir.to_owned()));
        }
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = dir.with_file_name(name);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| WeightsError::Io { path, source }
        };
        let write_all = || {
            std::fs::create_dir(&partial).map_err(io(&partial))?;
            let config = self.config.clone().stored_as(stored.name()).to_json();
            for (name, bytes) in [("config.json", config.as_bytes())].iter().chain(others) {
                let path = partial.join(name);
                std::fs::write(&path, bytes).map_err(io(&path))?;
            }
            let parameters = self.shape.parameters();
            let path = partial.join(ONE_FILE);
            self.model_file(&parameters, stored).save(&path).map_err(of_file(ONE_FILE))?;
            std::fs::rename(&partial, dir).map_err(io(dir))
        };
        write_all().inspect_err(|_: &WeightsError| {
            // The error that matters is the first one.
            let _ = std::fs::remove_dir_all(&partial);
        })
    }

    /// The bytes of `model.safetensors`.
    pub fn to_safetensors(&self, stored: Stored) -> Vec<u8> {
        self.model_file(&self.shape.parameters(), stored).to_bytes()
    }

    /// As others read it: Transformers refuses files that do not say which program's conventions they follow.
    fn model_file<'a>(&'a self, parameters: &'a [Param], stored: Stored) -> TensorFile<'a> {
        self.file(parameters, stored).with("format", "pt".to_owned())
    }

    fn file<'a>(&'a self, parameters: &'a [Param], stored: Stored) -> TensorFile<'a> {
        TensorFile::new(parameters, &[("", &self.tensors)], stored)
    }

    /// Content address of names, shapes, f32 values and config together with `others` (tokenizer and template bytes).
    pub fn hash(&self, others: &[&[u8]]) -> Hash {
        let mut hasher = Hasher::default();
        hasher.part(self.config.clone().identity().to_json().as_bytes());
        let parameters = self.shape.parameters();
        let file = self.file(&parameters, Stored::F32);
        let (n_bytes, pieces) = file.pieces();
        hasher.begin_part(n_bytes as u64);
        pieces.into_iter().for_each(|it| hasher.more(it.as_ref()));
        others.iter().for_each(|it| hasher.part(it));
        hasher.finish()
    }

    /// What is computed.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The tokens that its checkpoint names.
    pub fn ends(&self) -> Ends {
        self.config.ends().expect("it was read when the weights were made")
    }

    /// The `config.json` of its checkpoint.
    pub fn config(&self) -> &HfConfig {
        &self.config
    }

    /// Where they are, and are computed with.
    pub fn device(&self) -> Device {
        self.tensors.values().next().expect("every shape has tensors").device()
    }

    /// Every tensor with its Hugging Face name, sorted by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor<2>> {
        &self.tensors
    }

    /// Puts what `update` makes of it in the place of every tensor; shapes must stay.
    pub fn update(&mut self, update: impl Fn(&Param, Tensor<2>) -> Tensor<2> + Sync) {
        let mut nothing = self.tensors.keys().map(|name| (name.clone(), ())).collect();
        self.update_beside(&mut nothing, |param, tensor, ()| (update(param, tensor), ()));
    }

    /// The same with what `beside` has for each tensor, by its name, which is also replaced. Tensors are updated side by side,
    /// and handed over, so that it can be done in place.
    pub fn update_beside<T: Send>(
        &mut self,
        beside: &mut BTreeMap<String, T>,
        update: impl Fn(&Param, Tensor<2>, T) -> (Tensor<2>, T) + Sync,
    ) {
        assert!(self.tensors.keys().eq(beside.keys()), "something beside each tensor");
        let tensors = std::mem::take(&mut self.tensors).into_values();
        let all: Vec<_> = self.shape.parameters().into_iter().zip(tensors).zip(std::mem::take(beside)).collect();
        let updated = all.into_par_iter().map(|((param, tensor), (name, beside))| {
            let (tensor, beside) = update(&param, tensor, beside);
            assert_eq!(tensor.dims(), param.rows_and_columns(), "an update must keep the shape of `{name}`");
            ((param.name, tensor), (name, beside))
        });
        (self.tensors, *beside) = updated.collect::<Vec<_>>().into_iter().unzip();
    }
}

/// The head's tensor.
const HEAD: &str = "lm_head.weight";

/// Whether a tensor is what some programs store beside the weights, and others compute: it follows from the config.
fn is_computed(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

/// What `dir` has in the place of weights that are read, and what to do, for people.
fn instead(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let ending = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
    if let Some(name) = ending(&[".gguf"]) {
        return format!(": give its file `{}` instead", excerpt(name));
    }
    match ending(&[".bin", ".pt", ".pth", ".ckpt", ".pkl"]) {
        Some(name) => format!(
            ": `{}` is a pickle, which may run any code and is never opened: have the program that wrote it save safetensors",
            excerpt(name)
        ),
        None => ": copy or write the checkpoint again".to_owned(),
    }
}

/// What `param` begins as in a model of `n_layers`.
fn drawn(param: &Param, n_layers: usize, seed: Seed) -> Vec<f32> {
    let scale = match param.role {
        Role::Norm => return vec![1.0; param.size()],
        Role::Bias => return vec![0.0; param.size()],
        Role::Embedding => 0.1, // what the layers write must not drown which token it is
        role if role.writes_to_stream() => 0.02 / (2.0 * n_layers as f32).sqrt(),
        _ => 0.02,
    };
    let mut rng = seed.child(&param.name).rng();
    (0..param.size()).map(|_| normal(&mut rng) * scale).collect()
}

/// Standard normal up to its tails (twelve uniforms): sums are exact, so every machine draws the same bits.
fn normal(rng: &mut impl Rng) -> f32 {
    let sum: u64 = (0..12).map(|_| u64::from(rng.next_u32() >> 8)).sum();
    (sum as f64 / f64::from(1_u32 << 24) - 6.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tensor_is_called_does_not_decide_what_it_begins_as() {
        let spread = |role, name: &str| {
            let values = drawn(&Param { name: name.to_owned(), shape: vec![1, 5000], role }, 2, Seed(1));
            (values.iter().map(|it| it * it).sum::<f32>() / 5000.0).sqrt()
        };
        let expected =
            [(Role::Embedding, 0.1), (Role::Norm, 1.0), (Role::Up, 0.02), (Role::Out, 0.01), (Role::Down, 0.01)];
        for (role, expected) in expected {
            for name in ["embed.layers.norm.weight", "o_proj.weight", "model.layers.0.down_proj.weight", "x"] {
                let found = spread(role, name);
                assert!((found / expected - 1.0).abs() < 0.05, "{role:?} `{name}`: {found}");
            }
        }
    }
}
