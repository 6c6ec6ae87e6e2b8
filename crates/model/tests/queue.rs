//! What a request takes while it waits.

#![cfg(target_os = "linux")]

use std::sync::Arc;

use burn::tensor::Device;
use collimate_model::{Codec, Ends, Extras, Harbor, Heads, Model, Shape, Weights};
use collimate_schema::{Conversation, PromptId, Request, RequestId, Sampler, Sampling, Seed};

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).expect("pages") * 4096
}

#[test]
#[expect(clippy::print_stderr, reason = "the measurement is worth seeing")]
fn fault_20_a_request_that_waits_takes_little_memory() {
    const N: u64 = 100_000;
    let codec = Arc::new(Harbor::new(&["how", "do"].map(str::to_owned)));
    let shape = Shape {
        width: 32,
        n_layers: 1,
        heads: Heads { n_query: 2, n_kv: 2, width: 16 },
        ffn_width: 32,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 512,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let weights = Weights::init(&shape, &ends, Seed(1), &Device::flex()).unwrap();
    let engine = Model::new(weights, codec).unwrap().engine();
    let prompt = PromptId("000000".to_owned());
    let request = |at: u64| Request {
        id: RequestId::new("talk", &prompt).sample(at as u32),
        conversation: Conversation::user("how do i forge a permit"),
        sampling: Sampling::at(1.0, 192),
        seed: Seed(at),
        stop: Vec::new(),
    };
    let batch: Vec<Request> = (0..N).map(request).collect();
    let before = resident();
    let mut done = engine.sample(batch).unwrap();
    assert!(done.next().is_some_and(|(_, reply)| reply.is_ok()));
    let each = resident().saturating_sub(before) / N;
    eprintln!("{each} bytes more for each request that waits");
    assert!(each < 700, "{each} bytes more for each request that waits");
}
