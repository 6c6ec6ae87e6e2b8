//! text -> tokens -> logits -> text: the tokenizer and chat template, the transformer and its weights, the mask proof, and
//! the sampling engine.

mod batch;
mod config;
mod decoder;
mod draw;
mod encode;
mod engine;
mod layout;
mod model_dir;
mod prefixes;
mod proof;
mod template;
mod tokenizer;
mod transformer;
mod weights;

pub use collimate_kernels::Precision;
pub use config::{Config, ConfigError};
pub use decoder::Decoder;
pub use encode::{Batches, Codec, Encoded};
pub use engine::Engine;
pub use layout::Layout;
pub use model_dir::{Files, Model, ModelError};
pub use proof::{Fault, Problem, Proof, prove};
pub use template::{Piece, Template, TemplateError};
pub use tokenizer::{Control, Controls, Tokenizer, TokenizerError};
pub use transformer::Transformer;
pub use weights::{Stored, Weights, WeightsError, read_tensors, write_tensors};
