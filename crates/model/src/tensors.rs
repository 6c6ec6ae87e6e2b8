//! Named tensors as safetensors files. Files are written, and hashed, one tensor at a time.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use half::bf16;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors, TensorInfo, View};

use crate::Param;

/// How numbers are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// 4 bytes, exact.
    F32,
    /// 2 bytes, rounded to nearest even.
    Bf16,
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
    #[error("tensor `{0}` is unknown to this config.json: only tied, bias-free Llama checkpoints load")]
    Unknown(String),
    /// A tensor has another shape than is expected.
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

/// Reads from the bytes of a file the tensors of `parameters`, each under `prefix` + its name, and nothing else under that
/// prefix. Vectors come back as [1, D].
pub fn read_tensors(
    bytes: &[u8],
    parameters: &[Param],
    prefix: &str,
    device: &Device,
) -> Result<BTreeMap<String, Tensor<2>>, TensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let expected: BTreeMap<&str, &Param> = parameters.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut names = file.names();
    names.sort_unstable();
    if let Some(unknown) =
        names.iter().find(|name| name.strip_prefix(prefix).is_some_and(|it| !expected.contains_key(it)))
    {
        return Err(TensorsError::Unknown((*unknown).to_owned()));
    }
    let read = |(name, param): (&str, &Param)| {
        let full_name = format!("{prefix}{name}");
        let view = file.tensor(&full_name).map_err(|_| TensorsError::Missing(full_name.clone()))?;
        if view.shape() != param.shape {
            let (found, expected) = (view.shape().to_vec(), param.shape.clone());
            return Err(TensorsError::Shape { name: full_name, found, expected });
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => {
                view.data().chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect()
            }
            Dtype::BF16 => view.data().chunks_exact(2).map(|it| bf16::from_le_bytes([it[0], it[1]]).to_f32()).collect(),
            other => return Err(TensorsError::Dtype { name: full_name, found: format!("{other:?}") }),
        };
        Ok((name.to_owned(), Tensor::from_data(TensorData::new(values, param.rows_and_columns()), device)))
    };
    expected.into_iter().map(read).collect()
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
            (format!("{prefix}{}", param.name), OneTensor { param, tensor: &tensors[&param.name], stored })
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
    pub(crate) fn pieces(&self) -> (usize, impl Iterator<Item = Vec<u8>>) {
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
        (start.len() + end, std::iter::once(start).chain(self.tensors.iter().map(|it| it.1.bytes())))
    }

    fn views(&self) -> impl Iterator<Item = (&str, &OneTensor<'a>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

/// A tensor whose bytes are made when they are asked for.
struct OneTensor<'a> {
    param: &'a Param,
    tensor: &'a Tensor<2>,
    stored: Stored,
}

impl OneTensor<'_> {
    fn bytes(&self) -> Vec<u8> {
        let values = self.tensor.to_data();
        let values = values.as_slice::<f32>().expect("weights are f32").iter();
        match self.stored {
            Stored::F32 => values.flat_map(|it| it.to_le_bytes()).collect(),
            Stored::Bf16 => values.flat_map(|it| bf16::from_f32(*it).to_le_bytes()).collect(),
        }
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
        self.bytes().into()
    }

    fn data_len(&self) -> usize {
        self.param.size() * self.dtype().bitsize() / 8
    }
}
