//! The transformer against Transformers' logits (`bench/reference_logits.py`), and its cache against itself.

use std::process::Command;

use burn::Tensor;
use burn::tensor::Device;
use collimate_model::{Compute, Decoder, Ends, Extras, Precision, Role, RopeScaling, Shape, Transformer, Weights};
use collimate_schema::Seed;

const CONFIG: &[u8] = include_bytes!("data/config.json");
const TENSORS: &[u8] = include_bytes!("data/model.safetensors");

fn reference_model() -> Transformer {
    model_in(Precision::F32)
}

fn model_in(precision: Precision) -> Transformer {
    let weights = Weights::from_bytes(CONFIG, TENSORS, &Device::flex()).expect("the stored checkpoint loads");
    Transformer::new(&weights, Compute { precision, ..Compute::default() })
}

/// The stored one, and one of random weights for each family, with biases and norms that matter.
fn models_in(precision: Precision) -> Vec<Transformer> {
    let plain = Extras::default();
    let llama3 = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 32.0 };
    let families = [
        Extras { own_head: true, qkv_bias: true, out_bias: true, ffn_bias: true, ..plain },
        Extras { qkv_bias: true, ..plain },
        Extras { head_norms: true, own_head: true, ..plain },
    ];
    let mut models = vec![model_in(precision)];
    for extras in families {
        let shape = Shape { extras, ..models[0].shape().clone() };
        let mut weights =
            Weights::init(&shape, &Ends::new(0, 1), Seed(5), &Device::flex()).expect("a family has these");
        weights.update(|param, tensor| match param.role {
            Role::Norm => tensor * 1.1,
            Role::Bias => tensor.clone() + tensor.clone().cumsum(1) + tensor.add_scalar(0.3),
            _ => tensor * 8.0,
        });
        models.push(Transformer::new(&weights, Compute { precision, ..Compute::default() }));
    }
    let mut config: serde_json::Value = serde_json::from_slice(CONFIG).expect("JSON");
    config["rope_parameters"] = serde_json::json!({
        "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
        "original_max_position_embeddings": 32,
    });
    let weights = Weights::from_bytes(config.to_string().as_bytes(), TENSORS, &Device::flex());
    let weights = weights.expect("the same tensors");
    assert_eq!(weights.shape().extras, Extras { rope_scaling: llama3, ..plain });
    models.push(Transformer::new(&weights, Compute { precision, ..Compute::default() }));
    models
}

