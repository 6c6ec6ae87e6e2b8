//! The shape of a transformer, read from and written to the `config.json` of Hugging Face's `LlamaForCausalLM`.

use collimate_kernels::Heads;
use serde_json::{Value, json};

/// A Llama-shaped transformer: RMSNorm, rotary positions, grouped queries, SwiGLU, tied head, no biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// D, width of the residual stream.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// H, query heads.
    pub num_attention_heads: usize,
    /// K, key-value heads; divides H.
    pub num_key_value_heads: usize,
    /// d, width of a head; even.
    pub head_dim: usize,
    /// F, width of the feed-forward block.
    pub intermediate_size: usize,
    /// V, vocabulary.
    pub vocab_size: usize,
    /// Longest sequence, positions.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Begins every sequence.
    pub bos_token_id: u32,
    /// Ends a turn.
    pub eos_token_id: u32,
}

/// Why a `config.json` does not describe a model of ours.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON.
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
    Sizes(String),
}

impl Config {
    /// Reads `config.json`; absent optional fields take Transformers' defaults.
    pub fn from_json(json: &str) -> Result<Config, ConfigError> {
        let root: Value = serde_json::from_str(json)?;
        let field = |name: &'static str| root.get(name).filter(|it| !it.is_null());
        let count = |name: &'static str| {
            let value = field(name).and_then(Value::as_u64).filter(|it| *it > 0);
            value.map(|it| it as usize).ok_or(ConfigError::Missing(name, "a positive integer"))
        };
        let only = |name: &'static str, supported: Value, words: &'static str| match field(name) {
            Some(value) if *value != supported => {
                Err(ConfigError::Unsupported { field: name, value: value.to_string(), supported: words })
            }
            _ => Ok(()),
        };
        only("model_type", json!("llama"), "\"llama\"")?;
        only("architectures", json!(["LlamaForCausalLM"]), "[\"LlamaForCausalLM\"]")?;
        only("hidden_act", json!("silu"), "\"silu\"")?;
        only("attention_bias", json!(false), "false")?;
        only("mlp_bias", json!(false), "false")?;
        only("rope_scaling", json!({"rope_type": "default"}), "unscaled rotary positions")?;
        if root.get("tie_word_embeddings") != Some(&json!(true)) {
            let value = root.get("tie_word_embeddings").unwrap_or(&json!(false)).to_string();
            return Err(ConfigError::Unsupported { field: "tie_word_embeddings", value, supported: "true" });
        }
        // Newer files keep the rotary base in an object of its own.
        let rope = field("rope_parameters");
        if let Some(kind) = rope.and_then(|it| it.get("rope_type")).filter(|it| **it != json!("default")) {
            let value = kind.to_string();
            return Err(ConfigError::Unsupported { field: "rope_parameters", value, supported: "\"default\"" });
        }
        let rope_theta = rope.and_then(|it| it.get("rope_theta")).or(field("rope_theta"));
        let token = |name: &'static str| {
            let id = field(name).and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
            id.ok_or(ConfigError::Missing(name, "a token id"))
        };
        let (hidden_size, num_attention_heads) = (count("hidden_size")?, count("num_attention_heads")?);
        let optional =
            |name: &'static str, default: usize| if field(name).is_some() { count(name) } else { Ok(default) };
        let config = Config {
            hidden_size,
            num_hidden_layers: count("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: optional("num_key_value_heads", num_attention_heads)?,
            head_dim: optional("head_dim", hidden_size / num_attention_heads)?,
            intermediate_size: count("intermediate_size")?,
            vocab_size: count("vocab_size")?,
            max_position_embeddings: count("max_position_embeddings")?,
            rms_norm_eps: field("rms_norm_eps")
                .and_then(Value::as_f64)
                .ok_or(ConfigError::Missing("rms_norm_eps", "a number"))?,
            rope_theta: rope_theta.and_then(Value::as_f64).unwrap_or(10_000.0),
            bos_token_id: token("bos_token_id")?,
            eos_token_id: token("eos_token_id")?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(ConfigError::Sizes(format!(
                "num_key_value_heads ({}) must divide num_attention_heads ({})",
                self.num_key_value_heads, self.num_attention_heads
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::Sizes(format!("head_dim ({}) must be even", self.head_dim)));
        }
        Ok(())
    }

    /// The `config.json` that Transformers loads as `LlamaForCausalLM`; always the same bytes for the same config.
    pub fn to_json(&self) -> String {
        let value = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": true,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
        });
        serde_json::to_string_pretty(&value).expect("a JSON value serialises") + "\n"
    }

    /// The attention heads.
    pub fn heads(&self) -> Heads {
        Heads { n_query: self.num_attention_heads, n_kv: self.num_key_value_heads, width: self.head_dim }
    }

    /// Hugging Face name and shape of every tensor, sorted by name. One-dimensional ones are norms.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (width, heads, ffn) = (self.hidden_size, self.heads(), self.intermediate_size);
        let (query, kv) = (heads.out_width(), heads.n_kv * heads.width);
        let mut tensors = vec![
            ("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, width]),
            ("model.norm.weight".to_owned(), vec![width]),
        ];
        for layer in 0..self.num_hidden_layers {
            for (name, shape) in [
                ("input_layernorm", vec![width]),
                ("mlp.down_proj", vec![width, ffn]),
                ("mlp.gate_proj", vec![ffn, width]),
                ("mlp.up_proj", vec![ffn, width]),
                ("post_attention_layernorm", vec![width]),
                ("self_attn.k_proj", vec![kv, width]),
                ("self_attn.o_proj", vec![width, query]),
                ("self_attn.q_proj", vec![query, width]),
                ("self_attn.v_proj", vec![kv, width]),
            ] {
                tensors.push((format!("model.layers.{layer}.{name}.weight"), shape));
            }
        }
        tensors.sort();
        tensors
    }

    /// Number of weights; the tied head is counted once.
    pub fn n_parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}
