//! A checkpoint as one thing: weights, tokenizer and chat template, read from and written to a directory that Transformers
//! and vLLM load as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use collimate_schema::{By, Hash};

use crate::chat::codec::Codec;
use crate::chat::harbor::{Harbor, HarborError};
use crate::compute::Compute;
use crate::engine::Engine;
use crate::files::read_file;
use crate::{HfConfig, Stored, Transformer, Weights, WeightsError};

/// The files of a checkpoint, in memory: what a binary embeds.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `model.safetensors`.
    pub weights: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`, which carries the chat template.
    pub tokenizer_config: &'a [u8],
}

/// Weights with the codec they were trained with.
#[derive(Clone)]
pub struct Model {
    /// The weights and their shape.
    pub weights: Weights,
    /// How it is asked and read.
    pub codec: Arc<dyn Codec>,
    /// How it computes: no part of a checkpoint.
    pub compute: Compute,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("{}: {source}: is this a checkpoint directory?", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// See [`WeightsError`].
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// See [`HarborError`].
    #[error(transparent)]
    Codec(#[from] HarborError),
    /// Weights and tokenizer come from different checkpoints.
    #[error("config.json has `{field}` {config}, the tokenizer {tokenizer}: the files are not of one checkpoint")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// By `config.json`.
        config: usize,
        /// By `tokenizer.json`.
        tokenizer: usize,
    },
}

impl Model {
    /// Joins weights and codec, if the vocabulary and the control tokens agree.
    pub fn new(weights: Weights, codec: Arc<dyn Codec>) -> Result<Model, ModelError> {
        let (shape, ends) = (weights.shape(), weights.ends());
        let agree = |agrees, field, config: usize, tokenizer: usize| match agrees {
            true => Ok(()),
            false => Err(ModelError::Mismatch { field, config, tokenizer }),
        };
        // Vocabularies may be padded.
        let n_tokens = codec.tokenizer().vocab_size();
        agree(n_tokens <= shape.n_vocab, "vocab_size", shape.n_vocab, n_tokens)?;
        if let (Some(config), Some(codec)) = (ends.bos, codec.bos()) {
            agree(config == codec, "bos_token_id", config as usize, codec as usize)?;
        }
        for eos in ends.eos {
            agree(codec.stops().contains(&eos), "eos_token_id", eos as usize, codec.stops()[0] as usize)?;
        }
        Ok(Model { weights, codec, compute: Compute::default() })
    }

    /// Reads a checkpoint directory.
    pub fn load(dir: &Path, device: &Device) -> Result<Model, ModelError> {
        let read = |name: &str| {
            let path = dir.join(name);
            read_file(&path).map_err(|source| ModelError::Read { path, source })
        };
        // What is small first, so that nothing large is read in vain.
        let config = HfConfig::from_json(read("config.json")?).map_err(WeightsError::from)?;
        let codec = Harbor::from_files(&read("tokenizer.json")?, &read("tokenizer_config.json")?)?;
        let weights = Weights::load_as(config, dir, device).map_err(|error| match error {
            WeightsError::Io { path, source } => ModelError::Read { path, source },
            other => other.into(),
        })?;
        Model::new(weights, Arc::new(codec))
    }

    /// Reads a checkpoint from memory.
    pub fn from_embedded(files: Files<'_>, device: &Device) -> Result<Model, ModelError> {
        let weights = Weights::from_bytes(files.config, files.weights, device)?;
        let codec = Harbor::from_files(files.tokenizer, files.tokenizer_config)?;
        Model::new(weights, Arc::new(codec))
    }

    /// What of its files is ignored, or followed in another way than they say, for people to know.
    pub fn notices(&self) -> Vec<String> {
        [self.weights.config().notices(), self.codec.tokenizer().notices().to_vec()].concat()
    }

    /// Writes a checkpoint directory, whole or not at all; `dir` must not exist yet, its parent must. `stored` as `Bf16`
    /// halves the file and rounds the weights: what is loaded from it has another hash.
    pub fn save(&self, dir: &Path, stored: Stored) -> Result<(), ModelError> {
        let others = self.codec.files(self.weights.shape().n_positions);
        let others: Vec<(&str, &[u8])> = others.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        Ok(self.weights.save(dir, stored, &others)?)
    }

    /// Content address: tensors, config and codec.
    pub fn hash(&self) -> Hash {
        self.weights.hash(&self.codec.identity())
    }

    /// Who signs what this model samples.
    pub fn by(&self) -> By {
        By::Checkpoint(self.hash())
    }

    /// An engine over the weights as they are now, signed with their hash.
    pub fn engine(&self) -> Engine {
        self.engine_by(self.by())
    }

    /// An engine over the weights as they are now, for a policy in the middle of training.
    pub fn engine_by(&self, by: By) -> Engine {
        Engine::new(self.transformer(), self.codec.clone(), by)
    }

    /// The weights as they are now, arranged for sampling and scoring.
    pub fn transformer(&self) -> Transformer {
        Transformer::new(&self.weights, self.compute)
    }
}
