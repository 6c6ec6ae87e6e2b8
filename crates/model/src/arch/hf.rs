//! The `config.json` of a Hugging Face checkpoint, as the file says it, and what it means: which transformer, of the families
//! that are known.

use collimate_kernels::Heads;
use serde::de::Error;
use serde_json::{Map, Value, json};

use super::rope::RopeScaling;
use super::shape::{Extras, Shape, ShapeError};
use crate::json::{excerpt, parse};

/// The content of a `config.json`, whatever it means.
#[derive(Clone, Debug, PartialEq)]
pub struct HfConfig(Map<String, Value>);

/// The tokens that a `config.json` names, by their ids: no part of what is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Begins every sequence, where one does.
    pub bos: Option<u32>,
    /// Each of them ends a turn.
    pub eos: Vec<u32>,
}

impl Ends {
    /// One of each.
    pub fn new(bos: u32, eos: u32) -> Ends {
        Ends { bos: Some(bos), eos: vec![eos] }
    }
}

/// A family of models: what its files leave unsaid.
struct Family {
    model_type: &'static str,
    architecture: &'static str,
    /// Queries, keys and values have a bias, whatever the file says.
    qkv_bias: bool,
    /// Heads are normalised.
    head_norms: bool,
    /// Whether `attention_bias` and `mlp_bias` mean something.
    says_biases: [bool; 2],
    /// Width of a head where the file says none; otherwise the width is divided among them.
    head_width: Option<usize>,
    window: Window,
}

/// How a family says that positions see no others but the last ones.
#[derive(PartialEq)]
enum Window {
    /// It does not know that.
    Unknown,
    /// `sliding_window`, 4,096 if it is absent, is for all layers.
    Always,
    /// The same, if `use_sliding_window` says so.
    IfUsed,
}

const LLAMA: Family = Family {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    qkv_bias: false,
    head_norms: false,
    says_biases: [true, true],
    head_width: None,
    window: Window::Unknown,
};

const FAMILIES: [Family; 4] = [
    LLAMA,
    Family {
        model_type: "mistral",
        architecture: "MistralForCausalLM",
        says_biases: [false; 2],
        window: Window::Always,
        ..LLAMA
    },
    Family {
        model_type: "qwen2",
        architecture: "Qwen2ForCausalLM",
        qkv_bias: true,
        says_biases: [false; 2],
        window: Window::IfUsed,
        ..LLAMA
    },
    Family {
        model_type: "qwen3",
        architecture: "Qwen3ForCausalLM",
        head_norms: true,
        says_biases: [true, false],
        head_width: Some(128),
        window: Window::IfUsed,
        ..LLAMA
    },
];

