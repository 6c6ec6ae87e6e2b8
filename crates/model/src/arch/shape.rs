//! What is computed, whatever the file that describes it looks like.

use collimate_kernels::Heads;

/// A Llama-shaped transformer: RMSNorm, rotary positions, grouped queries, SwiGLU, tied head, no biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// D, width of the residual stream.
    pub width: usize,
    /// Layers.
    pub n_layers: usize,
    /// Query heads, key-value heads and their width.
    pub heads: Heads,
    /// F, width of the feed-forward block.
    pub ffn_width: usize,
    /// V, vocabulary.
    pub n_vocab: usize,
    /// Longest sequence, positions.
    pub n_positions: usize,
    /// Added to the mean square in RMSNorm.
    pub norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
}

/// Sizes that contradict each other, by the names that `config.json` has for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Query heads must divide evenly among the key-value heads.
    #[error("num_key_value_heads ({kv}) must divide num_attention_heads ({query})")]
    Heads {
        /// Query heads.
        query: usize,
        /// Key-value heads.
        kv: usize,
    },
    /// Rotary positions turn pairs.
    #[error("head_dim ({0}) must be even")]
    OddHead(usize),
}

impl Shape {
    /// Whether it can be computed.
    pub fn check(&self) -> Result<(), ShapeError> {
        let Heads { n_query, n_kv, width } = self.heads;
        if !n_query.is_multiple_of(n_kv) {
            return Err(ShapeError::Heads { query: n_query, kv: n_kv });
        }
        if !width.is_multiple_of(2) {
            return Err(ShapeError::OddHead(width));
        }
        Ok(())
    }
}
