//! What a checkpoint directory computes, for `bench/parity` to compare with Transformers: reads
//! `{"tokens": [[1, 2, ..], ..], "n_greedy": 64}` from standard input and writes, for each sequence, the logits after it
//! and what follows it greedily. With a second argument, the checkpoint is written there again, in f32.

use std::error::Error;
use std::io::Read;
use std::path::Path;

use burn::tensor::Device;
use collimate_model::{Compute, Decoder, Stored, Transformer, Weights};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let weights = Weights::load(Path::new(&args[0]), &Device::flex())?;
    if let Some(copy) = args.get(1) {
        weights.save(Path::new(copy), Stored::F32, &[])?;
    }
    let mut asked = String::new();
    std::io::stdin().read_to_string(&mut asked)?;
    let asked: Value = serde_json::from_str(&asked)?;
    let sequences: Vec<Vec<u32>> = serde_json::from_value(asked["tokens"].clone())?;
    let n_greedy = asked["n_greedy"].as_u64().unwrap_or(0);
    let transformer = Transformer::new(&weights, Compute::default());
    let mut decoder = Decoder::new(transformer.clone());
    let answer = |tokens: &Vec<u32>| {
        let hidden = transformer.forward(tokens, &[tokens.len()]);
        let last = hidden.narrow(0, tokens.len() - 1, 1);
        let logits: Vec<f32> = transformer.logits(last).into_data().try_into_vec().expect("they are f32");
        let (mut row, mut next, mut greedy) = ([decoder.row(vec![])], tokens.clone(), Vec::new());
        for _ in 0..n_greedy {
            decoder.extend(&mut row, &[next.len()], &next);
            let logits = decoder.logits(&[next.len() - 1]);
            let best = (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).expect("a vocabulary");
            greedy.push(best as u32);
            next = vec![best as u32];
        }
        json!({ "logits": logits, "greedy": greedy })
    };
    Ok(serde_json::to_writer(std::io::stdout(), &Value::Array(sequences.iter().map(answer).collect()))?)
}