/// What `model_type` and `architectures` may be, for people.
const MODEL_TYPES: &str = "\"llama\", \"mistral\", \"qwen2\" and \"qwen3\"";

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

    /// What Transformers loads as a model of `shape`.
    ///
    /// # Panics
    /// If no family has such extras.
    pub fn of(shape: &Shape, ends: &Ends) -> HfConfig {
        let extras = shape.extras;
        let family = FAMILIES.iter().find(|it| {
            let attention = if it.says_biases[0] { extras.qkv_bias == extras.out_bias } else { !extras.out_bias };
            let fixed = it.says_biases[0] || it.qkv_bias == extras.qkv_bias;
            attention && fixed && it.head_norms == extras.head_norms && (it.says_biases[1] || !extras.ffn_bias)
        });
        let family = family.expect("a family with these extras");
        let mut fields = json!({
            "architectures": [family.architecture],
            "model_type": family.model_type,
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
            "attention_bias": extras.out_bias,
            "mlp_bias": extras.ffn_bias,
            "tie_word_embeddings": !extras.own_head,
            "bos_token_id": ends.bos,
            "eos_token_id": match &ends.eos[..] { [one] => json!(one), several => json!(several) },
        });
        if family.window == Window::Always {
            fields["sliding_window"] = Value::Null;
        }
        let scaling = match extras.rope_scaling {
            RopeScaling::None => None,
            RopeScaling::Linear { factor } => Some(json!({ "rope_type": "linear", "factor": factor })),
            RopeScaling::Llama3 { factor, low, high, original } => Some(json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                "original_max_position_embeddings": original,
            })),
            RopeScaling::Yarn { factor, fast, slow, original, attention, truncates } => Some(json!({
                "rope_type": "yarn", "factor": factor, "beta_fast": fast, "beta_slow": slow, "attention_factor": attention,
                "original_max_position_embeddings": original, "truncate": truncates,
            })),
        };
        if let Some(scaling) = scaling {
            fields["rope_scaling"] = scaling;
        }
        let Value::Object(fields) = fields else { unreachable!("it is written as an object") };
        HfConfig(fields)
    }

    /// The file; always the same bytes for the same fields in the same order.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("a JSON value serialises") + "\n"
    }

    /// The same file with how its weights are stored, where it says that.
    pub(crate) fn stored_as(mut self, name: &str) -> HfConfig {
        for key in ["torch_dtype", "dtype"] {
            if let Some(it) = self.0.get_mut(key) {
                *it = json!(name);
            }
        }
        self
    }

    /// The file without what changes nothing that is computed and differs from one program that writes it to the next.
    pub(crate) fn identity(mut self) -> HfConfig {
        for key in ["torch_dtype", "dtype", "transformers_version", "_name_or_path", "use_cache"] {
            self.0.shift_remove(key);
        }
        self
    }

    fn family(&self) -> Result<&'static Family, ConfigError> {
        let none = || Value::String(LLAMA.model_type.to_owned());
        let model_type = self.field("model_type").cloned().unwrap_or_else(none);
        let family = FAMILIES.iter().find(|it| model_type == it.model_type);
        let family = family.ok_or_else(|| unsupported("model_type", &model_type, MODEL_TYPES))?;
        self.only("architectures", json!([family.architecture]), "the `ForCausalLM` of its model_type")?;
        Ok(family)
    }

    /// What the file asks to be computed; absent optional fields take Transformers' defaults.
    pub fn shape(&self) -> Result<Shape, ConfigError> {
        let family = self.family()?;
        self.only("hidden_act", json!("silu"), "\"silu\"")?;
        self.only("partial_rotary_factor", json!(1.0), "1.0")?;
        self.only("quantization_config", Value::Null, "null")?;
        let biases = |name, is_said: bool| if is_said { self.flag(name) } else { Ok(false) };
        let attention_bias = biases("attention_bias", family.says_biases[0])?;
        let (rope_theta, rope_scaling) = self.rope()?;
        let extras = Extras {
            rope_scaling,
            qkv_bias: family.qkv_bias || attention_bias,
            out_bias: attention_bias,
            ffn_bias: biases("mlp_bias", family.says_biases[1])?,
            head_norms: family.head_norms,
            own_head: !self.flag("tie_word_embeddings")?,
        };
        let (width, n_query) = (self.count("hidden_size")?, self.count("num_attention_heads")?);
        let optional = |name, default| if self.field(name).is_some() { self.count(name) } else { Ok(default) };
        let positions = self.count("max_position_embeddings")?;
        let shape = Shape {
            width,
            n_layers: self.count("num_hidden_layers")?,
            heads: Heads {
                n_query,
                n_kv: optional("num_key_value_heads", n_query)?,
                width: optional("head_dim", family.head_width.unwrap_or(width / n_query))?,
            },
            ffn_width: self.count("intermediate_size")?,
            n_vocab: self.count("vocab_size")?,
            n_positions: self.window(family)?.map_or(positions, |it| it.min(positions)),
            norm_eps: number("rms_norm_eps", self.required("rms_norm_eps", NUMBER)?)?,
            rope_theta,
            extras,
        };
        shape.check()?;
        Ok(shape)
    }

    /// What of the file is followed in another way than it says.
    pub fn notices(&self) -> Vec<String> {
        let (window, positions) = (self.family().and_then(|it| self.window(it)), self.count("max_position_embeddings"));
        match (window, positions) {
            (Ok(Some(window)), Ok(positions)) if window < positions => vec![format!(
                "config.json: positions see the last {window} only (`sliding_window`): sequences are kept that short, at most \
                 {window} of {positions} positions"
            )],
            _ => vec![],
        }
    }

    /// How many of the last positions each sees, if not all.
    fn window(&self, family: &Family) -> Result<Option<usize>, ConfigError> {
        let used = match family.window {
            Window::Unknown => {
                self.only("sliding_window", Value::Null, "null")?;
                false
            }
            Window::Always => true,
            Window::IfUsed => self.flag("use_sliding_window")?,
        };
        match self.0.get("sliding_window") {
            _ if !used => Ok(None),
            None => Ok(Some(4096)), // Transformers' default
            Some(Value::Null) => Ok(None),
            Some(_) => self.count("sliding_window").map(Some),
        }
    }

    /// Base of the rotary angles, and how they are scaled.
    fn rope(&self) -> Result<(f64, RopeScaling), ConfigError> {
        // Newer files keep all of it in one object.
        let (new, old) = ("rope_parameters", "rope_scaling");
        let name = if self.field(new).is_some() { new } else { old };
        if let (true, Some(second)) = (name == new, self.field(old)) {
            return Err(wrong(old, second, "absent beside `rope_parameters`".to_owned()));
        }
        let nothing = Map::new();
        let rope = match self.field(name) {
            Some(it) => it.as_object().ok_or_else(|| wrong(name, it, "an object".to_owned()))?,
            None => &nothing,
        };
        let said = |key: &'static str| rope.get(key).filter(|it| !it.is_null()).map(|it| number(key, it)).transpose();
        let needed = |key: &'static str| said(key)?.ok_or(ConfigError::Missing { field: key, expected: NUMBER });
        let own = |key| self.field(key).map(|it| number(key, it)).transpose();
        let theta = match said("rope_theta")? {
            Some(it) => it,
            None => own("rope_theta")?.unwrap_or(10_000.0),
        };
        // Both keys may be there, and then say the same.
        let mut kinds = ["rope_type", "type"].into_iter().filter_map(|it| rope.get(it)).filter(|it| !it.is_null());
        let (kind, second) = (kinds.next(), kinds.next());
        if let (Some(kind), Some(second)) = (kind, second.filter(|it| kind != Some(it))) {
            return Err(wrong(name, second, format!("{kind}, as its `rope_type` says")));
        }
        let default = json!("default");
        let kind = kind.unwrap_or(&default);
        let original = || match said("original_max_position_embeddings")? {
            Some(it) => Ok(it),
            None => own("original_max_position_embeddings")?
                .map_or_else(|| self.count("max_position_embeddings").map(|it| it as f64), Ok),
        };
        let (scaling, keys): (_, &[&str]) = match kind.as_str() {
            Some("default") => (RopeScaling::None, &[]),
            Some("linear") => (RopeScaling::Linear { factor: needed("factor")? }, &["factor"]),
            Some("llama3") => {
                let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
                let scaling = RopeScaling::Llama3 { factor: needed("factor")?, low, high, original: original()? };
                (scaling, &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"])
            }
            Some("yarn") => {
                let factor = needed("factor")?;
                let magnitude = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
                let attention = match (said("attention_factor")?, said("mscale")?, said("mscale_all_dim")?) {
                    (Some(it), ..) => it,
                    (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
                    _ => magnitude(1.0),
                };
                let (fast, slow) = (said("beta_fast")?.unwrap_or(32.0), said("beta_slow")?.unwrap_or(1.0));
                let truncate = rope.get("truncate").filter(|it| !it.is_null()).unwrap_or(&Value::Bool(true));
                let truncates = truncate.as_bool();
                let truncates = truncates.ok_or_else(|| wrong("truncate", truncate, TRUE_OR_FALSE.to_owned()))?;
                let scaling = RopeScaling::Yarn { factor, fast, slow, original: original()?, attention, truncates };
                let keys = &[
                    "factor",
                    "original_max_position_embeddings",
                    "attention_factor",
                    "mscale",
                    "mscale_all_dim",
                    "beta_fast",
                    "beta_slow",
                    "truncate",
                ];
                (scaling, keys)
            }
            _ => return Err(unsupported(name, kind, "\"default\", \"linear\", \"llama3\" and \"yarn\"")),
        };
        let is_known = |(key, value): (&str, &Value)| match key {
            "rope_type" | "type" | "rope_theta" => true,
            "partial_rotary_factor" => value.as_f64() == Some(1.0),
            other => keys.contains(&other),
        };
        match rope.iter().find(|(key, value)| !value.is_null() && !is_known((key, value))) {
            Some((key, value)) => {
                let value = Value::String(format!("{key}: {value}"));
                Err(unsupported(name, &value, "the keys that belong to its type"))
            }
            None => Ok((theta, scaling)),
        }
    }

    /// The tokens it names.
    pub fn ends(&self) -> Result<Ends, ConfigError> {
        let n_vocab = self.count("vocab_size")?;
        let token = |field, value: &Value| {
            let id = value.as_u64().filter(|it| *it < n_vocab as u64).and_then(|it| u32::try_from(it).ok());
            id.ok_or_else(|| wrong(field, value, format!("a token id below vocab_size ({n_vocab})")))
        };
        let (bos, eos) = ("bos_token_id", "eos_token_id");
        Ok(Ends {
            bos: self.field(bos).map(|it| token(bos, it)).transpose()?,
            eos: match self.field(eos) {
                None => vec![],
                Some(Value::Array(all)) => all.iter().map(|it| token(eos, it)).collect::<Result<_, _>>()?,
                Some(one) => vec![token(eos, one)?],
            },
        })
    }

    /// A flag; false where it is absent.
    fn flag(&self, field: &'static str) -> Result<bool, ConfigError> {
        let value = self.field(field).unwrap_or(&Value::Bool(false));
        value.as_bool().ok_or_else(|| wrong(field, value, TRUE_OR_FALSE.to_owned()))
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
const TRUE_OR_FALSE: &str = "true or false";

fn number(field: &'static str, value: &Value) -> Result<f64, ConfigError> {
    value.as_f64().ok_or_else(|| wrong(field, value, NUMBER.to_owned()))
}

fn wrong(field: &'static str, found: &Value, expected: String) -> ConfigError {
    ConfigError::Wrong { field, found: excerpt(&found.to_string()), expected }
}

fn unsupported(field: &'static str, value: &Value, supported: &'static str) -> ConfigError {
    ConfigError::Unsupported { field, value: excerpt(&value.to_string()), supported }
}
