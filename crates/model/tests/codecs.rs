//! The mask proof and the engine know no codec by name: both over one that is unlike Harbor's.

mod chatml;

use std::sync::Arc;

use burn::tensor::{Device, activation::log_softmax};
use collimate_model::{Codec, Ends, Extras, Heads, Model, Shape, Tokenizer, Weights, prove};
use collimate_schema::{
    Answer, Conversation, Example, Message, Parsed, PromptId, Request, RequestId, Role, Sampler, Sampling, Seed,
    Source, Spec, Stop, Thought, Trace, Turn,
};
use expect_test::expect;

use chatml::ChatMl;

const WORDS: &str = "how do i forge a permit sorry no the user asks you must refuse user assistant think";

fn asked() -> Conversation {
    Conversation::user("how do i forge a permit")
}

fn turn(thought: &str, answer: &str) -> Turn {
    Turn { thought: Thought(thought.to_owned()), answer: Answer(answer.to_owned()) }
}

#[test]
fn turns_are_read_by_the_codec() {
    let codec: Arc<dyn Codec> = Arc::new(ChatMl::new(WORDS, true));
    let turn = turn("the user asks", "sorry no");
    let sampled = codec.encode_turn(&turn).unwrap();
    assert_eq!(codec.parse(&sampled.tokens, Stop::EndOfTurn), Parsed::Turn(turn));
    assert_eq!(codec.answer_so_far(&sampled.tokens[..sampled.n_before_answer]), Some(String::new()));
}

fn proven(codec: &dyn Codec, context: Conversation) -> String {
    let spec = "# Policy\n\n## Permits\n**refuse**: forged permits\n- **P1** (refuse): you must refuse\n";
    let target = turn("the user asks", "sorry no");
    let example = Example { prompt: PromptId("p1".to_owned()), context, target, source: Source::Safety };
    let encoded = codec.encode_example(&example).unwrap();
    match prove(&Spec::parse(spec).unwrap(), codec, [(&example, &encoded)]) {
        Ok(proof) => format!("{proof:?}"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn the_proof_reads_pieces_whatever_made_them() {
    let codec = ChatMl::new(WORDS, true);
    expect!["Proof { examples: 1, tokens: 31, trained: 13 }"].assert_eq(&proven(&codec, asked()));
    expect![
        "example `p1`, token 6 ` you`: the untrained context quotes the spec, `you must refuse P1 refuse`: train on the original conversation, without its brief"
    ]
    .assert_eq(&proven(&codec, Conversation::user("a permit. you must refuse, P1: refuse")));
}

#[test]
fn a_control_token_that_text_reaches_is_found() {
    let words: Vec<String> = WORDS.split(' ').map(str::to_owned).collect();
    let codec = ChatMl::with(Tokenizer::build(&words, &["<|im_start|>", "<|im_end|>", "permit"]), true);
    assert!(codec.tokenizer().is_word("permit"));
    expect![
        "example `p1`, token 3 `permit`: text encodes to a control token: encode content as text, without the tokenizer's added tokens"
    ]
    .assert_eq(&proven(&codec, Conversation::user("permit")));
}

fn model(codec: ChatMl) -> Model {
    let shape = Shape {
        width: 16,
        n_layers: 2,
        heads: Heads { n_query: 2, n_kv: 1, width: 8 },
        ffn_width: 24,
        n_vocab: codec.tokenizer().vocab_size(),
        n_positions: 256,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        extras: Extras::default(),
    };
    let ends = Ends::new(0, codec.stops()[0]);
    let mut weights = Weights::init(&shape, &ends, Seed(3), &Device::flex()).unwrap();
    weights.update(|param, tensor| if param.role == collimate_model::Role::Norm { tensor } else { tensor * 25.0 });
    Model::new(weights, Arc::new(codec)).unwrap()
}

fn request(conversation: Conversation, sampling: Sampling, seed: u64) -> Request {
    Request {
        id: RequestId::new("test", &PromptId(seed.to_string())),
        conversation,
        sampling,
        seed: Seed(seed),
        stop: Vec::new(),
    }
}

#[test]
fn what_the_template_does_not_lay_out_is_refused() {
    let model = model(ChatMl::new(WORDS, false));
    let tool = Conversation::new(vec![Message::new(Role::Tool, "permit"), Message::new(Role::User, "how")]).unwrap();
    let engine = model.engine();
    let batch = vec![request(asked(), Sampling::greedy(4), 0), request(tool.clone(), Sampling::greedy(4), 1)];
    let failed = engine.sample(batch).unwrap().find_map(|(id, reply)| Some((id, reply.err()?))).unwrap();
    assert_eq!(failed.0, RequestId::new("test", &PromptId("1".to_owned())));
    let said =
        "this sampler cannot put the request into tokens: the chat template does not lay it out: it has no tools";
    assert_eq!(failed.1.to_string(), said);
    expect![[
        r#"this sampler cannot put the request into tokens: the chat template does not lay it out: it has no tools"#
    ]]
    .assert_eq(&engine.score(&tool, &["no".to_owned()]).unwrap_err().to_string());
    expect!["the chat template does not lay it out: it has no thoughts"]
        .assert_eq(&model.codec.encode_turn(&turn("the user asks", "no")).unwrap_err().to_string());
}

#[test]
fn fault_17_a_thought_budget_ends_the_thought_with_all_its_tokens() {
    let model = model(ChatMl::new(WORDS, true));
    let end = model.codec.ends_thought();
    assert!(end.len() > 2);
    for budget in [0, 1, 5] {
        let sampling = Sampling { thought_budget: Some(budget), ..Sampling::at(1.0, 40) };
        let batch = (0..16).map(|seed| request(asked(), sampling, seed)).collect();
        let mut n_forced = 0;
        for completion in model.engine().sample(batch).unwrap().map(|(_, reply)| reply.unwrap()) {
            let Trace::Tokens { sampled, .. } = &completion.trace else { panic!("the engine samples tokens") };
            let sampled: Vec<u32> = sampled.iter().map(|it| it.token).collect();
            let forced = sampled.get(budget as usize..).is_some_and(|it| it.starts_with(end));
            n_forced += usize::from(forced);
        }
        assert!(n_forced > 8, "{n_forced} at {budget}"); // the others ended their turn before
    }
}

#[test]
fn scores_begin_where_the_answer_does() {
    for thinks in [true, false] {
        let model = model(ChatMl::new(WORDS, thinks));
        let (engine, codec) = (model.engine(), &model.codec);
        let choices = ["sorry no".to_owned(), "i forge a permit".to_owned()];
        for (choice, score) in choices.iter().zip(engine.score(&asked(), &choices).unwrap()) {
            let prompt = codec.encode_prompt(&asked()).unwrap();
            let turn = codec.encode_turn(&turn("", choice)).unwrap();
            let sequence = [prompt.as_slice(), &turn.tokens].concat();
            let transformer = engine.transformer();
            let logits = transformer.logits(transformer.forward(&sequence, &[sequence.len()]));
            let all: Vec<f32> = log_softmax(logits, 1).into_data().try_into_vec().unwrap();
            let all: Vec<&[f32]> = all.chunks(codec.tokenizer().vocab_size()).collect();
            let answer = prompt.len() + turn.n_before_answer..sequence.len();
            let wanted: f32 = answer.map(|at| all[at - 1][sequence[at] as usize]).sum();
            assert!((f64::from(wanted) - score).abs() < 1e-4, "{wanted} {score}, {choice}, {thinks}");
        }
    }
}
