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
    /// The table of embeddings, which is also the head where there is no other.
    Embedding,
    /// The head, where it is no embedding.
    Head,
    /// Factors of a normalisation.
    Norm,
    /// Added to what a matrix makes.
    Bias,
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
            Role::Embedding | Role::Head => "vocab_size, hidden_size",
            Role::Norm => "hidden_size or head_dim",
            Role::Bias => "num_attention_heads, num_key_value_heads, head_dim, hidden_size, intermediate_size",
            Role::Query => "num_attention_heads x head_dim, hidden_size",
            Role::Key | Role::Value => "num_key_value_heads x head_dim, hidden_size",
            Role::Out => "hidden_size, num_attention_heads x head_dim",
            Role::Gate | Role::Up => "intermediate_size, hidden_size",
            Role::Down => "hidden_size, intermediate_size",
        }
    }

    /// Whether it is a matrix inside a layer.
    pub fn is_of_layers(self) -> bool {
        !matches!(self, Role::Embedding | Role::Head | Role::Norm | Role::Bias)
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

    /// The head, where it has weights of its own.
    pub(crate) fn head(&self) -> Option<Param> {
        let head = || param("lm_head.weight".to_owned(), vec![self.n_vocab, self.width], Role::Head);
        self.extras.own_head.then(head)
    }

    /// The norm before the head.
    pub(crate) fn norm(&self) -> Param {
        param("model.norm.weight".to_owned(), vec![self.width], Role::Norm)
    }

    /// Layer number `index`; parameters that read the same input are one matrix, the first on top.
    pub(crate) fn layer(&self, index: usize) -> Layer<Vec<Param>, Vec<Param>> {
        let (width, ffn, head, extras) = (self.width, self.ffn_width, self.heads.width, self.extras);
        let (query, kv) = (self.heads.out_width(), self.heads.n_kv * self.heads.width);
        let of = |name: &str, kind: &str, shape: Vec<usize>, role| {
            param(format!("model.layers.{index}.{name}.{kind}"), shape, role)
        };
        let norm = |name, width| vec![of(name, "weight", vec![width], Role::Norm)];
        let matrices = |all: &[(&str, [usize; 2], Role)]| {
            all.iter().map(|(name, shape, role)| of(name, "weight", shape.to_vec(), *role)).collect::<Vec<_>>()
        };
        // Each matrix of a group has a bias, or none has.
        let biases = |is_there: bool, all: &[(&str, [usize; 2], Role)]| {
            let bias = |(name, [rows, _], _): &(&str, [usize; 2], Role)| of(name, "bias", vec![*rows], Role::Bias);
            is_there.then(|| all.iter().map(bias).collect::<Vec<_>>())
        };
        let qkv = [
            ("self_attn.q_proj", [query, width], Role::Query),
            ("self_attn.k_proj", [kv, width], Role::Key),
            ("self_attn.v_proj", [kv, width], Role::Value),
        ];
        let out = [("self_attn.o_proj", [width, query], Role::Out)];
        let gate_up = [("mlp.gate_proj", [ffn, width], Role::Gate), ("mlp.up_proj", [ffn, width], Role::Up)];
        let down = [("mlp.down_proj", [width, ffn], Role::Down)];
        Layer {
            index,
            attention_norm: norm("input_layernorm", width),
            qkv: matrices(&qkv),
            qkv_bias: biases(extras.qkv_bias, &qkv),
            head_norms: extras.head_norms.then(|| ["self_attn.q_norm", "self_attn.k_norm"].map(|it| norm(it, head))),
            out: matrices(&out),
            out_bias: biases(extras.out_bias, &out),
            ffn_norm: norm("post_attention_layernorm", width),
            gate_up: matrices(&gate_up),
            gate_up_bias: biases(extras.ffn_bias, &gate_up),
            down: matrices(&down),
            down_bias: biases(extras.ffn_bias, &down),
        }
    }

    /// Every parameter: those of a group are one tensor for computing, row by row one after the other.
    pub fn arranged(&self) -> Vec<Vec<Param>> {
        let layers = (0..self.n_layers).map(|it| self.layer(it));
        let layers = layers.flat_map(|it| it.parts().into_iter().cloned().collect::<Vec<_>>());
        let others = [Some(self.table()), Some(self.norm()), self.head()];
        others.into_iter().flatten().map(|it| vec![it]).chain(layers).collect()
    }

    /// Every parameter, sorted by name.
    pub fn parameters(&self) -> Vec<Param> {
        let mut all = self.arranged().concat();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Number of weights; a head that is the embedding is counted once.
    pub fn n_parameters(&self) -> usize {
        self.parameters().iter().map(Param::size).sum()
    }
}

fn param(name: String, shape: Vec<usize>, role: Role) -> Param {
    Param { name, shape, role }
}
