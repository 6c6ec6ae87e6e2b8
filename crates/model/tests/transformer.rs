//! The transformer against Transformers' logits (`bench/reference_logits.py`), and its cache against itself.

use burn::Tensor;
use burn::tensor::{Device, activation};
use collimate_model::{Transformer, Weights};

const CONFIG: &[u8] = include_bytes!("data/config.json");
const TENSORS: &[u8] = include_bytes!("data/model.safetensors");

fn reference_model() -> Transformer {
    Transformer::new(&Weights::from_bytes(CONFIG, TENSORS, &Device::flex()).expect("the stored checkpoint loads"))
}

fn stored_tokens() -> Vec<Vec<u32>> {
    serde_json::from_slice(include_bytes!("data/tokens.json")).expect("lists of ids")
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

/// Log-probabilities over the vocabulary of each hidden state.
fn logprobs(model: &Transformer, hidden: Tensor<2>) -> Vec<f32> {
    values(activation::log_softmax(model.logits(hidden), 1))
}

#[track_caller]
fn close(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (l, r) in left.iter().zip(right) {
        assert!((l - r).abs() < 1e-4, "{l} is not {r}");
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
    let (model, rows) = (reference_model(), stored_tokens());
    let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
    let together = values(model.forward(&rows.concat(), &lengths));
    let alone: Vec<f32> = rows.iter().flat_map(|row| values(model.forward(row, &[row.len()]))).collect();
    assert_eq!(together, alone);
}

#[test]
fn prefill_and_decode_equal_the_training_forward() {
    let (model, rows) = (reference_model(), stored_tokens());
    let n_vocab = model.config().vocab_size;
    // Prompts of different lengths in one batch; every later token is fed by decode.
    let starts: Vec<usize> = rows.iter().map(|row| row.len().min(4) - 1).collect();
    let prompts: Vec<&[u32]> = rows.iter().zip(&starts).map(|(row, start)| &row[..*start]).collect();
    let whole: Vec<Vec<f32>> = rows.iter().map(|row| logprobs(&model, model.forward(row, &[row.len()]))).collect();
    let (mut cache, last) = model.prefill(&prompts, 30);
    let last = logprobs(&model, last);
    for (index, start) in starts.iter().enumerate() {
        close(&last[index * n_vocab..][..n_vocab], &whole[index][(start - 1) * n_vocab..][..n_vocab]);
    }
    let mut alive: Vec<usize> = (0..rows.len()).collect();
    for step in 0.. {
        let is_left = |index: &usize| starts[*index] + step < rows[*index].len();
        let keep: Vec<usize> = (0..alive.len()).filter(|slot| is_left(&alive[*slot])).collect();
        alive.retain(is_left);
        if alive.is_empty() {
            break;
        }
        cache = cache.select(&keep);
        let tokens: Vec<u32> = alive.iter().map(|index| rows[*index][starts[*index] + step]).collect();
        let decoded = logprobs(&model, model.decode(&tokens, &mut cache));
        for (slot, index) in alive.iter().enumerate() {
            let at = starts[*index] + step;
            close(&decoded[slot * n_vocab..][..n_vocab], &whole[*index][at * n_vocab..][..n_vocab]);
            assert_eq!(cache.lengths()[slot], at + 1);
        }
    }
}

#[test]
fn one_prefill_serves_many_samples() {
    let model = reference_model();
    let prompt: &[u32] = &[0, 5, 17];
    let (cache, _) = model.prefill(&[prompt], 4);
    let mut cache = cache.select(&[0, 0, 0]);
    let decoded = values(model.decode(&[9, 30, 9], &mut cache));
    let width = model.config().hidden_size;
    for (slot, token) in [9, 30, 9].into_iter().enumerate() {
        let alone = values(model.forward(&[0, 5, 17, token], &[4]));
        close(&decoded[slot * width..][..width], &alone[3 * width..]);
    }
}
