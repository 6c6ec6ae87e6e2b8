//! What is computed, whatever the file that describes it looks like.

use collimate_kernels::Heads;

use super::rope::RopeScaling;

/// A transformer with RMSNorm before its blocks, rotary positions, grouped queries and SwiGLU, and what its family adds.
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
    /// What its family adds.
    pub extras: Extras,
}

/// What some families add to a transformer; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extras {
    /// How rotary angles are changed for sequences longer than those of pretraining.
    pub rope_scaling: RopeScaling,
    /// Queries, keys and values have a bias (Qwen2).
    pub qkv_bias: bool,
    /// What attention writes to the stream has a bias.
    pub out_bias: bool,
    /// The matrices of the feed-forward block have biases.
    pub ffn_bias: bool,
    /// Each head's queries and keys are normalised (Qwen3).
    pub head_norms: bool,
    /// The head has weights of its own; otherwise it is the embedding.
    pub own_head: bool,
}

/// Sizes that cannot be computed, by the names that `config.json` has for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A number outside its range.
    #[error("`{field}` is {found}, but must be {expected}: correct it, or copy or write the file again")]
    Outside {
        /// Which one.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: String,
    },
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

/// The largest size of anything: a product of two of them fits.
const MOST: usize = i32::MAX as usize;

/// The most positions, and numbers in the rotary tables of so many: 512 MiB.
const MOST_POSITIONS: usize = 1 << 20;
const MOST_ROTARY: usize = 1 << 27;

impl Shape {
    /// Whether it can be computed.
    pub fn check(&self) -> Result<(), ShapeError> {
        let Heads { n_query, n_kv, width } = self.heads;
        let outside = |field, found: &dyn std::fmt::Debug, expected: String| {
            Err(ShapeError::Outside { field, found: format!("{found:?}"), expected })
        };
        let sizes = [
            ("hidden_size", self.width),
            ("num_hidden_layers", self.n_layers),
            ("num_attention_heads", n_query),
            ("num_key_value_heads", n_kv),
            ("head_dim", width),
            ("intermediate_size", self.ffn_width),
            ("vocab_size", self.n_vocab),
            ("max_position_embeddings", self.n_positions),
        ];
        for (field, size) in sizes {
            if !(1..=MOST).contains(&size) {
                return outside(field, &size, format!("a whole number from 1 to {MOST}"));
            }
        }
        if !n_query.is_multiple_of(n_kv) {
            return Err(ShapeError::Heads { query: n_query, kv: n_kv });
        }
        if !width.is_multiple_of(2) {
            return Err(ShapeError::OddHead(width));
        }
        if self.heads.fused_width() > MOST {
            return outside("head_dim", &width, format!("at most {} with so many heads", MOST / (n_query + 2 * n_kv)));
        }
        let most = MOST_POSITIONS.min(MOST_ROTARY / width);
        if self.n_positions > most {
            return outside("max_position_embeddings", &self.n_positions, format!("at most {most}, for tables to fit"));
        }
        if !(1e-12..=0.1).contains(&self.norm_eps) {
            return outside("rms_norm_eps", &self.norm_eps, "a number from 1e-12 to 0.1".to_owned());
        }
        if !(1.0..=1e12).contains(&self.rope_theta) {
            return outside("rope_theta", &self.rope_theta, "a number from 1 to 1e12".to_owned());
        }
        match self.extras.rope_scaling.outside() {
            Some((field, found, expected)) => outside(field, &found, expected.to_owned()),
            None => Ok(()),
        }
    }
}
