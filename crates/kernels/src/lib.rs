//! The operations a transformer spends its time in, behind one small interface of free functions on Burn tensors. A caller
//! states *what* is computed; how belongs to this crate. Each function has a body of plain [`Tensor`](burn::Tensor)
//! operations that runs on every device and is the reference in tests, and on Flex a fused pass with a hand-written
//! backward.
//!
//! Shapes: `N` rows (batch x time), `B` batch, `T` time, `D` model width, `H` query heads, `K` key-value heads, `d` head
//! width, `F` feed-forward width, `V` vocabulary. Everything is f32.

mod attention;
mod cached;
mod device;
mod embed;
mod head;
mod lanes;
mod linear;
mod norm;
mod optim;
mod rotary;
mod row;
mod sequence;
mod swiglu;

pub mod plain;

pub use attention::{Heads, attention};
pub use cached::{CachedRow, cached_attention};
pub use embed::embed;
pub use head::{TokenScores, head_loss, head_scores};
pub use linear::Linear;
pub use norm::rms_norm;
pub use optim::{AdamW, Moments, Muon, adamw_step, add, muon_step, square_sum};
pub use rotary::Rotary;
pub use row::{highest, logprob, masses};
pub use swiglu::swiglu;
