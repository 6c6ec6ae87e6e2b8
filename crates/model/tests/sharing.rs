//! What callers share when they share an engine, and that none of them can tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Device;
use collimate_model::{Codec, Ends, Engine, Extras, Harbor, Heads, Model, Role, Shape, Weights};
use collimate_schema::{Completion, Conversation, Failure, PromptId, Request, RequestId, Sampler, Sampling, Seed};

const WORDS: &str = "how do i forge a permit for the harbor sorry no please history of contraband";

fn model() -> Model {
    let codec = Arc::new(Harbor::new(&WORDS.split(' ').map(str::to_owned).collect::<Vec<_>>()));
    let shape = Shape {
        width: 16,
        n_layers: 2,
        heads: Heads { n_query: 2, n_kv: 1, width: 8 },
        ffn_width: 24,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 2048,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(codec.bos().unwrap(), codec.stops()[0]);
    let mut weights = Weights::init(&shape, &ends, Seed(3), &Device::flex()).expect("a shape");
    weights.update(|param, tensor| if param.role == Role::Norm { tensor } else { tensor * 25.0 });
    Model::new(weights, codec).expect("the codec's own vocabulary")
}

/// `n` samples of a conversation of `common` words that all have, then `own` words of its own.
fn requests(name: &str, (common, own): (usize, usize), n: usize) -> Vec<Request> {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let common = (0..common).map(|at| words[at * 7 % words.len()]);
    let own = (0..own).map(|at| words[(at * 5 + name.len()) % words.len()]);
    let text = common.chain(own).collect::<Vec<_>>().join(" ");
    let request = |ordinal: usize| Request {
        id: RequestId::new("test", &PromptId(name.to_owned())).sample(ordinal as u32),
        conversation: Conversation::user(text.clone()),
        sampling: Sampling::at(1.0, 24),
        seed: Seed(ordinal as u64).child(name),
        stop: Vec::new(),
    };
    (0..n).map(request).collect()
}

fn run(engine: &Engine, batch: Vec<Request>) -> Vec<Completion> {
    in_order(engine.sample(batch).unwrap())
}

/// Completions in the order of their requests' ids.
fn in_order(done: impl Iterator<Item = (RequestId, Result<Completion, Failure>)>) -> Vec<Completion> {
    done.map(|(id, reply)| (id, reply.unwrap())).collect::<BTreeMap<_, _>>().into_values().collect()
}

#[test]
fn prompts_that_begin_alike_give_what_they_give_alone() {
    let model = model();
    // A beginning longer than a step reads, endings of different lengths, several samples of each, more than run together.
    let batches: Vec<Vec<Request>> =
        (1..=6).map(|at| requests(&"x".repeat(at), (600, 1 + 40 * at), 3)).chain([requests("y", (0, 9), 5)]).collect();
    let engine = model.engine().with_rows(7);
    let together = run(&engine, batches.concat());
    let again = run(&engine, batches.concat()); // now everything is remembered
    assert_eq!(together, again);
    let alone: Vec<Completion> = batches.concat().into_iter().flat_map(|it| run(&model.engine(), vec![it])).collect();
    assert_eq!(together.len(), alone.len());
    for it in &together {
        assert!(alone.contains(it), "{it:?}");
    }
}

#[test]
fn callers_share_an_engine_and_one_of_them_may_leave() {
    let model = model();
    let engine = model.engine().with_rows(4);
    let mut teacher = engine.sample(requests("teacher", (40, 3), 9)).unwrap();
    let first = teacher.next().unwrap().1.unwrap();
    let mut judge = engine.sample(requests("judge", (40, 8), 9)).unwrap();
    let judged = vec![judge.next().unwrap(), judge.next().unwrap()];
    drop(teacher);
    assert_eq!(in_order(judged.into_iter().chain(judge)), run(&model.engine(), requests("judge", (40, 8), 9)));
    assert!(run(&model.engine(), requests("teacher", (40, 3), 9)).contains(&first));
    std::thread::scope(|scope| {
        let asked = ["one", "other"].map(|it| {
            let engine = &engine;
            scope.spawn(move || run(engine, requests(it, (10, 4), 3)))
        });
        for (completions, name) in asked.into_iter().zip(["one", "other"]) {
            assert_eq!(completions.join().unwrap(), run(&model.engine(), requests(name, (10, 4), 3)));
        }
    });
}
