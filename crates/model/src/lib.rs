//! text -> tokens -> logits -> text: the tokenizer and chat template, the transformer and its weights, the mask proof, and
//! the sampling engine.

mod arch;
mod bounds;
mod chat;
mod compute;
mod decoder;
mod engine;
mod files;
mod json;
mod layout;
mod model_dir;
mod tensors;
mod transformer;
mod weights;

pub use arch::{ConfigError, Ends, Extras, HfConfig, Param, Role, RopeScaling, Shape, ShapeError};
pub use chat::codec::{Codec, Encoded, EncodedTurn, Piece, Thoughts, TurnPieces, Unrenderable};
pub use chat::harbor::{Harbor, HarborError};
pub use chat::proof::{Fault, Problem, Proof, prove, prove_contexts};
pub use chat::tokenizer::{Tokenizer, TokenizerError};
pub use collimate_kernels::{Heads, Precision};
pub use compute::Compute;
pub use decoder::Decoder;
pub use engine::Engine;
pub use files::read_file;
pub use layout::Layout;
pub use model_dir::{Files, Model, ModelError};
pub use tensors::{Stored, TensorFile, TensorsError, read_tensors};
pub use transformer::Transformer;
pub use weights::{Weights, WeightsError};
