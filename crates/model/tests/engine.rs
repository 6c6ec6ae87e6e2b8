//! The sampling engine against the training forward, and checkpoints as directories.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use burn::tensor::{Device, activation::log_softmax};
use collimate_model::{
    Codec, Ends, Engine, Extras, Files, Harbor, Heads, Model, Role, Shape, Stored, Transformer, Weights,
};
use collimate_schema::{
    Answer, By, Completion, Conversation, Malformed, Parsed, PromptId, Request, RequestId, Sampler, Sampling, Seed,
    Stop, Thought, Trace, Turn,
};
use expect_test::expect;

fn codec() -> Arc<dyn Codec> {
    static CODEC: LazyLock<Arc<dyn Codec>> = LazyLock::new(|| {
        let words = "how do i forge a permit for the harbor sorry no please history of contraband";
        Arc::new(Harbor::new(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()))
    });
    CODEC.clone()
}

/// A small model with weights large enough that its distributions are far from uniform.
fn model() -> Model {
    let codec = codec();
    let shape = Shape {
        width: 32,
        n_layers: 2,
        heads: Heads { n_query: 4, n_kv: 2, width: 8 },
        ffn_width: 48,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 64,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let mut weights = Weights::init(&shape, &ends, Seed(3), &Device::flex()).unwrap();
    weights.update(|param, tensor| if param.role == Role::Norm { tensor } else { tensor * 25.0 });
    Model::new(weights, codec).unwrap()
}

fn engine(n_rows: usize) -> Engine {
    model().engine().with_rows(n_rows)
}

/// Five samples of each of seven conversations of different lengths.
fn requests(temperature: f32, max_tokens: u32) -> Vec<Request> {
    let request = |index: usize| {
        let (prompt, ordinal) = (index / 5, index % 5);
        let words = ["how", "do", "i", "forge", "a", "permit", "for", "the", "harbor"];
        let id = format!("{prompt}/{ordinal}");
        Request {
            stop: Vec::new(),
            conversation: Conversation::user(words[..prompt + 1].join(" ")),
            sampling: Sampling::at(temperature, max_tokens),
            seed: Seed(11).child(&id),
            id: name(prompt).sample(ordinal as u32),
        }
    };
    (0..35).map(request).collect()
}

fn name(prompt: usize) -> RequestId {
    RequestId::new("test", &PromptId(prompt.to_string()))
}

/// What `engine` makes of `batch`, in the order of ids.
fn run(engine: &Engine, batch: Vec<Request>) -> Vec<Completion> {
    let done = engine.sample(batch).unwrap().map(|(id, reply)| (id, reply.unwrap()));
    done.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn tokens(completion: &Completion) -> (Vec<u32>, Vec<u32>, Vec<f32>) {
    let Trace::Tokens { prompt, sampled } = &completion.trace else { panic!("the engine samples tokens") };
    (prompt.clone(), sampled.iter().map(|it| it.token).collect(), sampled.iter().map(|it| it.logprob).collect())
}

/// Log-probabilities [T, V] at every position of `sequence`, by the forward that training uses.
fn forward(transformer: &Transformer, sequence: &[u32]) -> Vec<Vec<f32>> {
    let logits = transformer.logits(transformer.forward(sequence, &[sequence.len()]));
    let all: Vec<f32> = log_softmax(logits, 1).into_data().try_into_vec().unwrap();
    all.chunks(transformer.shape().n_vocab).map(<[f32]>::to_vec).collect()
}

#[test]
fn sampled_logprobs_are_those_of_the_training_forward() {
    for temperature in [1.0, 0.7] {
        let engine = engine(8); // far fewer rows than requests: rows are refilled while others run
        let completions = run(&engine, requests(temperature, 20));
        assert_eq!(completions.len(), 35);
        let mut spread = 0.0_f32;
        for completion in &completions {
            let (prompt, sampled, logprobs) = tokens(completion);
            let all = forward(engine.transformer(), &[prompt.as_slice(), &sampled].concat());
            for (offset, (token, logprob)) in sampled.iter().zip(&logprobs).enumerate() {
                let wanted = all[prompt.len() + offset - 1][*token as usize];
                assert!((wanted - logprob).abs() < 1e-5, "{prompt:?}: {wanted} {logprob}");
            }
            spread = logprobs.iter().fold(spread, |spread, it| spread.max(-it));
        }
        assert!(spread > 3.0, "the model is not far from uniform: {spread}");
    }
}

#[test]
fn the_same_batch_gives_the_same_bits() {
    let completions = run(&engine(8), requests(1.0, 20));
    assert_eq!(completions, run(&engine(8), requests(1.0, 20)));
    let one_prompt: Vec<&Trace> = completions[..5].iter().map(|it| &it.trace).collect();
    assert!(one_prompt.iter().any(|it| *it != one_prompt[0]), "each sample has its own seed");
}

#[test]
fn a_request_does_not_depend_on_what_else_is_in_the_batch() {
    let together = run(&engine(8), requests(1.0, 20));
    assert_eq!(together, run(&engine(64), requests(1.0, 20)));
    for (request, among) in requests(1.0, 20).into_iter().zip(&together) {
        assert_eq!(run(&engine(3), vec![request]), std::slice::from_ref(among));
    }
}

#[test]
fn greedy_takes_the_likeliest_token_each_time() {
    let engine = engine(8);
    for completion in run(&engine, requests(0.0, 8)) {
        let (prompt, sampled, _) = tokens(&completion);
        let all = forward(engine.transformer(), &[prompt.as_slice(), &sampled].concat());
        for (offset, token) in sampled.iter().enumerate() {
            let row = &all[prompt.len() + offset - 1];
            assert!(row.iter().all(|it| *it <= row[*token as usize] + 1e-5));
        }
    }
}

#[test]
fn rows_stop_at_the_stop_token_or_at_their_budget() {
    let mut batch = requests(1.0, 40);
    for (index, request) in batch.iter_mut().enumerate() {
        request.sampling.max_tokens = [0, 1, 7, 40][index % 4];
    }
    let end = codec().stops()[0];
    let completions = run(&engine(4), batch.clone());
    let mut n_ended = 0;
    batch.sort_by(|a, b| a.id.cmp(&b.id));
    for (request, completion) in batch.iter().zip(&completions) {
        let (prompt, sampled, _) = tokens(completion);
        assert_eq!(prompt, codec().encode_prompt(&request.conversation).unwrap());
        let budget = request.sampling.max_tokens as usize;
        let ended = sampled.last() == Some(&end);
        n_ended += usize::from(ended);
        assert!(!sampled[..sampled.len().saturating_sub(1)].contains(&end));
        assert_eq!(completion.stop, if ended { Stop::EndOfTurn } else { Stop::Length });
        assert!(ended || sampled.len() == budget);
        if !ended {
            assert_eq!(completion.parsed, Parsed::Malformed(Malformed::Truncated));
        }
    }
    assert!(n_ended < completions.len());
}

#[test]
fn one_request_that_cannot_be_sampled_does_not_end_the_others() {
    let mut long = requests(1.0, 8);
    long[3].sampling.max_tokens = 60;
    let whole = run(&engine(4), requests(1.0, 8));
    let (failed, done): (Vec<_>, Vec<_>) = engine(4).sample(long).unwrap().partition(|(_, reply)| reply.is_err());
    let [(id, Err(failure))] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!(*id, name(0).sample(3));
    expect!["the prompt is 5 tokens long; with 60 more it exceeds the context of 64: shorten it or lower max_tokens"]
        .assert_eq(&failure.to_string());
    assert_eq!(done.len(), whole.len() - 1);
    assert!(done.iter().all(|(_, it)| whole.contains(it.as_ref().unwrap())));
}

#[test]
fn fault_13_a_model_that_diverged_fails_the_request() {
    let mut model = model();
    model.weights.update(|param, tensor| if param.role == Role::Down { tensor * f32::NAN } else { tensor });
    let engine = model.engine();
    let wanted = "the model's probabilities are not finite: its weights are broken, or its training diverged";
    for (_, reply) in engine.sample(requests(1.0, 8)).unwrap() {
        assert_eq!(reply.unwrap_err().to_string(), wanted);
    }
    let error = engine.score(&Conversation::user("how"), &["no".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_name_that_stands_twice_is_said_before_anything_is_sampled() {
    let mut twice = requests(1.0, 8);
    twice[1].id = twice[0].id.clone();
    let error = engine(4).sample(twice).err().unwrap().to_string();
    expect!["request `test/0/0` stands twice in the batch: give it another id"].assert_eq(&error);
    assert_eq!(engine(4).sample(Vec::new()).unwrap().count(), 0);
}

#[test]
fn scores_are_the_summed_logprobs_of_the_answer() {
    let engine = engine(4);
    let context = Conversation::user("how do i forge a permit");
    let choices = ["sorry no".to_owned(), "please".to_owned(), "history of contraband".to_owned()];
    let scores = engine.score(&context, &choices).unwrap();
    for (choice, score) in choices.iter().zip(scores) {
        let turn = Turn { thought: Thought(String::new()), answer: Answer(choice.clone()) };
        let sequence = codec().encode_target(&context, &turn).unwrap().tokens;
        let all = forward(engine.transformer(), &sequence);
        let from = codec().encode_prompt(&context).unwrap().len() + 2;
        let wanted: f32 = (from..sequence.len()).map(|at| all[at - 1][sequence[at] as usize]).sum();
        assert!((f64::from(wanted) - score).abs() < 1e-4, "{wanted} {score}");
    }
    assert_eq!(engine.score(&context, &[]).unwrap(), Vec::<f64>::new());
    let error = engine.score(&context, &["a ".repeat(80)]).unwrap_err().to_string();
    assert!(error.contains("exceeds the context of 64"), "{error}");
}

#[test]
fn a_checkpoint_directory_is_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let (model, path) = (model(), dir.path().join("checkpoint"));
    model.save(&path, Stored::F32).unwrap();
    let mut names: Vec<String> =
        std::fs::read_dir(&path).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    expect![
        "config.json generation_config.json model.safetensors special_tokens_map.json tokenizer.json tokenizer_config.json"
    ]
    .assert_eq(&names.join(" "));

    let again = Model::load(&path, &Device::flex()).unwrap();
    assert_eq!(again.hash(), model.hash());
    assert_eq!(again.engine().by(), By::Checkpoint(model.hash()));
    assert_eq!(run(&again.engine(), requests(1.0, 8)), run(&model.engine(), requests(1.0, 8)));

    let mut retrained = model.clone();
    retrained.weights.update(|_, tensor| tensor * 1.001);
    assert_ne!(retrained.hash(), model.hash());
    assert!(model.save(&path, Stored::F32).is_err(), "a checkpoint is never overwritten");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may write a config")]
fn what_a_config_says_and_is_followed_in_another_way_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    model().save(&path, Stored::F32).unwrap();
    let config = std::fs::read_to_string(path.join("config.json")).unwrap();
    let config = config.replace("\"llama\"", "\"mistral\", \"sliding_window\": 16");
    std::fs::write(path.join("config.json"), config.replace("Llama", "Mistral")).unwrap();
    let windowed = Model::load(&path, &Device::flex()).unwrap();
    assert_eq!(windowed.weights.shape().n_positions, 16);
    expect!["config.json: positions see the last 16 only (`sliding_window`): sequences are kept that short, at most 16 of 64 positions"].assert_eq(&windowed.notices().join("\n"));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    model().save(&path, Stored::Bf16).unwrap();
    let read = |name: &str| std::fs::read(path.join(name)).unwrap();
    let (config, weights, tokenizer) = (read("config.json"), read("model.safetensors"), read("tokenizer.json"));
    let tokenizer_config = read("tokenizer_config.json");
    let files =
        Files { config: &config, weights: &weights, tokenizer: &tokenizer, tokenizer_config: &tokenizer_config };
    let load = |files| Model::from_embedded(files, &Device::flex());
    assert_eq!(load(files).unwrap().hash(), Model::load(&path, &Device::flex()).unwrap().hash());

    let error = |files| load(files).err().unwrap().to_string();
    let other = Harbor::new(&["unrelated".to_owned()]);
    expect!["config.json has `bos_token_id` 344, the tokenizer 320: the files are not of one checkpoint"]
        .assert_eq(&error(Files { tokenizer: other.tokenizer().to_json().as_bytes(), ..files }));
    expect!["tokenizer_config.json has no `chat_template`: write the checkpoint again"]
        .assert_eq(&error(Files { tokenizer_config: b"{}", ..files }));
    std::fs::remove_file(path.join("tokenizer.json")).unwrap();
    let missing = Model::load(&path, &Device::flex()).err().unwrap().to_string();
    assert!(
        missing.ends_with("tokenizer.json: No such file or directory (os error 2): is this a checkpoint directory?")
    );
}
