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
    assert_eq!((weights.shape(), weights.ends()), (&shape(), ends()));
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
        expect![
            "DIR: it has no model.safetensors and no model.safetensors.index.json: copy or write the checkpoint again"
        ],
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
            "model.safetensors: tensor `model.layers.0.self_attn.0_proj.weight` is unknown to this config.json: the file does not belong to it"
        ],
    );
    let untied = with("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    check(
        &[("config.json", &untied), ("model.safetensors", &tensors)],
        expect!["model.safetensors: tensor `lm_head.weight` is missing: the file does not belong to this config.json"],
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
            r#"config.json: `architectures` is ["LlamaForCausalLM"], this transformer supports the `ForCausalLM` of its model_type only: convert the checkpoint first"#
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

/// The stored checkpoint in files of its own: what is in each is said by an index.
fn in_shards(dir: &Path, place: impl Fn(usize) -> usize, index: impl Fn(&mut serde_json::Value)) {
    let weights = fresh();
    let parameters = weights.shape().parameters();
    let mut map = serde_json::Map::new();
    for shard in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let here = parameters.iter().enumerate().filter(|(at, _)| place(*at) == shard);
        let here: Vec<Param> = here.map(|it| it.1.clone()).collect();
        here.iter().for_each(|it| drop(map.insert(it.name.clone(), name.clone().into())));
        let file = TensorFile::new(&here, &[("", weights.tensors())], Stored::F32);
        std::fs::write(dir.join(name), file.to_bytes()).expect("written");
    }
    let mut all = serde_json::json!({ "metadata": {}, "weight_map": map });
    index(&mut all);
    std::fs::write(dir.join("model.safetensors.index.json"), all.to_string()).expect("written");
    std::fs::write(dir.join("config.json"), config().to_json()).expect("written");
}

#[test]
fn fault_15_shards_are_one_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    in_shards(dir.path(), |at| at % 2, |_| ());
    assert_eq!(load(dir.path()).expect("loads").hash(&[]), fresh().hash(&[]));

    let said = |index: &dyn Fn(&mut serde_json::Value)| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        in_shards(dir.path(), |at| at % 2, index);
        load(dir.path()).expect_err("must be refused").to_string().replace(&dir.path().display().to_string(), "DIR")
    };
    let norm = "model.norm.weight";
    let all = [
        said(&|it| it["weight_map"][norm] = "model-00003-of-00003.safetensors".into()),
        said(&|it| it["weight_map"][norm] = "../model.safetensors".into()),
        said(&|it| it["weight_map"][norm] = "model-00001-of-00002.safetensors".into()),
        said(&|it| it["weight_map"]["more"] = "model-00001-of-00002.safetensors".into()),
        said(&|it| drop(it.as_object_mut().expect("an object").remove("weight_map"))),
        said(&|it| it["weight_map"][norm] = 1.into()),
    ];
    expect![[r#"
        DIR/model-00003-of-00003.safetensors: No such file or directory (os error 2)
        model.safetensors.index.json: it is no index of files (`model.norm.weight` is in "../model.safetensors", which is no safetensors file beside it): copy the checkpoint again
        model.safetensors.index.json: tensor `model.norm.weight` is in model-00002-of-00002.safetensors, and by the index in model-00001-of-00002.safetensors: copy the checkpoint again
        model.safetensors.index.json: tensor `more` is in no file, and by the index in model-00001-of-00002.safetensors: copy the checkpoint again
        model.safetensors.index.json: it is no index of files (it has no `weight_map`): copy the checkpoint again
        model.safetensors.index.json: it is no index of files (`model.norm.weight` is in 1, which is no safetensors file beside it): copy the checkpoint again"#]].assert_eq(&all.join("\n"));
}

#[test]
fn fault_15_halves_are_read() {
    let weights = fresh();
    let halves = weights.to_safetensors(Stored::Bf16);
    let as_f16 = {
        let n = u64::from_le_bytes(halves[..8].try_into().expect("eight")) as usize;
        let header = String::from_utf8(halves[8..8 + n].to_vec()).expect("JSON").replace("BF16", "F16");
        let numbers = halves[8 + n..].as_chunks::<2>().0.iter();
        let numbers = numbers.flat_map(|it| half::f16::from_f32(half::bf16::from_le_bytes(*it).to_f32()).to_le_bytes());
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers.collect::<Vec<u8>>()].concat()
    };
    let read =
        |bytes: &[u8]| Weights::from_bytes(config().to_json().as_bytes(), bytes, &Device::flex()).expect("loads");
    let (of_bf16, of_f16) = (read(&halves), read(&as_f16));
    for (name, tensor) in of_bf16.tensors() {
        let [a, b] = [tensor, &of_f16.tensors()[name]].map(|it| it.to_data().try_into_vec::<f32>().expect("f32"));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-7), "{name}");
    }
}

