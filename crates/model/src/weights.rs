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
use crate::files::read_file;
use crate::tensors::{Stored, TensorFile, TensorsError, open, read_values};
use crate::{ConfigError, Ends, HfConfig, Param, Role, Shape, ShapeError};

/// Named f32 tensors on a plain device, exactly those of [`Shape::parameters`]. Matrices are [out, in] as in Transformers;
/// vectors (norms) are held as [1, D].
#[derive(Clone, Debug)]
pub struct Weights {
    shape: Shape,
    ends: Ends,
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
    #[error("model.safetensors: {0}")]
    Tensors(#[source] TensorsError),
}

impl From<TensorsError> for WeightsError {
    fn from(error: TensorsError) -> WeightsError {
        match error {
            TensorsError::Io { path, source } => WeightsError::Io { path, source },
            other => WeightsError::Tensors(other),
        }
    }
}

impl Weights {
    /// Fresh weights: the embedding normal with standard deviation 0.1, matrices with 0.02, those that write to the residual
    /// stream divided by sqrt(2 layers), norms one. Each tensor draws from `seed`'s child of its name: the same bits on every machine.
    pub fn init(shape: &Shape, ends: Ends, seed: Seed, device: &Device) -> Result<Weights, ShapeError> {
        shape.check()?;
        let tensors = shape.parameters().into_iter().map(|param| {
            let values = TensorData::new(drawn(&param, shape.n_layers, seed), param.rows_and_columns());
            (param.name, Tensor::from_data(values, device))
        });
        Ok(Weights { shape: shape.clone(), ends, tensors: tensors.collect() })
    }

    /// Reads a checkpoint directory.
    pub fn load(dir: &Path, device: &Device) -> Result<Weights, WeightsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            read_file(&path).map_err(|source| WeightsError::Io { path, source })
        };
        Weights::from_bytes(&read("config.json")?, &read("model.safetensors")?, device)
    }

    /// Reads a checkpoint from the bytes of its `config.json` and `model.safetensors`. What the config says is compared with
    /// the header of the file before anything of such a size is made.
    pub fn from_bytes(config: &[u8], safetensors: &[u8], device: &Device) -> Result<Weights, WeightsError> {
        let config = HfConfig::from_json(config)?;
        let (shape, ends) = (config.shape()?, config.ends()?);
        let file = open(safetensors)?;
        let n_layers = file.names().iter().filter(|it| it.ends_with(".input_layernorm.weight")).count();
        if n_layers != shape.n_layers {
            let (field, found) = ("num_hidden_layers", shape.n_layers.to_string());
            let expected = format!("{n_layers}, as model.safetensors has that many layers");
            return Err(ConfigError::Wrong { field, found, expected }.into());
        }
        let parameters = shape.parameters();
        let values = read_values(&file, &parameters, "")?;
        bounds::check(&shape, &parameters, &values)?;
        let tensor = |(param, values): (Param, Vec<f32>)| {
            let values = TensorData::new(values, param.rows_and_columns());
            (param.name, Tensor::from_data(values, device))
        };
        Ok(Weights { shape, ends, tensors: parameters.into_iter().zip(values).map(tensor).collect() })
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
            for (name, bytes) in [("config.json", self.config().to_json().as_bytes())].iter().chain(others) {
                let path = partial.join(name);
                std::fs::write(&path, bytes).map_err(io(&path))?;
            }
            let parameters = self.shape.parameters();
            self.model_file(&parameters, stored).save(&partial.join("model.safetensors"))?;
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
        hasher.part(self.config().to_json().as_bytes());
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
        self.ends
    }

    /// The `config.json` of its checkpoint.
    pub fn config(&self) -> HfConfig {
        HfConfig::of(&self.shape, self.ends)
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

/// What `param` begins as in a model of `n_layers`.
fn drawn(param: &Param, n_layers: usize, seed: Seed) -> Vec<f32> {
    let scale = match param.role {
        Role::Norm => return vec![1.0; param.size()],
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
