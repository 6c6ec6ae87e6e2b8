//! text -> tokens -> logits -> text: the tokenizer and chat template, the transformer and its weights, the mask proof, and
//! the sampling engine.

mod encode;
mod proof;
mod template;
mod tokenizer;

pub use encode::{Batches, Codec, Encoded};
pub use proof::{Fault, Problem, Proof, prove};
pub use template::{Piece, Template, TemplateError};
pub use tokenizer::{Control, Controls, Tokenizer, TokenizerError};
