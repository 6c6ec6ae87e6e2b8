//! Checkpoints that cannot be computed with are refused by name, before anything large is made of them.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use collimate_model::{Codec, Ends, Extras, Harbor, Heads, Model, Shape, Stored, Weights, WeightsError};
use collimate_schema::{Hash, Seed};
use expect_test::expect;
use serde_json::{Value, json};

fn ends() -> Ends {
    Ends::new(0, 1)
}

fn weights() -> Weights {
    let shape = Shape {
        width: 24,
        n_layers: 2,
        heads: Heads { n_query: 6, n_kv: 2, width: 4 },
        ffn_width: 40,
        n_vocab: 61,
        n_positions: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    Weights::init(&shape, &ends(), Seed(7), &Device::flex()).unwrap()
}

fn load(config: &str, safetensors: &[u8]) -> Result<Weights, WeightsError> {
    Weights::from_bytes(config.as_bytes(), safetensors, &Device::flex())
}

fn error(config: &str, safetensors: &[u8]) -> String {
    load(config, safetensors).expect_err("must not load").to_string()
}

/// The weights file with another header; the length that it states is right.
fn with_header(header: impl FnOnce(&mut Value)) -> Vec<u8> {
    let (mut value, data) = parts();
    header(&mut value);
    with_text(&value.to_string(), &data)
}

fn with_text(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn parts() -> (Value, Vec<u8>) {
    let bytes = weights().to_safetensors(Stored::F32);
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + n]).unwrap(), bytes[8 + n..].to_vec())
}

/// The weights file with `put` in the tensor called `name`.
fn with_values(name: &str, put: impl FnOnce(&mut [[u8; 4]])) -> Vec<u8> {
    let (header, mut data) = parts();
    let offset = |at: usize| header[name]["data_offsets"][at].as_u64().unwrap() as usize;
    put(data[offset(0)..offset(1)].as_chunks_mut().0);
    with_text(&header.to_string(), &data)
}

fn config() -> String {
    weights().config().to_json()
}

/// The config with another value of a field.
fn config_with(field: &str, value: Value) -> String {
    let mut config: Value = serde_json::from_str(&config()).unwrap();
    config[field] = value;
    config.to_string()
}

/// What is said of each of these values of a field.
fn said(cases: &[(&str, Value)]) -> String {
    let tensors = weights().to_safetensors(Stored::F32);
    let said =
        |(field, value): &(&str, Value)| error(&config_with(field, value.clone()), &tensors).replace(WAY_OUT, "..");
    cases.iter().map(said).collect::<Vec<_>>().join("\n")
}

const WAY_OUT: &str = ": correct it, or copy or write the file again";
const WHOLE: &str = "the weights are not a whole safetensors file";

#[test]
fn fault_09_model_files_say_which_conventions_they_follow() {
    let metadata = |bytes: &[u8]| {
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
        header.metadata().clone().map(|it| it.into_iter().collect::<Vec<_>>())
    };
    let wanted = Some(vec![("format".to_owned(), "pt".to_owned())]);
    assert_eq!(metadata(&weights().to_safetensors(Stored::F32)), wanted);
    let dir = tempfile::tempdir().unwrap();
    for (name, stored) in [("exact", Stored::F32), ("rounded", Stored::Bf16)] {
        weights().save(&dir.path().join(name), stored, &[]).unwrap();
        assert_eq!(metadata(&std::fs::read(dir.path().join(name).join("model.safetensors")).unwrap()), wanted);
    }
    let before = Hash("27d9027b1465829b0572885ccbaaf4ad".to_owned());
    assert_eq!(weights().hash(&[]), before, "it is no part of the content");
}

