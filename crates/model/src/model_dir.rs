//! A checkpoint as one thing: weights, tokenizer and chat template, read from and written to a directory that Transformers
//! and vLLM load as it is.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use collimate_schema::{By, Hash};
use serde_json::{Value, json};

use crate::{
    Codec, Control, Engine, Stored, Template, TemplateError, Tokenizer, TokenizerError, Transformer, Weights,
    WeightsError,
};

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

/// Weights with the tokenizer and template they were trained with.
#[derive(Clone)]
pub struct Model {
    /// The weights and their shape.
    pub weights: Weights,
    /// The tokenizer and the template.
    pub codec: Codec,
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
    /// See [`TokenizerError`].
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// See [`TemplateError`].
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// No template to lay conversations out with.
    #[error("tokenizer_config.json has no `chat_template`: write the checkpoint again")]
    NoTemplate,
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
    pub fn new(weights: Weights, codec: Codec) -> Result<Model, ModelError> {
        let (config, tokenizer) = (weights.config(), &codec.tokenizer);
        let agree = |field, config: usize, tokenizer: usize| match config == tokenizer {
            true => Ok(()),
            false => Err(ModelError::Mismatch { field, config, tokenizer }),
        };
        agree("vocab_size", config.vocab_size, tokenizer.vocab_size())?;
        agree("bos_token_id", config.bos_token_id as usize, tokenizer.control(Control::Bos) as usize)?;
        agree("eos_token_id", config.eos_token_id as usize, tokenizer.control(Control::End) as usize)?;
        Ok(Model { weights, codec })
    }

    /// Reads a checkpoint directory.
    pub fn load(dir: &Path, device: &Device) -> Result<Model, ModelError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| ModelError::Read { path, source })
        };
        let (config, weights) = (read("config.json")?, read("model.safetensors")?);
        let (tokenizer, tokenizer_config) = (read("tokenizer.json")?, read("tokenizer_config.json")?);
        let files =
            Files { config: &config, weights: &weights, tokenizer: &tokenizer, tokenizer_config: &tokenizer_config };
        Model::from_embedded(files, device)
    }

    /// Reads a checkpoint from memory.
    pub fn from_embedded(files: Files<'_>, device: &Device) -> Result<Model, ModelError> {
        let weights = Weights::from_bytes(files.config, files.weights, device)?;
        let tokenizer = Tokenizer::from_bytes(files.tokenizer)?;
        let file: Value = serde_json::from_slice(files.tokenizer_config).unwrap_or_default();
        let template = Template::from_jinja(file["chat_template"].as_str().ok_or(ModelError::NoTemplate)?)?;
        Model::new(weights, Codec { tokenizer, template })
    }

    /// Writes a checkpoint directory, whole or not at all; `dir` must not exist yet, its parent must. `stored` as `Bf16`
    /// halves the file and rounds the weights: what is loaded from it has another hash.
    pub fn save(&self, dir: &Path, stored: Stored) -> Result<(), ModelError> {
        let others = self.other_files();
        let others: Vec<(&str, &[u8])> = others.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        Ok(self.weights.save(dir, stored, &others)?)
    }

    /// Content address: tensors, config, tokenizer and template.
    pub fn hash(&self) -> Hash {
        self.weights.hash(&[self.codec.tokenizer.to_json().as_bytes(), self.codec.template.jinja().as_bytes()])
    }

    /// An engine over the weights as they are now, signed with their hash.
    pub fn engine(&self) -> Engine {
        self.engine_by(By::Checkpoint(self.hash()))
    }

    /// An engine over the weights as they are now, for a policy in the middle of training.
    pub fn engine_by(&self, by: By) -> Engine {
        Engine::new(Transformer::new(&self.weights), self.codec.clone(), by)
    }

    /// Everything of the directory but config and weights.
    fn other_files(&self) -> [(&'static str, String); 4] {
        let tokenizer = &self.codec.tokenizer;
        let [bos, end, pad] = [Control::Bos, Control::End, Control::Pad];
        let roles_and_blocks: Vec<&str> =
            Control::ALL.into_iter().filter(|it| ![bos, end, pad].contains(it)).map(Control::text).collect();
        let special = json!({
            "bos_token": bos.text(), "eos_token": end.text(), "pad_token": pad.text(),
            "additional_special_tokens": roles_and_blocks,
        });
        let mut tokenizer_config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": self.weights.config().max_position_embeddings,
            "add_bos_token": false, "clean_up_tokenization_spaces": false, "chat_template": self.codec.template.jinja(),
        });
        for (key, value) in special.as_object().expect("an object is an object") {
            tokenizer_config[key] = value.clone();
        }
        let generation = json!({
            "bos_token_id": tokenizer.control(bos), "eos_token_id": tokenizer.control(end),
            "pad_token_id": tokenizer.control(pad), "do_sample": true, "temperature": 1.0,
        });
        let pretty = |it: &Value| serde_json::to_string_pretty(it).expect("JSON prints") + "\n";
        [
            ("tokenizer.json", tokenizer.to_json().to_owned()),
            ("tokenizer_config.json", pretty(&tokenizer_config)),
            ("special_tokens_map.json", pretty(&special)),
            ("generation_config.json", pretty(&generation)),
        ]
    }
}
