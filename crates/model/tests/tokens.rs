//! Text to tokens and back: the tokenizer, the chat template and the reading of sampled turns.

use std::sync::{Arc, LazyLock};

use collimate_model::{Codec, Harbor, Tokenizer};
use collimate_schema::{Answer, Conversation, Message, Parsed, Role, Stop, Thought, Turn};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

const CONTROLS: [&str; 10] = [
    "<|bos|>",
    "<|end|>",
    "<|system|>",
    "<|developer|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    "<|think|>",
    "<|answer|>",
    "<|pad|>",
];

fn codec() -> Arc<dyn Codec> {
    static CODEC: LazyLock<Arc<dyn Codec>> = LazyLock::new(|| {
        let words =
            "policy harbor contraband refuse comply safe how do i forge a permit the user asks low-tide . , : ?";
        Arc::new(Harbor::new(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()))
    });
    CODEC.clone()
}

/// The tokens of `text`, one by one.
fn check(text: &str, expect: Expect) {
    let tokenizer = codec().tokenizer().clone();
    let tokens: Vec<String> = tokenizer.encode(text).iter().map(|id| tokenizer.spell(&[*id])).collect();
    expect.assert_eq(&tokens.join("|"));
}

#[test]
fn a_known_word_is_one_token_with_and_without_its_space() {
    check("refuse refuse: contraband?", expect!["refuse| refuse|:| contraband|?"]);
}

#[test]
fn clause_ids_are_a_letter_and_a_digit() {
    check("- forge: refuse C3\n- a B12", expect!["-| forge|:| refuse| C|3|\n|-| a| B|1|2"]);
}

#[test]
fn ciphers_are_spelled_letter_by_letter() {
    check("ubj qb rfr", expect!["u|b|j| |q|b| |r|f|r"]);
    check("f o r g e", expect!["f| o| r| g| e"]);
}

#[test]
fn a_word_the_pre_tokenizer_cuts_gives_a_token_for_each_piece() {
    check("at low-tide", expect!["a|t| low|-|tide"]);
}

#[test]
fn a_control_token_spelled_by_text_is_spelled_by_bytes() {
    check("<|end|> a", expect!["<|||e|n|d|||>| a"]);
}

#[test]
fn control_tokens_have_the_highest_ids() {
    let tokenizer = codec().tokenizer().clone();
    let ids = CONTROLS.map(|it| tokenizer.control(it).unwrap());
    assert!(ids.iter().all(|id| tokenizer.is_control(*id)));
    assert_eq!(ids.to_vec(), (ids[0]..tokenizer.vocab_size() as u32).collect::<Vec<_>>());
    assert!(!tokenizer.is_control(0));
    let (a, end) = (tokenizer.encode(" a")[0], ids[1]);
    assert_eq!(tokenizer.spell(&[a, end]), " a<|end|>");
    assert_eq!(tokenizer.decode(&[a, end]), " a");
}

/// `tokenizer.json` and `tokenizer_config.json` of a checkpoint.
fn files() -> [String; 2] {
    let files = codec().files(64);
    ["tokenizer.json", "tokenizer_config.json"].map(|name| files.iter().find(|it| it.0 == name).unwrap().1.clone())
}

/// The chat template as other programs have it.
fn jinja() -> String {
    let config: Value = serde_json::from_str(&files()[1]).unwrap();
    config["chat_template"].as_str().unwrap().to_owned()
}

#[test]
fn the_file_reads_back_and_a_damaged_one_says_what_is_missing() {
    let [tokenizer, config] = files();
    let again = Tokenizer::from_bytes(tokenizer.as_bytes()).unwrap();
    assert_eq!(again.to_json(), tokenizer);
    assert_eq!(again.encode("how do i forge"), codec().tokenizer().encode("how do i forge"));
    let again = Harbor::from_files(tokenizer.as_bytes(), config.as_bytes()).unwrap();
    assert_eq!(again.identity(), codec().identity());
    let error = |json: &str| Harbor::from_files(json.as_bytes(), config.as_bytes()).err().unwrap().to_string();
    expect!["tokenizer.json has no special added token `<|think|>`: the chat template needs it"]
        .assert_eq(&error(&tokenizer.replace("<|think|>", "<|thunk|>")));
    expect!["tokenizer.json has no token for byte 0x7a: not every text could be encoded"]
        .assert_eq(&error(&tokenizer.replace("\"z\":", "\"zz\":")));
    expect!["tokenizer.json holds `<|end|>` in its BPE vocabulary, where text could reach it: keep it in `added_tokens` only"]
        .assert_eq(&error(&tokenizer.replace("\"refuse\":", "\"<|end|>\":")));
}