#[test]
fn fault_13_numbers_that_cannot_be_computed_with_are_named() {
    let (first, last) = ("model.embed_tokens.weight", "model.norm.weight");
    let cases = [
        (first, 30, f32::NAN),
        (last, 23, f32::NEG_INFINITY),
        (first, 0, 1e30),
        ("model.layers.1.mlp.up_proj.weight", 5, -1e38),
        (last, 3, 1e38),
    ];
    let said = cases.map(|(name, at, value)| {
        error(&config(), &with_values(name, |values: &mut [[u8; 4]]| values[at] = value.to_le_bytes()))
    });
    expect![[r#"
        model.safetensors: tensor `model.embed_tokens.weight` holds NaN at 30 (of 1464): train, copy or write it again
        model.safetensors: tensor `model.norm.weight` holds -inf at 23 (of 24): train, copy or write it again
        model.safetensors: tensor `model.embed_tokens.weight` holds numbers up to 1e30, with which a forward pass can leave the range of f32: train, copy or write it again
        model.safetensors: tensor `model.layers.1.mlp.up_proj.weight` holds numbers up to 1e38, with which a forward pass can leave the range of f32: train, copy or write it again
        model.safetensors: tensor `model.norm.weight` holds numbers up to 1e38, with which a forward pass can leave the range of f32: train, copy or write it again"#]].assert_eq(&said.join("\n"));

    let zeros = |name: &str| error(&config(), &with_values(name, |values| values.fill([0; 4])));
    for name in weights().tensors().keys() {
        let said = zeros(name);
        assert!(said.starts_with(&format!("model.safetensors: tensor `{name}` holds nothing but zeros: ")), "{said}");
    }
    let mut rounded = weights();
    rounded.update(|param, tensor| if param.name == first { tensor * f32::INFINITY } else { tensor });
    let said = error(&config(), &rounded.to_safetensors(Stored::Bf16));
    assert!(said.contains("`model.embed_tokens.weight` holds "), "{said}");
}

#[test]
fn what_is_merely_large_or_partly_zero_loads() {
    let mut large = weights();
    large.update(|_, tensor| tensor * 100.0);
    load(&config(), &large.to_safetensors(Stored::F32)).expect("computable");
    let row = with_values("model.embed_tokens.weight", |values| values[24..48].fill([0; 4]));
    load(&config(), &row).expect("a token that is never used");
}

#[test]
fn fault_13_fields_that_cannot_be_computed_with_are_named() {
    let cases = [
        ("rope_theta", json!(0)),
        ("rope_theta", json!(-10000.0)),
        ("rope_theta", json!("10000")),
        ("rope_parameters", json!({ "rope_theta": 1e300 })),
        ("rope_parameters", json!({ "type": "dynamic", "factor": 2.0 })),
        ("rms_norm_eps", json!(-1)),
        ("rms_norm_eps", json!(0.0)),
        ("rms_norm_eps", json!(1e-50)),
        ("rms_norm_eps", json!(1e9)),
        ("rms_norm_eps", json!("1e-5")),
        ("rms_norm_eps", Value::Null),
        ("head_dim", json!(0)),
        ("head_dim", json!(5)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(600)),
        ("num_key_value_heads", json!(4)),
        ("vocab_size", json!(0)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(2.0)),
        ("hidden_act", json!("nonsense")),
        ("tie_word_embeddings", json!("yes")),
        ("bos_token_id", json!(61)),
        ("eos_token_id", json!([1, 61])),
        ("sliding_window", json!(4096)),
    ];
    expect![[r#"
        config.json: `rope_theta` is 0.0, but must be a number from 1 to 1e12..
        config.json: `rope_theta` is -10000.0, but must be a number from 1 to 1e12..
        config.json: `rope_theta` is "10000", but must be a number..
        config.json: `rope_theta` is 1e300, but must be a number from 1 to 1e12..
        config.json: `rope_parameters` is "dynamic", this transformer supports "default", "linear", "llama3" and "yarn" only: convert the checkpoint first
        config.json: `rms_norm_eps` is -1.0, but must be a number from 1e-12 to 0.1..
        config.json: `rms_norm_eps` is 0.0, but must be a number from 1e-12 to 0.1..
        config.json: `rms_norm_eps` is 1e-50, but must be a number from 1e-12 to 0.1..
        config.json: `rms_norm_eps` is 1000000000.0, but must be a number from 1e-12 to 0.1..
        config.json: `rms_norm_eps` is "1e-5", but must be a number..
        config.json has no `rms_norm_eps`: add it, a number
        config.json: `head_dim` is 0, but must be a positive whole number..
        config.json: head_dim (5) must be even
        config.json: `num_attention_heads` is 0, but must be a positive whole number..
        model.safetensors: tensor `model.layers.0.self_attn.o_proj.weight` has shape [24, 24], config.json (hidden_size, num_attention_heads x head_dim) says [24, 2400]: the files are not of one checkpoint
        config.json: num_key_value_heads (4) must divide num_attention_heads (6)
        config.json: `vocab_size` is 0, but must be a positive whole number..
        config.json: `num_hidden_layers` is 0, but must be a positive whole number..
        config.json: `num_hidden_layers` is 2.0, but must be a positive whole number..
        config.json: `hidden_act` is "nonsense", this transformer supports "silu" only: convert the checkpoint first
        config.json: `tie_word_embeddings` is "yes", but must be true or false..
        config.json: `bos_token_id` is 61, but must be a token id below vocab_size (61)..
        config.json: `eos_token_id` is 61, but must be a token id below vocab_size (61)..
        config.json: `sliding_window` is 4096, this transformer supports null only: convert the checkpoint first"#]].assert_eq(&said(&cases));

    let read = |text: &str| error(text, &weights().to_safetensors(Stored::F32));
    let nan = config().replace("1e-5", "NaN").replace("0.00001", "NaN");
    let twice = config().replace("\"hidden_size\"", "\"vocab_size\": 61, \"hidden_size\"");
    expect![[r#"
        config.json is not a JSON object, near `"rms_norm_eps": NaN,`: expected value at line 14 column 19: copy or write it again
        config.json is not a JSON object, near `[1, 2]`: it is something else: copy or write it again
        config.json is not a JSON object, near `"vocab_size": 61,`: `vocab_size` stands twice at line 12 column 14: copy or write it again"#]].assert_eq(&[&nan, "[1, 2]", &twice].map(read).join("\n"));
}

#[test]
fn fault_14_sizes_are_those_of_the_file_before_anything_is_made() {
    let cases = [
        ("num_hidden_layers", json!(1_000_000_000)),
        ("num_hidden_layers", json!(-1)),
        ("max_position_embeddings", json!(1_000_000_000_000_u64)),
        ("max_position_embeddings", json!(2_000_000_000)),
        ("max_position_embeddings", json!(1_u64 << 63)),
        ("max_position_embeddings", json!(1e30)),
        ("hidden_size", json!(u64::MAX)),
        ("hidden_size", json!(i32::MAX)),
        ("vocab_size", json!(1_u64 << 40)),
        ("head_dim", json!(1_000_000_000)),
        ("intermediate_size", json!(2_000_000_000)),
    ];
    expect![[r#"
        config.json: `num_hidden_layers` is 1000000000, but must be 2, as model.safetensors has that many layers..
        config.json: `num_hidden_layers` is -1, but must be a positive whole number..
        config.json: `max_position_embeddings` is 1000000000000, but must be a whole number from 1 to 2147483647..
        config.json: `max_position_embeddings` is 2000000000, but must be at most 1048576, for tables to fit..
        config.json: `max_position_embeddings` is 9223372036854775808, but must be a whole number from 1 to 2147483647..
        config.json: `max_position_embeddings` is 1e+30, but must be a positive whole number..
        config.json: `hidden_size` is 18446744073709551615, but must be a whole number from 1 to 2147483647..
        model.safetensors: tensor `model.embed_tokens.weight` has shape [61, 24], config.json (vocab_size, hidden_size) says [61, 2147483647]: the files are not of one checkpoint
        config.json: `vocab_size` is 1099511627776, but must be a whole number from 1 to 2147483647..
        config.json: `head_dim` is 1000000000, but must be at most 214748364 with so many heads..
        model.safetensors: tensor `model.layers.0.mlp.down_proj.weight` has shape [24, 40], config.json (hidden_size, intermediate_size) says [24, 2000000000]: the files are not of one checkpoint"#]].assert_eq(&said(&cases));
}

#[test]
fn fault_14_a_header_that_lies_is_refused() {
    let (whole, (header, data)) = (weights().to_safetensors(Stored::F32), parts());
    let norm = "model.norm.weight";
    let longer = |length: u64| [&length.to_le_bytes(), &whole[8..]].concat();
    let of_norm = format!("\"{norm}\":{}", header[norm]);
    let twice = header.to_string().replace(&of_norm, &format!("{of_norm},{of_norm}"));
    let cases = [
        longer(1 << 63),
        longer(u64::MAX),
        longer(whole.len() as u64 - 7),
        longer(3),
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        [&whole[..], b"more"].concat(),
        with_header(|it| it[norm]["data_offsets"] = json!([0, 96])),
        with_header(|it| it[norm]["data_offsets"] = json!([u64::MAX - 96, u64::MAX])),
        with_header(|it| it[norm]["data_offsets"] = json!([96, 0])),
        with_header(|it| it[norm]["shape"] = json!([u64::MAX, u64::MAX])),
        with_header(|it| it[norm]["shape"] = json!([24, 1])),
        with_header(|it| it[norm]["shape"] = json!([-24])),
        with_header(|it| it[norm]["dtype"] = json!("F16")),
        with_text(&twice, &data),
    ];
    let said = cases.map(|it| error(&config(), &it).replace(WHOLE, ".."));
    expect![[r#"
        model.safetensors: .. (header too large): copy or write the checkpoint again
        model.safetensors: .. (header too large): copy or write the checkpoint again
        model.safetensors: .. (invalid header length): copy or write the checkpoint again
        model.safetensors: .. (invalid JSON in header: EOF while parsing a string at line 1 column 3): copy or write the checkpoint again
        model.safetensors: .. (header too small): copy or write the checkpoint again
        model.safetensors: .. (incomplete metadata, file not fully covered): copy or write the checkpoint again
        model.safetensors: .. (incomplete metadata, file not fully covered): copy or write the checkpoint again
        model.safetensors: .. (invalid offset for tensor `model.embed_tokens.weight`): copy or write the checkpoint again
        model.safetensors: .. (invalid offset for tensor `model.norm.weight`): copy or write the checkpoint again
        model.safetensors: .. (invalid offset for tensor `model.norm.weight`): copy or write the checkpoint again
        model.safetensors: .. (overflow computing buffer size from shape and/or element type): copy or write the checkpoint again
        model.safetensors: tensor `model.norm.weight` has shape [24, 1], config.json (hidden_size or head_dim) says [24]: the files are not of one checkpoint
        model.safetensors: .. (invalid JSON in header: invalid value: integer `-24`, expected usize at line 1 column 2002): copy or write the checkpoint again
        model.safetensors: .. (invalid shape, data type, or offset for tensor): copy or write the checkpoint again
        model.safetensors: .. (invalid JSON in header: `model.norm.weight` stands twice at line 1 column 2020): copy or write the checkpoint again"#]].assert_eq(&said.join("\n"));
}

/// What `load` returns, if it does.
fn in_time<T: Send + 'static>(load: impl FnOnce() -> T + Send + 'static) -> T {
    let (to, from) = std::sync::mpsc::channel();
    std::thread::spawn(move || to.send(load()));
    from.recv_timeout(Duration::from_secs(10)).expect("it does not hang")
}

#[cfg(unix)]
#[test]
fn fault_15_what_is_no_regular_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let codec = Arc::new(Harbor::new(&[]));
    let shape = Shape { n_vocab: codec.tokenizer().vocab_size(), ..weights().shape().clone() };
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let weights = Weights::init(&shape, &ends, Seed(7), &Device::flex()).unwrap();
    let model = Model::new(weights, codec).unwrap();
    for name in names {
        for kind in ["pipe", "device", "directory"] {
            let folder = dir.path().join(format!("{kind}-{name}"));
            model.save(&folder, Stored::Bf16).unwrap();
            let path = folder.join(name);
            std::fs::remove_file(&path).unwrap();
            match kind {
                "pipe" => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "device" => std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
                _ => std::fs::create_dir(&path).unwrap(),
            }
            let said = in_time(move || Model::load(&folder, &Device::flex()).err().unwrap().to_string());
            assert_eq!(said, format!("{}: not a regular file: is this a checkpoint directory?", path.display()));
        }
    }
}
