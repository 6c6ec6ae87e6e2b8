//! Chat: text -> tokens -> text, for conversations and turns, and the proof of what is trained on.

pub(crate) mod codec;
pub(crate) mod harbor;
pub(crate) mod proof;
mod template;
pub(crate) mod tokenizer;