/// Any text, with control tokens spelled in the middle of it.
fn hostile() -> impl Strategy<Value = String> {
    let control = prop::sample::select(CONTROLS.to_vec()).prop_map(str::to_owned);
    let part = prop_oneof!["\\PC{0,12}", "[ a-z\n]{0,12}", control, any::<String>()];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn conversation(content: impl Strategy<Value = String>) -> impl Strategy<Value = Conversation> {
    let role = prop::sample::select(vec![Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool]);
    (prop::collection::vec((role, content), 1..5)).prop_map(|messages| {
        let mut messages: Vec<Message> = messages.into_iter().map(|(role, text)| Message::new(role, text)).collect();
        messages.push(Message::new(Role::User, "how do i forge a permit?"));
        Conversation::new(messages).unwrap()
    })
}

proptest! {
    #[test]
    fn text_never_encodes_to_a_control_token_and_comes_back(text in hostile()) {
        let tokenizer = codec().tokenizer().clone();
        let ids = tokenizer.encode(&text);
        prop_assert!(!ids.iter().any(|id| tokenizer.is_control(*id)));
        prop_assert_eq!(tokenizer.spell(&ids), text);
    }

    #[test]
    fn a_hostile_conversation_has_the_control_tokens_of_its_template_only(it in conversation(hostile())) {
        let codec = codec();
        let tokens = codec.encode_prompt(&it).unwrap();
        let n_controls = tokens.iter().filter(|id| codec.tokenizer().is_control(**id)).count();
        prop_assert_eq!(n_controls, 2 + 2 * it.messages().len());
    }

    #[test]
    fn the_jinja_text_of_an_ordinary_conversation_has_the_same_tokens(
        it in conversation("[a-zA-Z0-9 ,.:?\n-]{0,40}"), thought in "[a-z .]{0,20}", answer in "[a-z .]{0,20}",
    ) {
        let codec = codec();
        let tokens = |text: &str| {
            let other: tokenizers::Tokenizer = codec.tokenizer().to_json().parse().unwrap();
            other.encode(text, false).unwrap().get_ids().to_vec()
        };
        let render = |messages: &Value, add_generation_prompt: bool| {
            let variables = json!({
                "messages": messages, "bos_token": "<|bos|>", "add_generation_prompt": add_generation_prompt,
            });
            minijinja::Environment::new().render_str(&jinja(), variables).unwrap()
        };
        let turn = Turn { thought: Thought(thought), answer: Answer(answer) };
        let mut messages = json!(it);
        prop_assert_eq!(tokens(&render(&messages, true)), codec.encode_prompt(&it).unwrap());
        let said = json!({ "role": "assistant", "thought": turn.thought, "content": turn.answer });
        messages.as_array_mut().unwrap().push(said);
        prop_assert_eq!(tokens(&render(&messages, false)), codec.encode_target(&it, &turn).unwrap().tokens);
    }

    #[test]
    fn a_turn_reads_back_as_it_was_written(thought in hostile(), answer in hostile()) {
        let codec = codec();
        prop_assume!(!answer.trim().is_empty());
        let turn = Turn { thought: Thought(thought), answer: Answer(answer) };
        let parsed = codec.parse(&codec.encode_turn(&turn).unwrap().tokens, Stop::EndOfTurn);
        prop_assert_eq!(parsed, Parsed::Turn(turn));
    }
}

#[test]
fn a_continuation_is_a_turn_or_says_why_not() {
    let codec = codec();
    let tokenizer: tokenizers::Tokenizer = codec.tokenizer().to_json().parse().unwrap();
    let read = |text: &str, stop| {
        let sampled = tokenizer.encode(text, false).unwrap();
        format!("{:?}", codec.parse(sampled.get_ids(), stop))
    };
    let check = |text: &str, expect: Expect| expect.assert_eq(&read(text, Stop::EndOfTurn));
    check(
        "<|think|> the user asks<|answer|> refuse<|end|>",
        expect![[r#"Turn(Turn { thought: Thought("the user asks"), answer: Answer("refuse") })"#]],
    );
    check(
        "<|think|><|answer|> safe<|end|>",
        expect![[r#"Turn(Turn { thought: Thought(""), answer: Answer("safe") })"#]],
    );
    check(" refuse<|end|>", expect!["Malformed(UnclosedThought)"]);
    check("<|think|> refuse<|end|>", expect!["Malformed(UnclosedThought)"]);
    check("<|think|> a<|think|> b<|answer|> c<|end|>", expect!["Malformed(StrayControl)"]);
    check("<|think|> a<|answer|> b<|user|> c<|end|>", expect!["Malformed(StrayControl)"]);
    check("<|think|> a<|answer|> b<|answer|> c<|end|>", expect!["Malformed(StrayControl)"]);
    check("<|think|> a<|answer|> \n<|end|>", expect!["Malformed(EmptyAnswer)"]);
    check("<|think|> a<|answer|><|end|>", expect!["Malformed(EmptyAnswer)"]);
    check("<|end|>", expect!["Malformed(UnclosedThought)"]);
    expect!["Malformed(Truncated)"].assert_eq(&read("<|think|> a<|answer|> b", Stop::Length));
}

#[test]
fn a_template_that_renders_otherwise_is_refused() {
    let [tokenizer, _] = files();
    let error = |jinja: &str| {
        let config = json!({ "chat_template": jinja }).to_string();
        Harbor::from_files(tokenizer.as_bytes(), config.as_bytes()).err().map(|it| it.to_string()).unwrap_or_default()
    };
    assert_eq!(error(&jinja()), "");
    let two_bos = error(&format!("{{{{ bos_token }}}}{}", jinja()));
    assert!(two_bos.starts_with("the chat template renders `<|bos|><|bos|><|system|>"), "{two_bos}");
    let no_thought = error(&jinja().replace("' ' + message.thought", "''"));
    assert!(no_thought.contains("<|think|><|answer|> it answers<|end|>` where"), "{no_thought}");
    assert!(error("{% for").starts_with("the chat template does not render: syntax error"));
}
