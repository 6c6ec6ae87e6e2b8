//! The operations a transformer spends its time in, behind one small interface of free functions on Burn tensors. A caller
//! states *what* is computed; how belongs to this crate. Each function has a body of plain [`Tensor`](burn::Tensor)
//! operations that runs on every device and is the reference in tests, and on Flex a fused pass with a hand-written
//! backward.
//!
//! Shapes: `N` rows (batch x time), `B` batch, `T` time, `D` model width, `H` query heads, `K` key-value heads, `d` head
//! width, `F` feed-forward width, `V` vocabulary. Tensors are f32; products may round their operands, see [`Precision`].

mod amx;
mod area;
mod attention;
mod bf16;
mod cached;
mod device;
mod distill;
mod dot;
mod embed;
mod given;
mod head;
mod heads;
mod isa;
mod lanes;
mod linear;
mod logits;
mod memory;
mod norm;
mod optim;
mod packed;
mod precision;
mod recompute;
mod rotary;
mod row;
mod sequence;
mod softmax;
mod swiglu;
mod tile;
mod top_k;
mod values;

pub mod plain;

pub use attention::attention;
pub use cached::{BLOCK, Block, CachedRow, Plan, Spare, cached_attention};
pub use distill::{distillation_loss, head_top_k};
pub use embed::embed;
pub use head::{TokenScore, head_scores, token_loss};
pub use heads::Heads;
pub use isa::{InstructionSet, IsaError};
pub use linear::Linear;
pub use memory::keep_freed_memory;
pub use norm::{rms_norm, rms_norm_rows};
pub use optim::{AdamW, Moments, Muon, adamw_step, add, muon_step, square_sum};
pub use precision::Precision;
pub use recompute::recompute;
pub use rotary::Rotary;
pub use row::{at_share, highest, logprob, masses};
pub use swiglu::swiglu_rows;
pub use top_k::{TopK, TopKError};
pub use values::Values;
