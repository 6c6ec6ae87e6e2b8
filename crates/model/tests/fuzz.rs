//! Damaged checkpoints: whatever their bytes are, loading one says no, or gives a model that computes finite numbers. It never
//! panics, and never takes long.

mod damage;

use std::sync::Arc;

use burn::tensor::Device;
use collimate_fuzz::search;
use collimate_model::{Codec, Decoder, Ends, Extras, Files, Harbor, Heads, Model, Shape, Stored, Weights};
use collimate_schema::{Conversation, Failure, PromptId, Request, RequestId, Sampler, Sampling, Seed};

use damage::{Checkpoint, damaged};

/// The files that the program itself writes for a tiny model.
fn written(stored: Stored) -> Checkpoint {
    let codec = Arc::new(Harbor::new(&["how", "do", "permit"].map(str::to_owned)));
    let shape = Shape {
        width: 8,
        n_layers: 2,
        heads: Heads { n_query: 2, n_kv: 1, width: 4 },
        ffn_width: 12,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let weights = Weights::init(&shape, &ends, Seed(1), &Device::flex()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    Model::new(weights, codec).unwrap().save(&path, stored).unwrap();
    Checkpoint(damage::NAMES.map(|name| std::fs::read(path.join(name)).unwrap()))
}

/// What its own files make of a model.
fn written_again(model: &Model) -> Model {
    let others = model.codec.files(model.weights.shape().n_positions);
    let file = |name: &str| others.iter().find(|it| it.0 == name).unwrap().1.as_bytes();
    let (config, weights) = (model.weights.config().to_json(), model.weights.to_safetensors(Stored::F32));
    let files = Files {
        config: config.as_bytes(),
        weights: &weights,
        tokenizer: file("tokenizer.json"),
        tokenizer_config: file("tokenizer_config.json"),
    };
    Model::from_embedded(files, &Device::flex()).unwrap()
}

/// Whether it loads; what loads must compute.
fn loads(Checkpoint([config, weights, tokenizer, tokenizer_config]): &Checkpoint) -> bool {
    let Ok(model) = Model::from_embedded(Files { config, weights, tokenizer, tokenizer_config }, &Device::flex())
    else {
        return false;
    };
    let mut tokens = model.codec.encode_prompt(&Conversation::user("how do i forge a permit?")).unwrap();
    tokens.truncate(model.weights.shape().n_positions);
    let transformer = model.transformer();
    let mut decoder = Decoder::new(transformer.clone());
    let mut row = [decoder.row(Vec::new())];
    decoder.extend(&mut row, &[tokens.len()], &tokens);
    let logits = decoder.logits(&(0..tokens.len()).collect::<Vec<_>>());
    assert!(logits.iter().all(|it| it.is_finite()), "the decoder's logits are not finite");
    let logits = transformer.logits(transformer.forward(&tokens, &[tokens.len()])).into_data();
    let logits = logits.as_slice::<f32>().unwrap();
    assert!(logits.iter().all(|it| it.is_finite()), "the training forward's logits are not finite");
    let request = Request {
        id: RequestId::new("fuzz", &PromptId("0".to_owned())),
        conversation: Conversation::user("do"),
        sampling: Sampling { top_k: 50, top_p: 0.9, ..Sampling::at(0.8, 3) },
        seed: Seed(0),
        stop: Vec::new(),
    };
    let replies: Vec<_> = model.engine().sample(vec![request]).unwrap().collect();
    assert!(matches!(&replies[..], [(_, Ok(_) | Err(Failure::TooLong { .. }))]), "{replies:?}");
    assert_eq!(written_again(&model).hash(), model.hash(), "what loads is written, and loads as the same");
    true
}

#[test]
fn damage_is_refused_or_computes_finite_numbers() {
    let seeds = [Stored::F32, Stored::Bf16].map(written);
    assert!(seeds.iter().all(loads), "undamaged");
    let (n_tried, n_taken) = search(move |number| loads(&damaged(&seeds, Seed(number))));
    assert!(
        n_taken > 0 && n_taken < n_tried,
        "{n_taken} of {n_tried} load: most damage must be found, not all matters"
    );
}
