//! Reading safetensors: nothing is allocated before the header agrees with the file and with what is expected of it.

use std::collections::BTreeMap;

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use super::TensorsError;
use crate::Param;
use crate::json::{excerpt, parse};

/// Numbers that a thread reads at once.
const RUN: usize = 1 << 16;

/// The tensors of a checkpoint, by their Hugging Face names, in one file or several.
pub(crate) trait NamedTensors: Sync {
    /// What they stand in, for people.
    fn name(&self) -> &str;
    /// The name of each.
    fn names(&self) -> Vec<String>;
    /// The shape of one that is there.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// Its numbers, row by row; they need not be finite.
    fn values(&self, name: &str) -> Result<Vec<f32>, TensorsError>;
}

/// The file, if its header describes all of its bytes, each once, and names no tensor twice.
pub(crate) fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, TensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let (n_header, _) = SafeTensors::read_metadata(bytes)?;
    let header = &bytes[size_of::<u64>()..][..n_header];
    parse(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?; // of two tensors of one name, one would be lost
    Ok(file)
}

/// The numbers of the tensors of `parameters`, each under `prefix` + its name, in their order; all of them are finite. Under that
/// prefix there is nothing else but what is `extra`.
pub(crate) fn read_values(
    tensors: &dyn NamedTensors,
    parameters: &[Param],
    prefix: &str,
    is_extra: &dyn Fn(&str) -> bool,
) -> Result<Vec<Vec<f32>>, TensorsError> {
    let expected: BTreeMap<&str, &Param> = parameters.iter().map(|it| (it.name.as_str(), it)).collect();
    let is_unknown = |name: &String| {
        let known = |it: &str| expected.contains_key(it) || is_extra(it);
        name.strip_prefix(prefix).is_some_and(|it| !known(it))
    };
    if let Some(unknown) = tensors.names().into_iter().filter(is_unknown).min() {
        return Err(TensorsError::Unknown(excerpt(&unknown)));
    }
    let named = |param: &Param| {
        let name = format!("{prefix}{}", param.name);
        let found = tensors.shape(&name).ok_or_else(|| TensorsError::Missing(name.clone()))?;
        if found != param.shape {
            let (expected, fields) = (param.shape.clone(), param.role.fields());
            return Err(TensorsError::Shape { name, found, expected, fields });
        }
        Ok(name)
    };
    let names = parameters.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    names.into_iter().map(|name| finite(tensors.values(&name)?, name)).collect()
}

/// The numbers of one tensor of a file.
pub(super) fn values(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, TensorsError> {
    fn numbers<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks::<N>();
        numbers.par_iter().with_min_len(RUN).map(|it| read(*it)).collect()
    }
    match view.dtype() {
        Dtype::F32 => Ok(numbers(view.data(), f32::from_le_bytes)),
        Dtype::BF16 => Ok(numbers(view.data(), |it| bf16::from_le_bytes(it).to_f32())),
        Dtype::F16 => Ok(numbers(view.data(), |it| f16::from_le_bytes(it).to_f32())),
        other => Err(TensorsError::Dtype { name: excerpt(name), found: format!("{other:?}") }),
    }
}

fn finite(values: Vec<f32>, name: String) -> Result<Vec<f32>, TensorsError> {
    let is_finite = |run: &[f32]| run.iter().fold(true, |all, it| all & it.is_finite());
    if values.par_chunks(RUN).all(is_finite) {
        return Ok(values);
    }
    let index = values.iter().position(|it| !it.is_finite()).expect("one of them is not");
    Err(TensorsError::NotFinite { name, found: values[index], index, size: values.len() })
}
