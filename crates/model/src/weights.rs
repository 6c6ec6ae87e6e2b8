//! The weights of a transformer, keyed by Hugging Face tensor name: drawn from a seed, read from and written to checkpoint
//! directories (`config.json`, `model.safetensors`), addressed by their content.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use collimate_kernels::Precision;
use collimate_schema::{Hash, Seed};
use half::bf16;
use rand::Rng;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Config, ConfigError};

/// Named f32 tensors on a plain device, exactly those of [`Config::tensors`]. Matrices are [out, in] as in Transformers;
/// vectors (norms) are held as [1, D].
#[derive(Clone, Debug)]
pub struct Weights {
    config: Config,
    tensors: BTreeMap<String, Tensor<2>>,
    precision: Precision,
    recomputes: bool,
}

/// How numbers are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// 4 bytes, exact.
    F32,
    /// 2 bytes, rounded to nearest even.
    Bf16,
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
    /// Torn or not safetensors.
    #[error("the weights are not a whole safetensors file ({0}): copy or write the checkpoint again")]
    Format(#[from] safetensors::SafeTensorError),
    /// The config asks for a tensor that the file lacks.
    #[error("tensor `{0}` is missing: the file does not belong to this config.json")]
    Missing(String),
    /// The file has a tensor that the config does not know.
    #[error("tensor `{0}` is unknown to this config.json: only tied, bias-free Llama checkpoints load")]
    Unknown(String),
    /// A tensor has another shape than the config says.
    #[error("tensor `{name}` has shape {found:?}, config.json says {expected:?}")]
    Shape {
        /// Which tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the config.
        expected: Vec<usize>,
    },
    /// A number format other than f32 and bf16.
    #[error("tensor `{name}` is stored as {found}: convert it to F32 or BF16")]
    Dtype {
        /// Which tensor.
        name: String,
        /// Its format.
        found: String,
    },
}

impl Weights {
    /// Fresh weights: the embedding normal with standard deviation 0.1, matrices with 0.02, those that write to the residual
    /// stream divided by sqrt(2 layers), norms one. Each tensor draws from `seed`'s child of its name: the same bits on every machine.
    pub fn init(config: &Config, seed: Seed, device: &Device) -> Weights {
        let residual = (2.0 * config.num_hidden_layers as f32).sqrt();
        let tensors = config.tensors().into_iter().map(|(name, shape)| {
            let size = shape.iter().product();
            let values = if shape.len() == 1 {
                vec![1.0; size]
            } else {
                let scale = if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
                    0.02 / residual
                } else if name.contains("embed") {
                    0.1 // what the layers write must not drown which token it is
                } else {
                    0.02
                };
                let mut rng = seed.child(&name).rng();
                (0..size).map(|_| normal(&mut rng) * scale).collect()
            };
            let tensor = Tensor::from_data(TensorData::new(values, as_matrix(&shape)), device);
            (name, tensor)
        });
        Weights { config: config.clone(), tensors: tensors.collect(), precision: Precision::F32, recomputes: false }
    }

    /// The same numbers, whose products are taken in `precision` wherever a transformer is made of them: a sampler and a
    /// training step round alike, so that a fresh rollout's ratio is 1. Checkpoints do not say; they are read as f32.
    pub fn in_precision(self, precision: Precision) -> Weights {
        Weights { precision, ..self }
    }

    /// What products are taken in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The same numbers, of whose layers a training step keeps only the inputs, if `recomputes`: the backward pass computes the
    /// rest again, a third more arithmetic for the same gradients.
    pub fn recomputing(self, recomputes: bool) -> Weights {
        Weights { recomputes, ..self }
    }

    /// Whether activations are computed again rather than kept.
    pub fn recomputes(&self) -> bool {
        self.recomputes
    }

    /// Reads a checkpoint directory.
    pub fn load(dir: &Path, device: &Device) -> Result<Weights, WeightsError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| WeightsError::Io { path, source })
        };
        Weights::from_bytes(&read("config.json")?, &read("model.safetensors")?, device)
    }

    /// Reads a checkpoint from the bytes of its `config.json` and `model.safetensors`.
    pub fn from_bytes(config: &[u8], safetensors: &[u8], device: &Device) -> Result<Weights, WeightsError> {
        let config = Config::from_json(&String::from_utf8_lossy(config))?;
        let tensors = read_tensors(safetensors, &config.tensors(), "", device)?;
        Ok(Weights { config, tensors, precision: Precision::F32, recomputes: false })
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
            let (config, weights) = (self.config.to_json(), self.to_safetensors(stored));
            let own = [("config.json", config.as_bytes()), ("model.safetensors", weights.as_slice())];
            for (name, bytes) in own.iter().chain(others) {
                let path = partial.join(name);
                std::fs::write(&path, bytes).map_err(io(&path))?;
            }
            std::fs::rename(&partial, dir).map_err(io(dir))
        };
        write_all().inspect_err(|_: &WeightsError| {
            // The error that matters is the first one.
            let _ = std::fs::remove_dir_all(&partial);
        })
    }

    /// The bytes of `model.safetensors`.
    pub fn to_safetensors(&self, stored: Stored) -> Vec<u8> {
        write_tensors(&self.config.tensors(), &[("", &self.tensors)], stored, None)
    }

    /// Content address of names, shapes, f32 values and config together with `others` (tokenizer and template bytes).
    pub fn hash(&self, others: &[&[u8]]) -> Hash {
        let (config, tensors) = (self.config.to_json(), self.to_safetensors(Stored::F32));
        let parts = [config.as_bytes(), tensors.as_slice()];
        Hash::of_parts(parts.into_iter().chain(others.iter().copied()))
    }

    /// The shape.
    pub fn config(&self) -> &Config {
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

    /// Puts `update(name, tensor)` in the place of every tensor; shapes must stay. The tensor is handed over, so that it can
    /// be updated in place.
    pub fn update(&mut self, mut update: impl FnMut(&str, Tensor<2>) -> Tensor<2>) {
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors
            .map(|(name, tensor)| {
                let shape = tensor.dims();
                let tensor = update(&name, tensor);
                assert_eq!(tensor.dims(), shape, "an update must keep the shape of `{name}`");
                (name, tensor)
            })
            .collect();
    }

    /// The same with what `beside` has for each tensor, by its name, which is also replaced; tensors are updated side by side.
    pub fn update_beside<T: Send>(
        &mut self,
        beside: &mut BTreeMap<String, T>,
        update: impl Fn(&str, Tensor<2>, T) -> (Tensor<2>, T) + Sync,
    ) {
        assert!(self.tensors.keys().eq(beside.keys()), "something beside each tensor");
        let pairs: Vec<_> = std::mem::take(&mut self.tensors).into_iter().zip(std::mem::take(beside)).collect();
        let updated = pairs.into_par_iter().map(|((name, tensor), (_, beside))| {
            let shape = tensor.dims();
            let (tensor, beside) = update(&name, tensor, beside);
            assert_eq!(tensor.dims(), shape, "an update must keep the shape of `{name}`");
            ((name.clone(), tensor), (name, beside))
        });
        (self.tensors, *beside) = updated.collect::<Vec<_>>().into_iter().unzip();
    }
}

