//! Every parameter of a transformer, once: its name in checkpoints, its shape, what it is there for, and which of them are one
//! matrix for computing. Whoever treats parameters differently reads their roles; a name is only a name.

use super::layer::Layer;
use super::shape::Shape;

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its Hugging Face name.
    pub name: String,
    /// [D] for norms, [out, in] for matrices.
    pub shape: Vec<usize>,
    /// What it is there for.
    pub role: Role,
}

/// What a parameter is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The table of embeddings, which is also the head.
    Embedding,
    /// Factors of a normalisation.
    Norm,
    /// Makes queries.
    Query,
    /// Makes keys.
    Key,
    /// Makes values.
    Value,
    /// Writes what attention mixed to the residual stream.
    Out,
    /// Makes the gates of the feed-forward block.
    Gate,
    /// Makes what is gated.
    Up,
    /// Writes what was gated to the residual stream.
    Down,
}

impl Role {
    /// The fields of `config.json` that say its shape.
    pub fn fields(self) -> &'static str {
        match self {
            Role::Embedding => "vocab_size, hidden_size",
            Role::Norm => "hidden_size",
            Role::Query => "num_attention_heads x head_dim, hidden_size",
            Role::Key | Role::Value => "num_key_value_heads x head_dim, hidden_size",
            Role::Out => "hidden_size, num_attention_heads x head_dim",
            Role::Gate | Role::Up => "intermediate_size, hidden_size",
            Role::Down => "hidden_size, intermediate_size",
        }
    }

    /// Whether it is a matrix inside a layer.
    pub fn is_of_layers(self) -> bool {
        !matches!(self, Role::Embedding | Role::Norm)
    }

    /// Whether it writes to the residual stream from inside a layer.
    pub fn writes_to_stream(self) -> bool {
        matches!(self, Role::Out | Role::Down)
    }
}

impl Param {
    /// Number of weights.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Rows and columns as it is held: a vector [D] is [1, D].
    pub fn rows_and_columns(&self) -> [usize; 2] {
        match *self.shape {
            [width] => [1, width],
            [rows, columns] => [rows, columns],
            _ => unreachable!("a transformer has vectors and matrices only"),
        }
    }
}

impl Shape {
    /// The table of embeddings.
    pub(crate) fn table(&self) -> Param {
        param("model.embed_tokens.weight".to_owned(), vec![self.n_vocab, self.width], Role::Embedding)
    }

    /// The norm before the head.
    pub(crate) fn norm(&self) -> Param {
        param("model.norm.weight".to_owned(), vec![self.width], Role::Norm)
    }

    /// Layer number `index`; parameters that read the same input are one matrix, the first on top.
    pub(crate) fn layer(&self, index: usize) -> Layer<Param, Vec<Param>> {
        let (width, ffn) = (self.width, self.ffn_width);
        let (query, kv) = (self.heads.out_width(), self.heads.n_kv * self.heads.width);
        let of = |name: &str, shape: &[usize], role| {
            param(format!("model.layers.{index}.{name}.weight"), shape.to_vec(), role)
        };
        Layer {
            index,
            attention_norm: of("input_layernorm", &[width], Role::Norm),
            qkv: vec![
                of("self_attn.q_proj", &[query, width], Role::Query),
                of("self_attn.k_proj", &[kv, width], Role::Key),
                of("self_attn.v_proj", &[kv, width], Role::Value),
            ],
            out: vec![of("self_attn.o_proj", &[width, query], Role::Out)],
            ffn_norm: of("post_attention_layernorm", &[width], Role::Norm),
            gate_up: vec![of("mlp.gate_proj", &[ffn, width], Role::Gate), of("mlp.up_proj", &[ffn, width], Role::Up)],
            down: vec![of("mlp.down_proj", &[width, ffn], Role::Down)],
        }
    }

    /// Every parameter: those of a group are one matrix for computing, the first on top.
    pub fn arranged(&self) -> Vec<Vec<Param>> {
        let layers = (0..self.n_layers).map(|it| self.layer(it));
        let layers = layers.flat_map(|it| it.map(|norm| vec![norm.clone()], Vec::clone).into_parts());
        [vec![self.table()], vec![self.norm()]].into_iter().chain(layers).collect()
    }

    /// Every parameter, sorted by name.
    pub fn parameters(&self) -> Vec<Param> {
        let mut all = self.arranged().concat();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Number of weights; the tied head is counted once.
    pub fn n_parameters(&self) -> usize {
        self.parameters().iter().map(Param::size).sum()
    }
}

fn param(name: String, shape: Vec<usize>, role: Role) -> Param {
    Param { name, shape, role }
}
