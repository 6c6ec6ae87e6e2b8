//! The `config.json` of a Hugging Face checkpoint, as the file says it, and what it means: only `LlamaForCausalLM` is known.

use collimate_kernels::Heads;
use serde::de::Error;
use serde_json::{Map, Value, json};

use super::shape::{Shape, ShapeError};
use crate::json::{excerpt, parse};

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
    /// Not JSON, no object, or with a key that stands twice.
    #[error("config.json is not a JSON object, near `{near}`: {source}: copy or write it again")]
    Json {
        /// The line where that shows.
        near: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A field that must be there is not.
    #[error("config.json has no `{field}`: add it, {expected}")]
    Missing {
        /// Which field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A field has another type, or contradicts something else.
    #[error("config.json: `{field}` is {found}, but must be {expected}: correct it, or copy or write the file again")]
    Wrong {
        /// Which field.
        field: &'static str,
        /// Its value, as JSON.
        found: String,
        /// What it may be.
        expected: String,
    },
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
    /// Sizes that cannot be computed.
    #[error("config.json: {0}")]
    Sizes(#[from] ShapeError),
}

impl HfConfig {
    /// Reads a file.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<HfConfig, ConfigError> {
        let json = json.as_ref();
        let near = |line: usize| {
            let text = json.split(|it| *it == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
            excerpt(&String::from_utf8_lossy(text))
        };
        match parse(json) {
            Ok(Value::Object(fields)) => Ok(HfConfig(fields)),
            Ok(_) => {
                Err(ConfigError::Json { near: near(1), source: serde_json::Error::custom("it is something else") })
            }
            Err(source) => Err(ConfigError::Json { near: near(source.line()), source }),
        }
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
        self.only("partial_rotary_factor", json!(1.0), "1.0")?;
        self.only("sliding_window", Value::Null, "null")?;
        self.only("quantization_config", Value::Null, "null")?;
        let tied = self.0.get("tie_word_embeddings").unwrap_or(&Value::Bool(false)); // Transformers' default
        if *tied != json!(true) {
            return Err(unsupported("tie_word_embeddings", tied, "true"));
        }
        self.unscaled("rope_scaling")?;
        self.unscaled("rope_parameters")?;
        // Newer files keep the rotary base in an object of its own.
        let inner = self.field("rope_parameters").and_then(|it| it.get("rope_theta")).filter(|it| !it.is_null());
        let rope_theta = inner.or(self.field("rope_theta")).map(|it| number("rope_theta", it));
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
            norm_eps: number("rms_norm_eps", self.required("rms_norm_eps", NUMBER)?)?,
            rope_theta: rope_theta.unwrap_or(Ok(10_000.0))?,
        };
        shape.check()?;
        Ok(shape)
    }

    /// The tokens it names.
    pub fn ends(&self) -> Result<Ends, ConfigError> {
        let n_vocab = self.count("vocab_size")?;
        let token = |field| {
            let value = self.required(field, "a token id")?;
            let id = value.as_u64().filter(|it| *it < n_vocab as u64).and_then(|it| u32::try_from(it).ok());
            id.ok_or_else(|| wrong(field, value, format!("one token id below vocab_size ({n_vocab})")))
        };
        Ok(Ends { bos: token("bos_token_id")?, eos: token("eos_token_id")? })
    }

    /// What a field says; null is as good as absent.
    fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|it| !it.is_null())
    }

    fn required(&self, field: &'static str, expected: &'static str) -> Result<&Value, ConfigError> {
        self.field(field).ok_or(ConfigError::Missing { field, expected })
    }

    /// A size; [`Shape::check`] knows its range.
    fn count(&self, field: &'static str) -> Result<usize, ConfigError> {
        let value = self.required(field, COUNT)?;
        let count = value.as_u64().filter(|it| *it > 0).and_then(|it| usize::try_from(it).ok());
        count.ok_or_else(|| wrong(field, value, COUNT.to_owned()))
    }

    /// Refuses rotary positions that are scaled in some way.
    fn unscaled(&self, field: &'static str) -> Result<(), ConfigError> {
        let Some(rope) = self.field(field) else { return Ok(()) };
        let rope = rope.as_object().ok_or_else(|| wrong(field, rope, "an object".to_owned()))?;
        let kinds = ["rope_type", "type"].into_iter().filter_map(|it| rope.get(it));
        match kinds.filter(|it| !it.is_null()).find(|it| **it != json!("default")) {
            Some(kind) => Err(unsupported(field, kind, "\"default\"")),
            None => Ok(()),
        }
    }

    /// Refuses a field that says anything but `supported`, which `words` describe.
    fn only(&self, name: &'static str, supported: Value, words: &'static str) -> Result<(), ConfigError> {
        match self.field(name) {
            Some(value) if *value != supported && value.as_f64().is_none_or(|it| supported != it) => {
                Err(unsupported(name, value, words))
            }
            _ => Ok(()),
        }
    }
}

const COUNT: &str = "a positive whole number";
const NUMBER: &str = "a number";

fn number(field: &'static str, value: &Value) -> Result<f64, ConfigError> {
    value.as_f64().ok_or_else(|| wrong(field, value, NUMBER.to_owned()))
}

fn wrong(field: &'static str, found: &Value, expected: String) -> ConfigError {
    ConfigError::Wrong { field, found: excerpt(&found.to_string()), expected }
}

fn unsupported(field: &'static str, value: &Value, supported: &'static str) -> ConfigError {
    ConfigError::Unsupported { field, value: excerpt(&value.to_string()), supported }
}
