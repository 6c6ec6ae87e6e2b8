//! Reading safetensors: nothing is allocated before the header agrees with the file and with what is expected of it.

use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use half::bf16;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use super::TensorsError;
use crate::Param;
use crate::json::{excerpt, parse};

/// Numbers that a thread reads at once.
const RUN: usize = 1 << 16;

/// The file, if its header describes all of its bytes, each once, and names no tensor twice.
pub(crate) fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, TensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let (n_header, _) = SafeTensors::read_metadata(bytes)?;
    let header = &bytes[size_of::<u64>()..][..n_header];
    parse(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?; // of two tensors of one name, one would be lost
    Ok(file)
}

/// Reads from the bytes of a file the tensors of `parameters`, each under `prefix` + its name, and nothing else under that
/// prefix. Vectors come back as [1, D].
pub fn read_tensors(
    bytes: &[u8],
    parameters: &[Param],
    prefix: &str,
    device: &Device,
) -> Result<BTreeMap<String, Tensor<2>>, TensorsError> {
    let values = read_values(&open(bytes)?, parameters, prefix)?;
    let tensor = |(param, values): (&Param, Vec<f32>)| {
        (param.name.clone(), Tensor::from_data(TensorData::new(values, param.rows_and_columns()), device))
    };
    Ok(parameters.iter().zip(values).map(tensor).collect())
}

/// The numbers of the same tensors, in the order of `parameters`; all of them are finite.
pub(crate) fn read_values(
    file: &SafeTensors<'_>,
    parameters: &[Param],
    prefix: &str,
) -> Result<Vec<Vec<f32>>, TensorsError> {
    let expected: BTreeMap<&str, &Param> = parameters.iter().map(|it| (it.name.as_str(), it)).collect();
    let is_unknown = |name: &&str| name.strip_prefix(prefix).is_some_and(|it| !expected.contains_key(it));
    if let Some(unknown) = file.names().into_iter().filter(is_unknown).min() {
        return Err(TensorsError::Unknown(excerpt(unknown)));
    }
    let view = |param: &Param| {
        let name = format!("{prefix}{}", param.name);
        let view = file.tensor(&name).map_err(|_| TensorsError::Missing(name.clone()))?;
        if view.shape() != param.shape {
            let (found, expected, fields) = (view.shape().to_vec(), param.shape.clone(), param.role.fields());
            return Err(TensorsError::Shape { name, found, expected, fields });
        }
        Ok((name, view))
    };
    let views = parameters.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    views.into_iter().map(|(name, view)| finite_values(name, &view)).collect()
}

fn finite_values(name: String, view: &TensorView<'_>) -> Result<Vec<f32>, TensorsError> {
    fn numbers<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks::<N>();
        numbers.par_iter().with_min_len(RUN).map(|it| read(*it)).collect()
    }
    let values = match view.dtype() {
        Dtype::F32 => numbers(view.data(), f32::from_le_bytes),
        Dtype::BF16 => numbers(view.data(), |it| bf16::from_le_bytes(it).to_f32()),
        other => return Err(TensorsError::Dtype { name, found: format!("{other:?}") }),
    };
    let is_finite = |run: &[f32]| run.iter().fold(true, |all, it| all & it.is_finite());
    if values.par_chunks(RUN).all(is_finite) {
        return Ok(values);
    }
    let index = values.iter().position(|it| !it.is_finite()).expect("one of them is not");
    Err(TensorsError::NotFinite { name, found: values[index], index, size: values.len() })
}
