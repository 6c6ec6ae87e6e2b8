//! Weights: drawn, stored, read back, and refused when they do not fit.
#![expect(clippy::disallowed_methods, reason = "a test may write half a checkpoint")]

use std::path::Path;

use burn::tensor::Device;
use collimate_model::{Ends, Extras, Heads, HfConfig, Param, Role, Shape, Stored, TensorFile, Weights, WeightsError};
use collimate_schema::{Hash, Seed};
use expect_test::{Expect, expect};

fn shape() -> Shape {
    Shape {
        width: 24,
        n_layers: 2,
        heads: Heads { n_query: 6, n_kv: 2, width: 4 },
        ffn_width: 40,
        n_vocab: 61,
        n_positions: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    }
}

fn ends() -> Ends {
    Ends::new(0, 1)
}

fn drawn(seed: u64) -> Weights {
    Weights::init(&shape(), &ends(), Seed(seed), &Device::flex()).expect("a shape that can be computed")
}

fn fresh() -> Weights {
    drawn(7)
}

fn config() -> HfConfig {
    HfConfig::of(&shape(), &ends())
}

fn load(dir: &Path) -> Result<Weights, WeightsError> {
    Weights::load(dir, &Device::flex())
}

#[test]
fn a_seed_draws_the_same_weights_everywhere() {
    expect!["27d9027b1465829b0572885ccbaaf4ad"].assert_eq(&fresh().hash(&[]).0);
    assert_ne!(fresh().hash(&[]), drawn(8).hash(&[]));
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
    changed.update(|param, tensor| if param.name == "model.norm.weight" { tensor * 1.001 } else { tensor });
    let parameters = weights.shape().parameters();
    let tensors = TensorFile::new(&parameters, &[("", weights.tensors())], Stored::F32).to_bytes();
    let parts = [weights.config().to_json().into_bytes(), tensors, b"tokenizer".to_vec()];
    assert_eq!(weights.hash(&[b"tokenizer"]), Hash::of_parts(parts.iter().map(Vec::as_slice)), "one tensor at a time");
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
    assert_eq!((weights.shape(), weights.ends(), weights.config()), (&shape(), ends(), &config()));
    assert_eq!(weights.shape().n_parameters(), 10_416);
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
        expect![
            "config.json is not a JSON object, near `{`: EOF while parsing an object at line 1 column 1: copy or write it again"
        ],
    );
    let torn = &tensors[..tensors.len() - 7];
    check(
        &[("config.json", json.as_bytes()), ("model.safetensors", torn)],
        expect![
            "model.safetensors: the weights are not a whole safetensors file (incomplete metadata, file not fully covered): copy or write the checkpoint again"
        ],
    );
    let deeper = with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    check(
        &[("config.json", &deeper), ("model.safetensors", &tensors)],
        expect![
            "config.json: `num_hidden_layers` is 3, but must be 2, as model.safetensors has that many layers: correct it, or copy or write the file again"
        ],
    );
    let shallower = with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    check(
        &[("config.json", &shallower), ("model.safetensors", &tensors)],
        expect![
            "config.json: `num_hidden_layers` is 1, but must be 2, as model.safetensors has that many layers: correct it, or copy or write the file again"
        ],
    );
    let mut renamed = tensors.clone();
    let at = tensors.windows(12).position(|it| it == b"o_proj.weigh").expect("a tensor");
    renamed[at] = b'0';
    check(
        &[("config.json", json.as_bytes()), ("model.safetensors", &renamed)],
        expect![
            "model.safetensors: tensor `model.layers.0.self_attn.0_proj.weight` is unknown to this config.json: only tied, bias-free Llama checkpoints load"
        ],
    );
    let wider = with("\"vocab_size\": 61", "\"vocab_size\": 62");
    check(
        &[("config.json", &wider), ("model.safetensors", &tensors)],
        expect![
            "model.safetensors: tensor `model.embed_tokens.weight` has shape [61, 24], config.json (vocab_size, hidden_size) says [62, 24]: the files are not of one checkpoint"
        ],
    );
}

#[test]
fn unsupported_configs_are_refused() {
    let refused = |from: &str, to: &str, expected: Expect| {
        let config = HfConfig::from_json(config().to_json().replace(from, to)).expect("JSON");
        let error = config.shape().expect_err("must be refused");
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
        expect![[
            r#"config.json: `hidden_size` is "24", but must be a positive whole number: correct it, or copy or write the file again"#
        ]],
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
    let read = HfConfig::from_json(config().to_json()).expect("reads");
    assert_eq!((read.shape().expect("a shape"), read.ends().expect("tokens")), (shape(), ends()));
    assert_eq!(read, config());
}

#[test]
fn what_a_config_leaves_out_is_transformers_default() {
    let read = |replaced: &[(&str, &str)]| {
        let json = replaced.iter().fold(config().to_json(), |json, (from, to)| json.replace(from, to));
        HfConfig::from_json(&json).expect("JSON").shape().expect("a shape")
    };
    let sparse = read(&[
        ("  \"num_key_value_heads\": 2,\n", ""),
        ("  \"head_dim\": 4,\n", ""),
        ("\"rope_theta\": 10000.0", "\"rope_theta\": null"),
        ("  \"hidden_act\": \"silu\",\n", ""),
    ]);
    assert_eq!(sparse, Shape { heads: Heads { n_query: 6, n_kv: 6, width: 4 }, ..shape() });
    let newer = r#""rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}"#;
    assert_eq!(read(&[("\"rope_theta\": 10000.0", newer)]), Shape { rope_theta: 5e5, ..shape() });
}

#[test]
fn a_shape_that_contradicts_itself_is_refused() {
    let error = |heads: Heads| {
        let shape = Shape { heads, ..shape() };
        Weights::init(&shape, &ends(), Seed(7), &Device::flex()).expect_err("must be refused").to_string()
    };
    expect!["num_key_value_heads (4) must divide num_attention_heads (6)"].assert_eq(&error(Heads {
        n_query: 6,
        n_kv: 4,
        width: 4,
    }));
    expect!["head_dim (5) must be even"].assert_eq(&error(Heads { n_query: 6, n_kv: 2, width: 5 }));
}

#[test]
fn every_parameter_has_a_role_and_stands_in_one_matrix() {
    let all = shape().parameters();
    let roles = |name: &str| {
        let of_name = |it: &&Param| it.name.contains(name);
        all.iter().filter(of_name).map(|it| it.role).collect::<Vec<_>>()
    };
    for (name, role) in [("q_proj", Role::Query), ("k_proj", Role::Key), ("v_proj", Role::Value), ("o_proj", Role::Out)]
    {
        assert_eq!(roles(name), [role; 2]);
    }
    for (name, role) in [("gate_proj", Role::Gate), ("up_proj", Role::Up), ("down_proj", Role::Down)] {
        assert_eq!(roles(name), [role; 2]);
    }
    assert_eq!((roles("norm"), roles("embed")), (vec![Role::Norm; 5], vec![Role::Embedding]));
    let mut arranged = shape().arranged().concat();
    arranged.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(arranged, all);
    for group in shape().arranged() {
        assert!(group.iter().all(|it| it.shape.last() == group[0].shape.last()), "{group:?} reads one input");
    }
}

#[test]
fn an_existing_directory_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let error = fresh().save(dir.path(), Stored::F32, &[]).expect_err("must be refused").to_string();
    expect!["DIR: already exists: choose another directory or remove it"]
        .assert_eq(&error.replace(&dir.path().display().to_string(), "DIR"));
}
