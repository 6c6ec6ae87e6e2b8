//! Tokens per second of prefill and of decoding, at the size of the Harbor base model:
//! `cargo run --release -p collimate-model --example sample_speed [ROWS..]`.

use std::io::Write;
use std::time::Instant;

use burn::tensor::Device;
use collimate_model::{Codec, Config, Control, Model, Tokenizer, Weights};
use collimate_schema::{By, Conversation, Request, RequestId, Sampler, Sampling, Seed, Trace};

const N_WORDS: usize = 1300;
const N_REQUESTS: usize = 512;

/// The n-th made-up word.
fn word(mut n: usize) -> String {
    let mut word = String::from("w");
    while n > 0 {
        word.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
    }
    word
}

fn model() -> Model {
    let codec = Codec::new(Tokenizer::build(&(0..N_WORDS / 2).map(word).collect::<Vec<_>>()));
    let config = Config {
        hidden_size: 192,
        num_hidden_layers: 4,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 32,
        intermediate_size: 512,
        vocab_size: codec.tokenizer.vocab_size(),
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        bos_token_id: codec.tokenizer.control(Control::Bos),
        eos_token_id: codec.tokenizer.control(Control::End),
    };
    let mut weights = Weights::init(&config, Seed(1), &Device::flex());
    weights.update(|name, tensor| if name.contains("norm") { tensor } else { tensor * 3.0 });
    Model::new(weights, codec).expect("the codec's own vocabulary")
}

/// Requests of about 120 prompt tokens, `n_samples` of each conversation.
fn requests(n_samples: usize, max_tokens: u32) -> Vec<Request> {
    let conversation = |prompt: usize| {
        let words: Vec<String> =
            (0..100 + prompt * 7 % 40).map(|at| word((prompt * 31 + at * 17) % (N_WORDS / 2))).collect();
        Conversation::user(words.join(" "))
    };
    let request = |index: usize| Request {
        id: RequestId(format!("{index}")),
        conversation: conversation(index / n_samples),
        sampling: Sampling::at(1.0, max_tokens),
        seed: Seed(5).child(&format!("{index}")),
    };
    (0..N_REQUESTS).map(request).collect()
}

/// Seconds, prompt tokens run and tokens sampled by one batch.
fn run(model: &Model, n_rows: usize, batch: Vec<Request>) -> (f64, usize, usize) {
    let engine = model.engine_by(By::Named("speed".to_owned())).with_rows(n_rows);
    let start = Instant::now();
    let (mut n_prompt, mut n_sampled) = (0, 0);
    for completion in engine.sample(batch).expect("prompts fit") {
        if let Trace::Tokens { prompt, sampled } = completion.expect("the local engine samples").trace {
            n_prompt += prompt.len();
            n_sampled += sampled.len();
        }
    }
    (start.elapsed().as_secs_f64(), n_prompt, n_sampled)
}

fn main() {
    let model = model();
    let mut out = std::io::stdout();
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    for n_rows in if given.is_empty() { vec![32, 64, 128, 256] } else { given } {
        run(&model, n_rows, requests(1, 1)); // warm up
        let (prefill_s, n_prompt, _) = run(&model, n_rows, requests(1, 1));
        let (whole_s, _, n_sampled) = run(&model, n_rows, requests(1, 40));
        let (shared_s, _, n_shared) = run(&model, n_rows, requests(8, 40));
        let _ = writeln!(
            out,
            "{n_rows:4} rows: prefill {:.0} tok/s, decode {:.0} tok/s; with prefill {:.0} tok/s, 8 samples a prompt {:.0} tok/s",
            n_prompt as f64 / prefill_s,
            (n_sampled - N_REQUESTS) as f64 / (whole_s - prefill_s),
            n_sampled as f64 / whole_s,
            n_shared as f64 / shared_s,
        );
    }
}