fn stored_tokens() -> Vec<Vec<u32>> {
    serde_json::from_slice(include_bytes!("data/tokens.json")).expect("lists of ids")
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

#[track_caller]
fn close(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (l, r) in left.iter().zip(right) {
        assert!((l - r).abs() < 1e-5, "{l} is not {r}");
    }
}

#[test]
fn logits_are_those_of_transformers() {
    let model = reference_model();
    let expected: Vec<Vec<Vec<f32>>> =
        serde_json::from_slice(include_bytes!("data/logits.json")).expect("logits per position");
    for (row, expected) in stored_tokens().iter().zip(expected) {
        close(&values(model.logits(model.forward(row, &[row.len()]))), &expected.concat());
    }
}

#[test]
fn a_packed_sequence_is_as_alone() {
    for precision in [Precision::F32, Precision::Bf16] {
        for model in models_in(precision) {
            let rows = stored_tokens();
            let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
            let together = values(model.forward(&rows.concat(), &lengths[..]));
            let alone: Vec<f32> = rows.iter().flat_map(|row| values(model.forward(row, &[row.len()]))).collect();
            assert_eq!(together, alone, "{precision:?}");
        }
    }
}

#[test]
fn bf16_logits_are_near_those_of_f32() {
    let logits = |precision| {
        let model = model_in(precision);
        let of = |row: &Vec<u32>| values(model.logits(model.forward(row, &[row.len()])));
        stored_tokens().iter().flat_map(of).collect::<Vec<f32>>()
    };
    let (whole, rounded) = (logits(Precision::F32), logits(Precision::Bf16));
    let square = |it: &[f32]| it.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let off: Vec<f32> = whole.iter().zip(&rounded).map(|(a, b)| a - b).collect();
    let error = (square(&off) / square(&whole)).sqrt();
    assert!((1e-5..0.02).contains(&error), "{error}: rounded, and no more than that");
}

/// To the bit: the ratio of a fresh rollout is 1.
#[test]
fn reading_piece_by_piece_equals_the_training_forward() {
    for precision in [Precision::F32, Precision::Bf16] {
        models_in(precision).iter().for_each(|it| reads_piece_by_piece(it, &stored_tokens()));
    }
}

fn reads_piece_by_piece(model: &Transformer, rows: &[Vec<u32>]) {
    let whole: Vec<Vec<f32>> = rows.iter().map(|row| values(model.logits(model.forward(row, &[row.len()])))).collect();
    let (mut decoder, n_vocab) = (Decoder::new(model.clone()), model.shape().n_vocab);
    let mut cached: Vec<_> = rows.iter().map(|_| decoder.row(Vec::new())).collect();
    while cached.iter().zip(rows).any(|(cached, row)| cached.len() < row.len()) {
        // Every sequence at its own pace: 1, 2, 3, ... tokens at a time.
        let next = || {
            cached
                .iter()
                .zip(rows)
                .enumerate()
                .map(|(index, (cached, row))| &row[cached.len()..row.len().min(cached.len() + index + 1)])
        };
        let counts: Vec<usize> = next().map(<[u32]>::len).collect();
        let tokens: Vec<u32> = next().flatten().copied().collect();
        let starts: Vec<usize> = cached.iter().map(|it| it.len()).collect();
        decoder.extend(&mut cached, &counts, &tokens);
        let logits = decoder.logits(&(0..tokens.len()).collect::<Vec<_>>());
        let mut rest = logits.chunks_exact(n_vocab);
        for ((whole, start), n) in whole.iter().zip(starts).zip(counts) {
            for (at, logits) in (start..start + n).zip(&mut rest) {
                assert!(logits == &whole[at * n_vocab..][..n_vocab], "position {at}");
            }
        }
    }
}

/// The tests of this file where products in bf16 are those of tiles, as on a processor that has them.
#[test]
fn with_tiles() {
    let binary = std::env::current_exe().expect("a test runs in a binary");
    let run = Command::new(binary).env("COLLIMATE_ISA", "amx-emulated").args(["--skip", "with_tiles"]).output();
    let run = run.expect("a test binary can be started");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}

/// Threads carry parties of sequences; what is read must not show how they were divided.
#[test]
fn any_number_of_threads_reads_the_same_bits() {
    for precision in [Precision::F32, Precision::Bf16] {
        models_in(precision).iter().for_each(|it| reads_the_same_bits(it, &stored_tokens()));
    }
}

fn reads_the_same_bits(model: &Transformer, rows: &[Vec<u32>]) {
    let read = |n_threads: usize, sequences: &[(&[u32], usize)]| {
        let mut decoder = Decoder::new(model.clone());
        let mut cached: Vec<_> = sequences.iter().map(|_| decoder.row(Vec::new())).collect();
        let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads");
        let mut logits = Vec::new();
        let halves = |it: &(&[u32], usize)| [it.1, it.0.len() - it.1];
        for half in 0..2 {
            let counts: Vec<usize> = sequences.iter().map(|it| halves(it)[half]).collect();
            let part = |it: &(&[u32], usize)| if half == 0 { it.0[..it.1].to_vec() } else { it.0[it.1..].to_vec() };
            let tokens: Vec<u32> = sequences.iter().flat_map(part).collect();
            threads.install(|| decoder.extend(&mut cached, &counts, &tokens));
            let all: Vec<usize> = (0..tokens.len()).collect();
            threads.install(|| logits.extend_from_slice(decoder.logits(&all)));
        }
        logits
    };
    let uneven = rows.iter().cycle().take(29).enumerate().map(|(at, row)| (&row[..], at % row.len()));
    let sequences: Vec<_> = uneven.collect();
    let one = read(1, &sequences);
    for n_threads in [2, 3, 7] {
        assert!(read(n_threads, &sequences) == one, "{n_threads} threads");
    }
    // One that is longer than the others together, beside them.
    let long: Vec<u32> = rows.iter().flatten().copied().cycle().take(60).collect();
    let sequences: Vec<_> = std::iter::once((&long[..], 50)).chain(sequences).take(8).collect();
    assert!(read(3, &sequences) == read(1, &sequences));
}
