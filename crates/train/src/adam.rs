//! AdamW over named weights: decoupled decay (matrices only, never norms), bias correction, clipping by the global norm of
//! the gradient; on request, Muon for the matrices of the layers. The state is keyed by Hugging Face tensor name; a missing
//! tensor is an error, never zeros.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::Device;
use collimate_kernels::{AdamW, Moments, Muon, adamw_step, muon_step};
use collimate_model::{Config, Stored, Weights, WeightsError, read_tensors, write_tensors};
use collimate_schema::{RunError, write_whole};

use crate::gradient::Gradients;

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
    /// The state could not be written.
    #[error(transparent)]
    Write(#[from] RunError),
    /// A moment is missing, misshapen or unknown.
    #[error("optimizer state: {0}")]
    Tensors(#[from] WeightsError),
    /// The number of steps is missing or not a number.
    #[error("optimizer state: no step count: the file was not written by collimate")]
    NoStep,
}

impl Adam {
    /// A fresh state, zero steps taken.
    pub fn new(weights: &Weights, cfg: AdamW, max_norm: f32) -> Adam {
        let zeros = |(name, tensor): (&String, &Tensor<2>)| {
            let moments = Moments { m: tensor.zeros_like(), v: tensor.zeros_like() };
            (name.clone(), moments)
        };
        Adam { cfg, muon: None, max_norm, step: 0, moments: weights.tensors().iter().map(zeros).collect() }
    }

    /// Steps taken.
    pub fn n_steps(&self) -> u64 {
        self.step
    }

    pub(crate) fn step(&mut self, weights: &mut Weights, grads: &Gradients, norm: f32, lr: f32) {
        self.step += 1;
        let scale = if norm > self.max_norm { self.max_norm / norm } else { 1.0 };
        let (cfg, muon, step) = (self.cfg, self.muon, self.step);
        weights.update_beside(&mut self.moments, |name, weight, moments| {
            let grad = grads.of(name);
            let is_norm = weight.dims()[0] == 1;
            let cfg = if is_norm { AdamW { weight_decay: 0.0, ..cfg } } else { cfg };
            match &muon {
                Some(muon) if name.contains(".layers.") && !is_norm => {
                    muon_step(weight, grad, moments, muon, (lr, scale))
                }
                _ => adamw_step(weight, grad, moments, &cfg, (lr, step, scale)),
            }
        });
    }

    /// The state as a safetensors file: `m.<name>`, `v.<name>` in f32, the step count in its metadata.
    pub fn to_bytes(&self, config: &Config) -> Vec<u8> {
        let part = |pick: fn(&Moments) -> &Tensor<2>| -> BTreeMap<String, Tensor<2>> {
            self.moments.iter().map(|(name, moments)| (name.clone(), pick(moments).clone())).collect()
        };
        let (m, v) = (part(|it| &it.m), part(|it| &it.v));
        let metadata = HashMap::from([("step".to_owned(), self.step.to_string())]);
        write_tensors(&config.tensors(), &[("m.", &m), ("v.", &v)], Stored::F32, Some(metadata))
    }

    /// Reads [`Adam::to_bytes`].
    pub fn from_bytes(
        bytes: &[u8],
        config: &Config,
        cfg: AdamW,
        max_norm: f32,
        device: &Device,
    ) -> Result<Adam, AdamError> {
        let shapes = config.tensors();
        let m = read_tensors(bytes, &shapes, "m.", device)?;
        let mut v = read_tensors(bytes, &shapes, "v.", device)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(WeightsError::from)?;
        let step = header.metadata().as_ref().and_then(|it| it.get("step")).and_then(|it| it.parse().ok());
        let step = step.ok_or(AdamError::NoStep)?;
        let join = |(name, m): (String, Tensor<2>)| {
            let v = v.remove(&name).expect("both were read by the same names");
            (name, Moments { m, v })
        };
        Ok(Adam { cfg, muon: None, max_norm, step, moments: m.into_iter().map(join).collect() })
    }

    /// Writes the state to `path`, whole or not at all.
    pub fn save(&self, config: &Config, path: &Path) -> Result<(), AdamError> {
        Ok(write_whole(path, &self.to_bytes(config))?)
    }

    /// Reads the state from `path`.
    pub fn load(path: &Path, config: &Config, cfg: AdamW, max_norm: f32, device: &Device) -> Result<Adam, AdamError> {
        let bytes = std::fs::read(path).map_err(|source| AdamError::Io { path: path.to_owned(), source })?;
        Adam::from_bytes(&bytes, config, cfg, max_norm, device)
    }
}
