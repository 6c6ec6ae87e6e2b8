//! The `config.json` of a Hugging Face checkpoint, as the file says it, and what it means: only `LlamaForCausalLM` is known.

use collimate_kernels::Heads;
use serde_json::{Map, Value, json};

use super::shape::{Shape, ShapeError};

/// The content of a `config.json`, whatever it means.
#[derive(Clone, Debug, PartialEq)]
pub struct HfConfig(Map<String, Value>);

/// The tokens that a `config.json` names, by their ids: no part of what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Begins every sequence.
    pub bos: u32,
    /// Ends a turn.
    pub eos: u32,
}

/// Why a `config.json` does not describe a model of ours.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or no object.
    #[error("config.json is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A field that must be there is not, or has another type.
    #[error("config.json: `{0}` must be {1}: add it")]
    Missing(&'static str, &'static str),
    /// A value this transformer does not implement.
    #[error(
        "config.json: `{field}` is {value}, this transformer supports {supported} only: convert the checkpoint first"
    )]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// Its value, as JSON.
        value: String,
        /// What it may be.
        supported: &'static str,
    },
    /// Sizes that contradict each other.
    #[error("config.json: {0}")]
    Sizes(#[from] ShapeError),
}

impl HfConfig {
    /// Reads a file.
    pub fn from_json(json: &str) -> Result<HfConfig, ConfigError> {
        Ok(HfConfig(serde_json::from_str(json)?))
    }

    /// What Transformers loads as a `LlamaForCausalLM` of `shape`.
    pub fn of(shape: &Shape, ends: Ends) -> HfConfig {
        let fields = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": shape.width,
            "num_hidden_layers": shape.n_layers,
            "num_attention_heads": shape.heads.n_query,
            "num_key_value_heads": shape.heads.n_kv,
            "head_dim": shape.heads.width,
            "intermediate_size": shape.ffn_width,
            "vocab_size": shape.n_vocab,
            "max_position_embeddings": shape.n_positions,
            "rms_norm_eps": shape.norm_eps,
            "rope_theta": shape.rope_theta,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": true,
            "bos_token_id": ends.bos,
            "eos_token_id": ends.eos,
        });
        let Value::Object(fields) = fields else { unreachable!("it is written as an object") };
        HfConfig(fields)
    }

    /// The file; always the same bytes for the same fields in the same order.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("a JSON value serialises") + "\n"
    }

    /// What the file asks to be computed; absent optional fields take Transformers' defaults.
    pub fn shape(&self) -> Result<Shape, ConfigError> {
        self.only("model_type", json!("llama"), "\"llama\"")?;
        self.only("architectures", json!(["LlamaForCausalLM"]), "[\"LlamaForCausalLM\"]")?;
        self.only("hidden_act", json!("silu"), "\"silu\"")?;
        self.only("attention_bias", json!(false), "false")?;
        self.only("mlp_bias", json!(false), "false")?;
        self.only("rope_scaling", json!({"rope_type": "default"}), "unscaled rotary positions")?;
        let tied = self.0.get("tie_word_embeddings").unwrap_or(&Value::Bool(false)); // Transformers' default
        if *tied != json!(true) {
            return Err(unsupported("tie_word_embeddings", tied, "true"));
        }
        // Newer files keep the rotary base in an object of its own.
        let rope = self.field("rope_parameters");
        if let Some(kind) = rope.and_then(|it| it.get("rope_type")).filter(|it| **it != json!("default")) {
            return Err(unsupported("rope_parameters", kind, "\"default\""));
        }
        let rope_theta = rope.and_then(|it| it.get("rope_theta")).or(self.field("rope_theta"));
        let (width, n_query) = (self.count("hidden_size")?, self.count("num_attention_heads")?);
        let optional = |name, default| if self.field(name).is_some() { self.count(name) } else { Ok(default) };
        let shape = Shape {
            width,
            n_layers: self.count("num_hidden_layers")?,
            heads: Heads {
                n_query,
                n_kv: optional("num_key_value_heads", n_query)?,
                width: optional("head_dim", width / n_query)?,
            },
            ffn_width: self.count("intermediate_size")?,
            n_vocab: self.count("vocab_size")?,
            n_positions: self.count("max_position_embeddings")?,
            norm_eps: self
                .field("rms_norm_eps")
                .and_then(Value::as_f64)
                .ok_or(ConfigError::Missing("rms_norm_eps", "a number"))?,
            rope_theta: rope_theta.and_then(Value::as_f64).unwrap_or(10_000.0),
        };
        shape.check()?;
        Ok(shape)
    }

    /// The tokens it names.
    pub fn ends(&self) -> Result<Ends, ConfigError> {
        let token = |name: &'static str| {
            let id = self.field(name).and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
            id.ok_or(ConfigError::Missing(name, "a token id"))
        };
        Ok(Ends { bos: token("bos_token_id")?, eos: token("eos_token_id")? })
    }

    /// What a field says; null is as good as absent.
    fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|it| !it.is_null())
    }

    fn count(&self, name: &'static str) -> Result<usize, ConfigError> {
        let value = self.field(name).and_then(Value::as_u64).filter(|it| *it > 0);
        value.map(|it| it as usize).ok_or(ConfigError::Missing(name, "a positive integer"))
    }

    /// Refuses a field that says anything but `supported`, which `words` describe.
    fn only(&self, name: &'static str, supported: Value, words: &'static str) -> Result<(), ConfigError> {
        match self.field(name) {
            Some(value) if *value != supported => Err(unsupported(name, value, words)),
            _ => Ok(()),
        }
    }
}

fn unsupported(field: &'static str, value: &Value, supported: &'static str) -> ConfigError {
    ConfigError::Unsupported { field, value: value.to_string(), supported }
}
