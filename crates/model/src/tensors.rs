//! Named tensors as safetensors files. Files are written, and hashed, one tensor at a time.

mod read;
mod shards;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::Tensor;
use collimate_kernels::Values;
use half::bf16;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, TensorInfo, View};

use crate::Param;
pub(crate) use read::{NamedTensors, open, read_values};
pub use shards::read_tensors;
pub(crate) use shards::{ShardIndex, Shards};

/// How numbers are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// 4 bytes, exact.
    F32,
    /// 2 bytes, rounded to nearest even.
    Bf16,
}

impl Stored {
    /// As `config.json` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stored::F32 => "float32",
            Stored::Bf16 => "bfloat16",
        }
    }
}

/// Why tensors cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TensorsError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Torn or not safetensors.
    #[error("the weights are not a whole safetensors file ({0}): copy or write the checkpoint again")]
    Format(#[from] SafeTensorError),
    /// A tensor that is expected is not in the file.
    #[error("tensor `{0}` is missing: the file does not belong to this config.json")]
    Missing(String),
    /// The file has a tensor that nobody expects.
    #[error("tensor `{0}` is unknown to this config.json: the file does not belong to it")]
    Unknown(String),
    /// Two files of a checkpoint have it, or it is not where the index says.
    #[error("tensor `{name}` is {found}: copy the checkpoint again")]
    Misplaced {
        /// Which tensor.
        name: String,
        /// Where it is.
        found: String,
    },
    /// The index of the files is not one.
    #[error("it is no index of files ({0}): copy the checkpoint again")]
    Index(String),
    /// The head differs from the embedding, which it is said to be.
    #[error("tensor `{0}` differs from `{1}`: set tie_word_embeddings in config.json to false, or remove it")]
    TwoHeads(String, String),
    /// A tensor has another shape than is expected.
    #[error(
        "tensor `{name}` has shape {found:?}, config.json ({fields}) says {expected:?}: the files are not of one checkpoint"
    )]
    Shape {
        /// Which tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the config.
        expected: Vec<usize>,
        /// Which fields of the config say so.
        fields: &'static str,
    },
    /// A number format that is not read.
    #[error("tensor `{name}` is stored as {found}: F32, BF16 and F16 are read, convert it")]
    Dtype {
        /// Which tensor.
        name: String,
        /// Its format.
        found: String,
    },
    /// NaN, or infinite.
    #[error("tensor `{name}` holds {found} at {index} (of {size}): train, copy or write it again")]
    NotFinite {
        /// Which tensor.
        name: String,
        /// The number.
        found: f32,
        /// Where the first of them stands, counted row by row from 0.
        index: usize,
        /// How many numbers there are.
        size: usize,
    },
    /// Nothing could come of it.
    #[error("tensor `{0}` holds nothing but zeros: train, copy or write it again")]
    Zeros(String),
    /// Finite, but what is computed with it need not be.
    #[error(
        "tensor `{name}` holds numbers up to {found:e}, with which a forward pass can leave the range of f32: train, copy or write it again"
    )]
    Huge {
        /// Which tensor.
        name: String,
        /// Its largest number, without its sign.
        found: f32,
    },
}

/// What a file has: sets of tensors of the same parameters, each set under its prefix, and what its header says besides.
pub struct TensorFile<'a> {
    tensors: Vec<(String, OneTensor<'a>)>, // sorted by name, as the file has them
    metadata: Option<HashMap<String, String>>,
}

impl<'a> TensorFile<'a> {
    /// Of `sets`, each with its prefix and a tensor for each of `parameters` by its name.
    pub fn new(parameters: &'a [Param], sets: &[(&str, &'a BTreeMap<String, Tensor<2>>)], stored: Stored) -> Self {
        let one = |prefix: &str, tensors: &'a BTreeMap<_, _>, param: &'a Param| {
            (format!("{prefix}{}", param.name), OneTensor::of(param, &tensors[&param.name], stored))
        };
        let of_set = |(prefix, tensors): &(&str, &'a _)| parameters.iter().map(|it| one(prefix, tensors, it)).collect();
        let mut tensors: Vec<(String, OneTensor<'a>)> = sets.iter().flat_map::<Vec<_>, _>(of_set).collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        TensorFile { tensors, metadata: None }
    }

    /// The same with something more in its header.
    pub fn with(self, key: &str, value: String) -> Self {
        let mut metadata = self.metadata.unwrap_or_default();
        metadata.insert(key.to_owned(), value);
        TensorFile { metadata: Some(metadata), ..self }
    }

    /// Writes it. Where that stops half way, half a file stays.
    pub fn save(&self, path: &Path) -> Result<(), TensorsError> {
        let written = safetensors::serialize_to_file(self.views(), self.metadata.clone(), path);
        written.map_err(|error| match error {
            SafeTensorError::IoError(source) => TensorsError::Io { path: path.to_owned(), source },
            other => TensorsError::Format(other),
        })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        safetensors::serialize(self.views(), self.metadata.clone()).expect("tensors in memory serialise")
    }

    /// Its bytes in order, in pieces, and how many they are in all.
    pub(crate) fn pieces(&self) -> (usize, impl Iterator<Item = Cow<'_, [u8]>>) {
        let mut end = 0;
        let info = |(name, it): &(String, OneTensor<'_>)| {
            let start = end;
            end += it.data_len();
            let (dtype, shape) = (it.dtype(), it.shape().to_vec());
            (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
        };
        let infos = self.tensors.iter().map(info).collect();
        let header = Metadata::new(self.metadata.clone(), infos).expect("tensors that follow each other");
        let mut header = serde_json::to_vec(&header).expect("names and shapes serialise");
        header.resize(header.len().next_multiple_of(8), b' ');
        let start = [&(header.len() as u64).to_le_bytes()[..], &header].concat();
        (start.len() + end, std::iter::once(Cow::Owned(start)).chain(self.tensors.iter().map(|it| it.1.bytes())))
    }

    fn views(&self) -> impl Iterator<Item = (&str, &OneTensor<'a>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

/// A tensor whose bytes are those of its memory, or made when they are asked for.
struct OneTensor<'a> {
    param: &'a Param,
    tensor: &'a Tensor<2>,
    in_place: Option<Values>,
    stored: Stored,
}

impl<'a> OneTensor<'a> {
    fn of(param: &'a Param, tensor: &'a Tensor<2>, stored: Stored) -> Self {
        OneTensor { param, tensor, in_place: Values::in_place(tensor), stored }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        match (self.stored, &self.in_place) {
            (Stored::F32, Some(values)) if cfg!(target_endian = "little") => {
                bytemuck::cast_slice(values.as_slice()).into()
            }
            (Stored::F32, _) => self.made(|it| it.to_le_bytes()).into(),
            (Stored::Bf16, _) => self.made(|it| bf16::from_f32(it).to_le_bytes()).into(),
        }
    }

    fn made<const N: usize>(&self, bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
        Values::of(self.tensor).as_slice().iter().flat_map(|it| bytes(*it)).collect()
    }
}

impl View for &OneTensor<'_> {
    fn dtype(&self) -> Dtype {
        match self.stored {
            Stored::F32 => Dtype::F32,
            Stored::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.param.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.bytes()
    }

    fn data_len(&self) -> usize {
        self.param.size() * self.dtype().bitsize() / 8
    }
}
