//! The plain bodies: each operation as Burn `Tensor` operations, for any device, with Burn's own derivatives. They are what
//! the fused passes are tested against.

use burn::Tensor;
use burn::tensor::{Bool, Device, Int, TensorData, activation};

use crate::heads::Heads;
use crate::rotary::Rotary;
use crate::top_k::TopK;

/// `x / sqrt(mean(x^2) + eps) * weight`: `x` is [N, D], `weight` [1, D]; returns [N, D].
pub fn rms_norm(x: Tensor<2>, weight: Tensor<2>, eps: f32) -> Tensor<2> {
    let scale = (x.clone().square().mean_dim(1) + eps).sqrt();
    x / scale * weight
}

/// `silu(gate) * up`: `gate_up` is [N, 2F], gate first; returns [N, F].
pub fn swiglu(gate_up: Tensor<2>) -> Tensor<2> {
    let width = gate_up.dims()[1] / 2;
    activation::silu(gate_up.clone().narrow(1, 0, width)) * gate_up.narrow(1, width, width)
}

/// Rotates pairs (i, i + d/2) of each head by the angle of its position: `x` is [B, T, H, d], positions 0..T.
pub fn rotary(x: Tensor<4>, tables: &Rotary) -> Tensor<4> {
    let [_, time, _, width] = x.dims();
    let (device, half) = (x.device().inner(), width / 2);
    let table = |values: &[f32]| {
        let data = TensorData::new(values[..time * half].to_vec(), [1, time, 1, half]);
        let table = Tensor::<4>::from_data(data, &device);
        if x.is_autodiff() { table.autodiff() } else { table }
    };
    let (cos, sin) = (table(tables.cos()), table(tables.sin()));
    let (low, high) = (x.clone().narrow(3, 0, half), x.clone().narrow(3, half, half));
    let rotated_low = low.clone() * cos.clone() - high.clone() * sin.clone();
    let rotated_high = high * cos + low * sin;
    Tensor::cat(vec![rotated_low, rotated_high], 3)
}

/// Causal self-attention over grouped queries within each packed sequence: `qkv` is [N, (H + 2K) d], `lengths` add up to N,
/// positions start at 0 in each; returns [N, H d].
pub fn attention(qkv: Tensor<2>, heads: Heads, tables: &Rotary, lengths: &[usize]) -> Tensor<2> {
    let mut from = 0;
    let each = lengths.iter().map(|time| {
        let sequence = qkv.clone().narrow(0, from, *time);
        from += time;
        attention_of_one(sequence, heads, tables)
    });
    Tensor::cat(each.collect(), 0)
}

fn attention_of_one(qkv: Tensor<2>, heads: Heads, tables: &Rotary) -> Tensor<2> {
    let Heads { n_query, n_kv, width } = heads;
    let [time, _] = qkv.dims();
    let qkv = qkv.reshape([1, time, n_query + 2 * n_kv, width]);
    let queries = rotary(qkv.clone().narrow(2, 0, n_query), tables);
    let keys = rotary(qkv.clone().narrow(2, n_query, n_kv), tables);
    let values = qkv.narrow(2, n_query + n_kv, n_kv);

    let queries = queries.swap_dims(1, 2).reshape([n_kv, n_query / n_kv, time, width]);
    let keys = keys.swap_dims(1, 2).reshape([n_kv, 1, time, width]);
    let values = values.swap_dims(1, 2).reshape([n_kv, 1, time, width]);
    let scores = queries.matmul(keys.transpose()) * (width as f32).powf(-0.5); // [K, H/K, T, T]
    let future = Tensor::<2, Int>::ones([time, time], &scores.device()).triu(1).bool();
    let scores = scores.mask_fill(future.reshape([1, 1, time, time]), f32::NEG_INFINITY);
    let mixed = activation::softmax(scores, 3).matmul(values); // [K, H/K, T, d]
    mixed.reshape([1, n_query, time, width]).swap_dims(1, 2).reshape([time, n_query * width])
}

/// Log-probability of `targets` and entropy of each row of `logits` [n, V]; returns [n, 2], natural logarithm.
pub fn token_scores(logits: Tensor<2>, targets: &[u32]) -> Tensor<2> {
    let n_tokens = targets.len();
    let targets = ids(targets, &logits.device()).reshape([n_tokens, 1]);
    let logprobs = activation::log_softmax(logits, 1);
    let of_targets = logprobs.clone().gather(1, targets);
    let entropy = -(logprobs.clone().exp() * logprobs).sum_dim(1);
    Tensor::cat(vec![of_targets, entropy], 1)
}

/// KL from the teacher to the softmax of each row of `logits` [n, V], over the teacher's k tokens and all others as one, nats;
/// returns [n].
pub fn distillation(logits: Tensor<2>, teacher: &TopK) -> Tensor<1> {
    let ([n_rows, n_vocab], k, device) = (logits.dims(), teacher.n_each(), logits.device());
    let host = |values: Vec<f32>, shape: [usize; 2]| {
        let values = Tensor::<2>::from_data(TensorData::new(values, shape), &device.clone().inner());
        if logits.is_autodiff() { values.autodiff() } else { values }
    };
    let rows = || (0..n_rows).map(|row| teacher.at(row));
    let probs = host(rows().flat_map(|it| it.1.iter().map(|it| it.exp())).collect(), [n_rows, k]);
    let left = host((0..n_rows).map(|row| teacher.others(row)).collect(), [n_rows, 1]);
    let negentropy = host((0..n_rows).map(|row| teacher.negentropy(row)).collect(), [n_rows, 1]);
    let tokens: Vec<u32> = rows().flat_map(|it| it.0).copied().collect();
    let mut among = vec![false; n_rows * n_vocab];
    tokens.iter().enumerate().for_each(|(at, token)| among[at / k * n_vocab + *token as usize] = true);
    let among = Tensor::<2, Bool>::from_data(TensorData::new(among, [n_rows, n_vocab]), &device);
    let logprobs = activation::log_softmax(logits, 1);
    let of_k = logprobs.clone().gather(1, ids(&tokens, &device).reshape([n_rows, k]));
    let others = logprobs.exp().mask_fill(among, 0.0).sum_dim(1).log();
    (negentropy - (probs * of_k).sum_dim(1) - left * others).squeeze_dim(1)
}

/// Rows `tokens` of `table` [V, D]; returns [n, D].
pub fn embed(table: Tensor<2>, tokens: &[u32]) -> Tensor<2> {
    let tokens = ids(tokens, &table.device());
    table.select(0, tokens)
}

/// Token ids as an index tensor [n].
pub fn ids(tokens: &[u32], device: &Device) -> Tensor<1, Int> {
    let shape = [tokens.len()];
    let tokens: Vec<i64> = tokens.iter().map(|it| i64::from(*it)).collect();
    Tensor::from_data(TensorData::new(tokens, shape), device)
}
