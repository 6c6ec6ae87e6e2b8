//! What an engine holds does not grow with what it has answered, and a large table is there once.

#![cfg(target_os = "linux")]

use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use collimate_kernels::head_scores;
use collimate_model::{Codec, Compute, Ends, Extras, Harbor, Heads, Model, Precision, Shape, Transformer, Weights};
use collimate_schema::{Conversation, PromptId, Request, RequestId, Sampler, Sampling, Seed};

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).expect("pages") * 4096
}

/// One test at a time: memory is the process's.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_large_table_is_sampled_and_scored_with_where_it_is() {
    let _alone = ALONE.lock();
    let words: Vec<String> = (0..100_000).map(|it| format!("w{it}")).collect();
    let codec = Arc::new(Harbor::new(&words));
    let shape = Shape {
        width: 512,
        n_layers: 1,
        heads: Heads { n_query: 4, n_kv: 4, width: 32 },
        ffn_width: 32,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let table = (shape.n_vocab * shape.width * size_of::<f32>()) as u64; // 200 MB
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let weights = Weights::init(&shape, &ends, Seed(1), &Device::flex()).unwrap();
    for precision in [Precision::F32, Precision::Bf16] {
        let compute = Compute { precision, ..Compute::default() };
        let before = peak();
        let engine = Model { compute, ..Model::new(weights.clone(), codec.clone()).unwrap() }.engine();
        let request = Request {
            id: RequestId::new("test", &PromptId("0".to_owned())),
            conversation: Conversation::user("w1 w2"),
            sampling: Sampling::at(1.0, 3),
            seed: Seed(1),
            stop: Vec::new(),
        };
        assert!(engine.sample(vec![request]).unwrap().all(|(_, reply)| reply.is_ok()));
        let transformer = Transformer::new(&weights, compute);
        let scores = head_scores(transformer.forward(&[1, 2, 3], &[3][..]), transformer.head(), &[2, 3, 4]);
        assert!(scores.iter().all(|it| it.logprob.is_finite()));
        let grown = peak() - before;
        assert!(grown < table / 2, "{precision:?}: {} MB more, of a table of {} MB", grown >> 20, table >> 20);
    }
}

/// Peak resident memory of this process, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn memory_returns_to_its_level_after_a_thousand_requests() {
    let _alone = ALONE.lock();
    let words: Vec<String> = (0..200).map(|it| format!("w{it}")).collect();
    let codec = Arc::new(Harbor::new(&words));
    let shape = Shape {
        width: 32,
        n_layers: 2,
        heads: Heads { n_query: 2, n_kv: 2, width: 16 },
        ffn_width: 32,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 256,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let weights = Weights::init(&shape, &ends, Seed(1), &Device::flex()).unwrap();
    let engine = Model::new(weights, codec).unwrap().engine();
    let ask = |round: usize| {
        let request = |at: usize| Request {
            id: RequestId::new("test", &PromptId(at.to_string())),
            conversation: Conversation::user(
                (0..60).map(|it| words[(it * 7 + at + round) % 200].clone() + " ").collect::<String>(),
            ),
            sampling: Sampling::at(1.0, 32),
            seed: Seed(round as u64).child(&at.to_string()),
            stop: Vec::new(),
        };
        let done = engine.sample((0..100).map(request).collect()).unwrap();
        assert_eq!(done.filter(|(_, reply)| reply.is_ok()).count(), 100);
    };
    (0..2).for_each(ask);
    let before = resident();
    (2..12).for_each(ask);
    let grown = resident().saturating_sub(before);
    // A hundred requests hold about 100 x 4 blocks of 16 KiB while they run; a thousand must not hold ten times that.
    assert!(grown < 16 << 20, "{} MiB more after a thousand requests", grown >> 20);
}
