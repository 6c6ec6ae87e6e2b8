//! What an engine holds does not grow with what it has answered.

#![cfg(target_os = "linux")]

use burn::tensor::Device;
use collimate_model::{Codec, Config, Control, Model, Tokenizer, Weights};
use collimate_schema::{Conversation, Request, RequestId, Sampler, Sampling, Seed};

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).expect("pages") * 4096
}

#[test]
fn memory_returns_to_its_level_after_a_thousand_requests() {
    let words: Vec<String> = (0..200).map(|it| format!("w{it}")).collect();
    let codec = Codec::new(Tokenizer::build(&words));
    let config = Config {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        head_dim: 16,
        intermediate_size: 32,
        vocab_size: codec.tokenizer.vocab_size(),
        max_position_embeddings: 256,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        bos_token_id: codec.tokenizer.control(Control::Bos),
        eos_token_id: codec.tokenizer.control(Control::End),
    };
    let engine = Model::new(Weights::init(&config, Seed(1), &Device::flex()), codec).unwrap().engine();
    let ask = |round: usize| {
        let request = |at: usize| Request {
            id: RequestId(format!("{at}")),
            conversation: Conversation::user(
                (0..60).map(|it| words[(it * 7 + at + round) % 200].clone() + " ").collect::<String>(),
            ),
            sampling: Sampling::at(1.0, 32),
            seed: Seed(round as u64).child(&at.to_string()),
            stop: Vec::new(),
        };
        let done = engine.sample((0..100).map(request).collect()).unwrap();
        assert_eq!(done.map(Result::unwrap).count(), 100);
    };
    (0..2).for_each(ask);
    let before = resident();
    (2..12).for_each(ask);
    let grown = resident().saturating_sub(before);
    // A hundred requests hold about 100 x 4 blocks of 16 KiB while they run; a thousand must not hold ten times that.
    assert!(grown < 16 << 20, "{} MiB more after a thousand requests", grown >> 20);
}
