//! What a transformer is: the file that describes it, its shape, its parameters, and one layer of it.

mod hf;
mod layer;
mod params;
mod rope;
mod shape;

pub use hf::{ConfigError, Ends, HfConfig};
pub(crate) use layer::{Layer, Operations};
pub use params::{Param, Role};
pub use rope::RopeScaling;
pub use shape::{Extras, Shape, ShapeError};