#[test]
fn fault_15_what_stands_in_the_place_of_weights_is_named() {
    let said = |name: &str| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("config.json"), config().to_json()).expect("written");
        std::fs::write(dir.path().join(name), "..").expect("written");
        load(dir.path()).expect_err("must be refused").to_string().replace(&dir.path().display().to_string(), "DIR")
    };
    expect![[r#"
        DIR: it has no model.safetensors and no model.safetensors.index.json: `pytorch_model.bin` is a pickle, which may run any code and is never opened: have the program that wrote it save safetensors
        DIR: it has no model.safetensors and no model.safetensors.index.json: give its file `model.gguf` instead
        DIR: it has no model.safetensors and no model.safetensors.index.json: copy or write the checkpoint again"#]].assert_eq(&["pytorch_model.bin", "model.gguf", "README.md"].map(said).join("\n"));
}

#[test]
fn fault_12_a_config_of_another_family_is_that_family_or_refused() {
    let of = |fields: &[(&str, serde_json::Value)]| {
        let mut json: serde_json::Value = serde_json::from_str(&config().to_json()).expect("JSON");
        fields.iter().for_each(|(name, value)| json[*name] = value.clone());
        let config = HfConfig::from_json(json.to_string()).expect("JSON");
        match config.shape() {
            Ok(shape) => format!("{:?}, {} positions {}", shape.extras, shape.n_positions, config.notices().join("")),
            Err(refused) => refused.to_string(),
        }
    };
    let family = |name: &str, more: &[(&str, serde_json::Value)]| {
        let architecture = serde_json::json!([format!("{name}ForCausalLM")]);
        let said = [("model_type", name.to_lowercase().into()), ("architectures", architecture)];
        of(&[&said[..], more].concat())
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let cases = [
        of(&[("attention_bias", true.into()), ("mlp_bias", true.into()), ("tie_word_embeddings", false.into())]),
        family("Mistral", &[]),
        family("Mistral", &[("sliding_window", 32.into())]),
        family("Mistral", &[("sliding_window", json("null"))]),
        family("Qwen2", &[("sliding_window", 32.into())]),
        family("Qwen2", &[("sliding_window", 32.into()), ("use_sliding_window", true.into())]),
        family("Qwen3", &[("eos_token_id", json("[1, 2]"))]),
        family("Phi3", &[]),
        of(&[("architectures", json(r#"["LlamaForSequenceClassification"]"#))]),
        of(&[("sliding_window", 32.into())]),
        of(&[("rope_scaling", json(r#"{"type": "linear", "factor": 2.0}"#))]),
        of(&[("rope_scaling", json(r#"{"type": "dynamic", "factor": 2.0}"#))]),
        of(&[("rope_scaling", json(r#"{"type": "linear"}"#))]),
        of(&[("rope_scaling", json(r#"{"type": "linear", "factor": 0.5}"#))]),
        of(&[("rope_scaling", json(r#"{"type": "linear", "rope_type": "yarn", "factor": 2}"#))]),
        of(&[("rope_parameters", json(r#"{"rope_type": "yarn", "factor": 4.0, "beta": 1.0}"#))]),
        of(&[("rope_parameters", json(r#"{"rope_type": "yarn", "factor": 4.0, "truncate": 1}"#))]),
        of(&[("rope_parameters", json(r#"{"rope_type": "default", "partial_rotary_factor": 0.5}"#))]),
        of(&[("rope_parameters", json(r#"{"rope_type": "default", "partial_rotary_factor": 1}"#))]),
        of(&[("rope_parameters", json(r#"{"rope_type": "yarn", "factor": 4.0}"#))]),
        of(&[("quantization_config", json(r#"{"quant_method": "gptq"}"#))]),
    ];
    expect![[r#"
        Extras { rope_scaling: None, qkv_bias: true, out_bias: true, ffn_bias: true, head_norms: false, own_head: true }, 64 positions 
        Extras { rope_scaling: None, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 64 positions 
        Extras { rope_scaling: None, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 32 positions config.json: positions see the last 32 only (`sliding_window`): sequences are kept that short, at most 32 of 64 positions
        Extras { rope_scaling: None, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 64 positions 
        Extras { rope_scaling: None, qkv_bias: true, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 64 positions 
        Extras { rope_scaling: None, qkv_bias: true, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 32 positions config.json: positions see the last 32 only (`sliding_window`): sequences are kept that short, at most 32 of 64 positions
        Extras { rope_scaling: None, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: true, own_head: false }, 64 positions 
        config.json: `model_type` is "phi3", this transformer supports "llama", "mistral", "qwen2" and "qwen3" only: convert the checkpoint first
        config.json: `architectures` is ["LlamaForSequenceClassification"], this transformer supports the `ForCausalLM` of its model_type only: convert the checkpoint first
        config.json: `sliding_window` is 32, this transformer supports null only: convert the checkpoint first
        Extras { rope_scaling: Linear { factor: 2.0 }, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 64 positions 
        config.json: `rope_scaling` is "dynamic", this transformer supports "default", "linear", "llama3" and "yarn" only: convert the checkpoint first
        config.json has no `factor`: add it, a number
        config.json: `factor` is 0.5, but must be a number from 1 to 1e6: correct it, or copy or write the file again
        config.json: `rope_scaling` is "linear", but must be "yarn", as its `rope_type` says: correct it, or copy or write the file again
        config.json: `rope_parameters` is "beta: 1.0", this transformer supports the keys that belong to its type only: convert the checkpoint first
        config.json: `truncate` is 1, but must be true or false: correct it, or copy or write the file again
        config.json: `rope_parameters` is "partial_rotary_factor: 0.5", this transformer supports the keys that belong to its type only: convert the checkpoint first
        Extras { rope_scaling: None, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 64 positions 
        Extras { rope_scaling: Yarn { factor: 4.0, fast: 32.0, slow: 1.0, original: 64.0, attention: 1.138629436111989, truncates: true }, qkv_bias: false, out_bias: false, ffn_bias: false, head_norms: false, own_head: false }, 64 positions 
        config.json: `quantization_config` is {"quant_method":"gptq"}, this transformer supports null only: convert the checkpoint first"#]].assert_eq(&cases.join("\n"));
}

#[test]
fn a_head_that_is_stored_twice_must_be_the_embedding() {
    let weights = fresh();
    let mut parameters = weights.shape().parameters();
    let table = parameters.iter().find(|it| it.role == Role::Embedding).expect("a table").clone();
    parameters.push(Param { name: "lm_head.weight".to_owned(), role: Role::Head, ..table.clone() });
    let load = |factor: f32| {
        let mut tensors = weights.tensors().clone();
        tensors.insert("lm_head.weight".to_owned(), tensors[&table.name].clone() * factor);
        let file = TensorFile::new(&parameters, &[("", &tensors)], Stored::F32).to_bytes();
        Weights::from_bytes(config().to_json().as_bytes(), &file, &Device::flex())
    };
    assert_eq!(load(1.0).expect("the same").hash(&[]), weights.hash(&[]));
    expect!["model.safetensors: tensor `lm_head.weight` differs from `model.embed_tokens.weight`: set tie_word_embeddings in config.json to false, or remove it"].assert_eq(&load(2.0).expect_err("another").to_string());
}
