//! Gradient steps, no loops: losses, AdamW with state keyed by tensor name, supervised, distillation and
//! reinforcement-learning steps, advantages, schedules. A recipe owns the loop, the data and the journal.

mod adam;
mod advantage;
mod batch;
mod distill;
mod gradient;
mod groups;
mod learnable;
mod passes;
mod rl;
mod schedule;
mod score;
mod sft;

pub use adam::{Adam, AdamError};
pub use advantage::{Advantages, Baseline, Degenerate, advantages};
pub use batch::{Batch, Trained, pack};
pub use collimate_kernels::{AdamW, Muon, TopK};
pub use distill::{DistillBatch, distill_step};
pub use gradient::StepError;
pub use groups::{GroupStats, NoTokens, Rewarded, rl_batches};
pub use learnable::{Full, Learnable, Tracked};
pub use passes::draw;
pub use rl::{Rl, RlBatch, RlStats, RlToken, rl_step};
pub use schedule::Schedule;
pub use score::score;
pub use sft::{SftStats, sft_step};
