//! AdamW over named weights: decoupled decay (matrices only, never norms), bias correction, clipping by the global norm of
//! the gradient; on request, Muon for the matrices of the layers. The state is keyed by Hugging Face tensor name; a missing
//! tensor is an error, never zeros.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::Tensor;
use collimate_kernels::{AdamW, Moments, Muon, adamw_step, muon_step};
use collimate_model::{Param, Role, Stored, TensorFile, TensorsError, read_file, read_tensors};

use crate::gradient::{Gradients, StepError};
use crate::learnable::Learnable;

/// The optimizer and its state.
#[derive(Clone, Debug)]
pub struct Adam {
    /// The constants.
    pub cfg: AdamW,
    /// Steps the layers' matrices instead, where it is given: a model that begins from nothing learns to look things up many
    /// times sooner.
    pub muon: Option<Muon>,
    /// Gradients are scaled down to this global norm.
    pub max_norm: f32,
    step: u64,
    parameters: Vec<Param>,
    moments: BTreeMap<String, Moments>,
}

/// Why an optimizer state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AdamError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A moment is missing, misshapen or unknown, or cannot be written.
    #[error("optimizer state: {0}")]
    Tensors(#[from] TensorsError),
    /// The number of steps is missing or not a number.
    #[error("optimizer state: no step count: the file was not written by collimate")]
    NoStep,
}

impl Adam {
    /// A fresh state, zero steps taken.
    pub fn new(learnable: &impl Learnable, cfg: AdamW, max_norm: f32) -> Adam {
        let (parameters, device) = (learnable.parameters().concat(), learnable.device());
        let zeros = |param: &Param| {
            let zeros = || Tensor::zeros(param.rows_and_columns(), &device);
            (param.name.clone(), Moments { m: zeros(), v: zeros() })
        };
        Adam { cfg, muon: None, max_norm, step: 0, moments: parameters.iter().map(zeros).collect(), parameters }
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.step
    }

    /// Clips by global norm and takes the step; returns the norm before clipping.
    pub(crate) fn step(
        &mut self,
        learnable: &mut impl Learnable,
        grads: &Gradients,
        lr: f32,
    ) -> Result<f32, StepError> {
        let norm = grads.norm();
        StepError::unless_finite("norm of the gradient", norm)?;
        self.step += 1;
        let scale = if norm > self.max_norm { self.max_norm / norm } else { 1.0 };
        let (cfg, muon, step) = (self.cfg, self.muon, self.step);
        learnable.update(&mut self.moments, |param, weight, moments| {
            let grad = grads.of(&param.name);
            let is_spared = matches!(param.role, Role::Norm | Role::Bias);
            let cfg = if is_spared { AdamW { weight_decay: 0.0, ..cfg } } else { cfg };
            match &muon {
                Some(muon) if param.role.is_of_layers() => muon_step(weight, grad, moments, muon, (lr, scale)),
                _ => adamw_step(weight, grad, moments, &cfg, (lr, step, scale)),
            }
        });
        Ok(norm)
    }

    /// The state as a safetensors file: `m.<name>`, `v.<name>` in f32, the step count in its metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_file(|file| file.to_bytes())
    }

    /// Writes the state to `path`. Where that stops half way, half a file stays.
    pub fn save(&self, path: &Path) -> Result<(), AdamError> {
        Ok(self.with_file(|file| file.save(path))?)
    }

    fn with_file<T>(&self, write: impl FnOnce(TensorFile<'_>) -> T) -> T {
        let part = |pick: fn(&Moments) -> &Tensor<2>| -> BTreeMap<String, Tensor<2>> {
            self.moments.iter().map(|(name, moments)| (name.clone(), pick(moments).clone())).collect()
        };
        let (m, v) = (part(|it| &it.m), part(|it| &it.v));
        let file = TensorFile::new(&self.parameters, &[("m.", &m), ("v.", &v)], Stored::F32);
        write(file.with("step", self.step.to_string()))
    }

    /// Reads [`Adam::to_bytes`], of a state for `learnable`.
    pub fn from_bytes(bytes: &[u8], learnable: &impl Learnable, cfg: AdamW, max_norm: f32) -> Result<Adam, AdamError> {
        let (parameters, device) = (learnable.parameters().concat(), learnable.device());
        let m = read_tensors(bytes, &parameters, "m.", &device)?;
        let mut v = read_tensors(bytes, &parameters, "v.", &device)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(TensorsError::from)?;
        let step = header.metadata().as_ref().and_then(|it| it.get("step")).and_then(|it| it.parse().ok());
        let step = step.ok_or(AdamError::NoStep)?;
        let join = |(name, m): (String, Tensor<2>)| {
            let v = v.remove(&name).expect("both were read by the same names");
            (name, Moments { m, v })
        };
        Ok(Adam { cfg, muon: None, max_norm, step, moments: m.into_iter().map(join).collect(), parameters })
    }

    /// Reads the state for `learnable` from `path`.
    pub fn load(path: &Path, learnable: &impl Learnable, cfg: AdamW, max_norm: f32) -> Result<Adam, AdamError> {
        let bytes = read_file(path).map_err(|source| AdamError::Io { path: path.to_owned(), source })?;
        Adam::from_bytes(&bytes, learnable, cfg, max_norm)
    }
}
