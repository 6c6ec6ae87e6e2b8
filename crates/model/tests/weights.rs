//! Weights: drawn, stored, read back, and refused when they do not fit.
#![expect(clippy::disallowed_methods, reason = "a test may write half a checkpoint")]

use std::path::Path;

use burn::tensor::Device;
use collimate_model::{Config, Stored, Weights, WeightsError};
use collimate_schema::Seed;
use expect_test::{Expect, expect};

fn config() -> Config {
    Config {
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 4,
        intermediate_size: 40,
        vocab_size: 61,
        max_position_embeddings: 64,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        bos_token_id: 0,
        eos_token_id: 1,
    }
}

fn fresh() -> Weights {
    Weights::init(&config(), Seed(7), &Device::flex())
}

fn load(dir: &Path) -> Result<Weights, WeightsError> {
    Weights::load(dir, &Device::flex())
}

#[test]
fn a_seed_draws_the_same_weights_everywhere() {
    expect!["27d9027b1465829b0572885ccbaaf4ad"].assert_eq(&fresh().hash(&[]).0);
    assert_ne!(fresh().hash(&[]), Weights::init(&config(), Seed(8), &Device::flex()).hash(&[]));
}

#[test]
fn draws_have_the_stated_spread() {
    let weights = fresh();
    let spread = |name: &str| {
        let data = weights.tensors()[name].to_data();
        let values = data.as_slice::<f32>().expect("f32");
        (values.iter().map(|it| it * it).sum::<f32>() / values.len() as f32).sqrt()
    };
    assert!((spread("model.embed_tokens.weight") / 0.1 - 1.0).abs() < 0.1);
    assert!((spread("model.layers.1.mlp.down_proj.weight") / 0.01 - 1.0).abs() < 0.1);
    assert_eq!(spread("model.norm.weight"), 1.0);
}

#[test]
fn the_hash_covers_weights_config_and_other_files() {
    let weights = fresh();
    assert_ne!(weights.hash(&[]), weights.hash(&[b"tokenizer"]));
    let mut changed = fresh();
    changed.update(|name, tensor| if name == "model.norm.weight" { tensor * 1.001 } else { tensor });
    assert_ne!(weights.hash(&[]), changed.hash(&[]));
}

#[test]
fn a_saved_directory_reads_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (exact, rounded) = (dir.path().join("exact"), dir.path().join("rounded"));
    let weights = fresh();
    weights.save(&exact, Stored::F32, &[("tokenizer.json", b"{}")]).expect("saved");
    assert_eq!(load(&exact).expect("loads").hash(&[]), weights.hash(&[]));
    assert_eq!(std::fs::read(exact.join("tokenizer.json")).expect("written along"), b"{}");

    weights.save(&rounded, Stored::Bf16, &[]).expect("saved");
    let once = load(&rounded).expect("loads");
    assert_ne!(once.hash(&[]), weights.hash(&[]));
    assert_eq!(once.to_safetensors(Stored::Bf16), weights.to_safetensors(Stored::Bf16));
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 2, "no partial directories stay behind");
}

#[test]
fn transformers_own_checkpoint_is_read() {
    let weights = load(Path::new("tests/data")).expect("loads");
    assert_eq!(*weights.config(), config());
    assert_eq!(weights.config().n_parameters(), 10_416);
}

fn check(files: &[(&str, &[u8])], expected: Expect) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("written");
    }
    let error = load(dir.path()).expect_err("must not load").to_string();
    expected.assert_eq(&error.replace(&dir.path().display().to_string(), "DIR"));
}

#[test]
fn broken_checkpoints_are_refused() {
    let (json, tensors) = (config().to_json(), fresh().to_safetensors(Stored::F32));
    let with = |from: &str, to: &str| json.replace(from, to).into_bytes();
    check(&[], expect!["DIR/config.json: No such file or directory (os error 2)"]);
    check(
        &[("config.json", json.as_bytes())],
        expect!["DIR/model.safetensors: No such file or directory (os error 2)"],
    );
    check(
        &[("config.json", b"{"), ("model.safetensors", &tensors)],
        expect!["config.json is not JSON: EOF while parsing an object at line 1 column 1"],
    );
    let torn = &tensors[..tensors.len() - 7];
    check(
        &[("config.json", json.as_bytes()), ("model.safetensors", torn)],
        expect![
            "the weights are not a whole safetensors file (incomplete metadata, file not fully covered): copy or write the checkpoint again"
        ],
    );
    let deeper = with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    check(
        &[("config.json", &deeper), ("model.safetensors", &tensors)],
        expect![
            "tensor `model.layers.2.input_layernorm.weight` is missing: the file does not belong to this config.json"
        ],
    );
    let shallower = with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    check(
        &[("config.json", &shallower), ("model.safetensors", &tensors)],
        expect![
            "tensor `model.layers.1.input_layernorm.weight` is unknown to this config.json: only tied, bias-free Llama checkpoints load"
        ],
    );
    let wider = with("\"vocab_size\": 61", "\"vocab_size\": 62");
    check(
        &[("config.json", &wider), ("model.safetensors", &tensors)],
        expect!["tensor `model.embed_tokens.weight` has shape [61, 24], config.json says [62, 24]"],
    );
}

#[test]
fn unsupported_configs_are_refused() {
    let refused = |from: &str, to: &str, expected: Expect| {
        let error = Config::from_json(&config().to_json().replace(from, to)).expect_err("must be refused");
        expected.assert_eq(&error.to_string());
    };
    refused(
        "\"silu\"",
        "\"gelu\"",
        expect![[
            r#"config.json: `hidden_act` is "gelu", this transformer supports "silu" only: convert the checkpoint first"#
        ]],
    );
    refused(
        "\"tie_word_embeddings\": true",
        "\"tie_word_embeddings\": false",
        expect![
            "config.json: `tie_word_embeddings` is false, this transformer supports true only: convert the checkpoint first"
        ],
    );
    refused(
        "\"hidden_size\": 24",
        "\"hidden_size\": \"24\"",
        expect!["config.json: `hidden_size` must be a positive integer: add it"],
    );
    refused(
        "\"num_key_value_heads\": 2",
        "\"num_key_value_heads\": 4",
        expect!["config.json: num_key_value_heads (4) must divide num_attention_heads (6)"],
    );
    refused(
        "\"model_type\": \"llama\"",
        "\"model_type\": \"qwen2\"",
        expect![[
            r#"config.json: `model_type` is "qwen2", this transformer supports "llama" only: convert the checkpoint first"#
        ]],
    );
}

#[test]
fn a_config_reads_back() {
    assert_eq!(Config::from_json(&config().to_json()).expect("reads"), config());
}

#[test]
fn an_existing_directory_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let error = fresh().save(dir.path(), Stored::F32, &[]).expect_err("must be refused").to_string();
    expect!["DIR: already exists: choose another directory or remove it"]
        .assert_eq(&error.replace(&dir.path().display().to_string(), "DIR"));
}
