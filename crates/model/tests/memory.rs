//! What an engine holds does not grow with what it has answered.

#![cfg(target_os = "linux")]

use std::sync::Arc;

use burn::tensor::Device;
use collimate_model::{Codec, Ends, Harbor, Heads, Model, Shape, Weights};
use collimate_schema::{Conversation, PromptId, Request, RequestId, Sampler, Sampling, Seed};

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).expect("pages") * 4096
}

#[test]
fn memory_returns_to_its_level_after_a_thousand_requests() {
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
    };
    let ends = Ends { bos: codec.bos().unwrap(), eos: codec.stops()[0] };
    let weights = Weights::init(&shape, ends, Seed(1), &Device::flex()).unwrap();
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