/// Standard normal up to its tails (twelve uniforms): sums are exact, so every machine draws the same bits.
fn normal(rng: &mut impl Rng) -> f32 {
    let sum: u64 = (0..12).map(|_| u64::from(rng.next_u32() >> 8)).sum();
    (sum as f64 / f64::from(1_u32 << 24) - 6.0) as f32
}

fn as_matrix(shape: &[usize]) -> [usize; 2] {
    match *shape {
        [width] => [1, width],
        [rows, columns] => [rows, columns],
        _ => unreachable!("a transformer has vectors and matrices only"),
    }
}

/// Reads from a safetensors file the tensors `shapes` names, each under `prefix` + its name, and nothing else under that
/// prefix. Vectors come back as [1, D].
pub fn read_tensors(
    safetensors: &[u8],
    shapes: &[(String, Vec<usize>)],
    prefix: &str,
    device: &Device,
) -> Result<BTreeMap<String, Tensor<2>>, WeightsError> {
    let file = SafeTensors::deserialize(safetensors)?;
    let expected: BTreeMap<&str, &Vec<usize>> = shapes.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    let mut names = file.names();
    names.sort_unstable();
    if let Some(unknown) =
        names.iter().find(|name| name.strip_prefix(prefix).is_some_and(|it| !expected.contains_key(it)))
    {
        return Err(WeightsError::Unknown((*unknown).to_owned()));
    }
    let read = |(name, shape): (&str, &Vec<usize>)| {
        let full_name = format!("{prefix}{name}");
        let view = file.tensor(&full_name).map_err(|_| WeightsError::Missing(full_name.clone()))?;
        if view.shape() != shape.as_slice() {
            let (found, expected) = (view.shape().to_vec(), shape.clone());
            return Err(WeightsError::Shape { name: full_name, found, expected });
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => {
                view.data().chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect()
            }
            Dtype::BF16 => view.data().chunks_exact(2).map(|it| bf16::from_le_bytes([it[0], it[1]]).to_f32()).collect(),
            other => return Err(WeightsError::Dtype { name: full_name, found: format!("{other:?}") }),
        };
        Ok((name.to_owned(), Tensor::from_data(TensorData::new(values, as_matrix(shape)), device)))
    };
    expected.into_iter().map(read).collect()
}

/// A safetensors file of one or more sets of tensors of the shapes `shapes`, each set under its prefix; `metadata` goes into the
/// header.
pub fn write_tensors(
    shapes: &[(String, Vec<usize>)],
    sets: &[(&str, &BTreeMap<String, Tensor<2>>)],
    stored: Stored,
    metadata: Option<HashMap<String, String>>,
) -> Vec<u8> {
    let mut bytes: Vec<(String, &Vec<usize>, Vec<u8>)> = Vec::new();
    for (prefix, tensors) in sets {
        for (name, shape) in shapes {
            let values = tensors[name].to_data();
            let values = values.as_slice::<f32>().expect("weights are f32").iter();
            let stored = match stored {
                Stored::F32 => values.flat_map(|it| it.to_le_bytes()).collect(),
                Stored::Bf16 => values.flat_map(|it| bf16::from_f32(*it).to_le_bytes()).collect(),
            };
            bytes.push((format!("{prefix}{name}"), shape, stored));
        }
    }
    let dtype = match stored {
        Stored::F32 => Dtype::F32,
        Stored::Bf16 => Dtype::BF16,
    };
    let view = |shape: &Vec<usize>, data| TensorView::new(dtype, shape.clone(), data).expect("shapes and bytes agree");
    let views: Vec<_> = bytes.iter().map(|(name, shape, data)| (name.as_str(), view(shape, data))).collect();
    safetensors::serialize(views, metadata).expect("tensors in memory serialise")
}
