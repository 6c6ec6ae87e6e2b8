//! Text to tokens and back: the tokenizer, the chat template and the reading of sampled turns.

use std::sync::LazyLock;

use collimate_model::{Batches, Codec, Control, Controls, Template, Tokenizer};
use collimate_schema::{Answer, Conversation, Message, Parsed, Role, Seed, Stop, Thought, Turn};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn codec() -> Codec {
    static CODEC: LazyLock<Codec> = LazyLock::new(|| {
        let words =
            "policy harbor contraband refuse comply safe how do i forge a permit the user asks low-tide . , : ?";
        Codec::new(Tokenizer::build(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()))
    });
    CODEC.clone()
}

/// The tokens of `text`, one by one.
fn check(text: &str, expect: Expect) {
    let tokenizer = codec().tokenizer;
    let tokens: Vec<String> =
        tokenizer.encode_text(text).iter().map(|id| tokenizer.decode(&[*id], Controls::Show)).collect();
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
fn ids_outside_the_file_are_told_apart() {
    let tokenizer = codec().tokenizer;
    let ids = Control::ALL.map(|it| tokenizer.control(it));
    assert_eq!(ids.map(|id| tokenizer.as_control(id)), Control::ALL.map(Some));
    assert_eq!(tokenizer.vocab_size() as u32, ids[ids.len() - 1] + 1);
    assert_eq!(tokenizer.as_control(0), None);
    let a = tokenizer.encode_text(" a")[0];
    let end = tokenizer.control(Control::End);
    assert_eq!(tokenizer.decode(&[a, end], Controls::Show), " a<|end|>");
    assert_eq!(tokenizer.decode(&[a, end], Controls::Skip), " a");
}

#[test]
fn the_file_reads_back_and_a_damaged_one_says_what_is_missing() {
    let tokenizer = codec().tokenizer;
    let again = Tokenizer::from_bytes(tokenizer.to_json().as_bytes()).unwrap();
    assert_eq!(again.to_json(), tokenizer.to_json());
    assert_eq!(again.encode_text("how do i forge"), tokenizer.encode_text("how do i forge"));
    let error = |json: &str| Tokenizer::from_bytes(json.as_bytes()).err().unwrap().to_string();
    expect!["tokenizer.json has no special added token `<|think|>`: the chat template needs it"]
        .assert_eq(&error(&tokenizer.to_json().replace("<|think|>", "<|thunk|>")));
    expect!["tokenizer.json has no token for byte 0x7a: not every text could be encoded"]
        .assert_eq(&error(&tokenizer.to_json().replace("\"z\":", "\"zz\":")));
    expect!["tokenizer.json holds `<|end|>` in its BPE vocabulary, where text could reach it: keep it in `added_tokens` only"]
        .assert_eq(&error(&tokenizer.to_json().replace("\"refuse\":", "\"<|end|>\":")));
}

/// Any text, with control tokens spelled in the middle of it.
fn hostile() -> impl Strategy<Value = String> {
    let control = prop::sample::select(Control::ALL.map(Control::text).to_vec()).prop_map(str::to_owned);
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
        let tokenizer = codec().tokenizer;
        let ids = tokenizer.encode_text(&text);
        prop_assert!(ids.iter().all(|id| tokenizer.as_control(*id).is_none()));
        prop_assert_eq!(tokenizer.decode(&ids, Controls::Show), text);
    }

    #[test]
    fn a_hostile_conversation_has_the_control_tokens_of_its_template_only(it in conversation(hostile())) {
        let codec = codec();
        let tokens = codec.encode_prompt(&it);
        let n_controls = tokens.iter().filter(|id| codec.tokenizer.as_control(**id).is_some()).count();
        prop_assert_eq!(n_controls, 2 + 2 * it.messages().len());
    }

    #[test]
    fn the_jinja_text_of_an_ordinary_conversation_has_the_same_tokens(
        it in conversation("[a-zA-Z0-9 ,.:?\n-]{0,40}"), thought in "[a-z .]{0,20}", answer in "[a-z .]{0,20}",
    ) {
        let codec = codec();
        let turn = Turn { thought: Thought(thought), answer: Answer(answer) };
        let prompt = codec.template.render(&it, None).unwrap();
        prop_assert_eq!(codec.tokenizer.encode_trusted(&prompt), codec.encode_prompt(&it));
        let whole = codec.template.render(&it, Some(&turn)).unwrap();
        prop_assert_eq!(codec.tokenizer.encode_trusted(&whole), codec.encode_target(&it, &turn).tokens);
    }

    #[test]
    fn a_turn_reads_back_as_it_was_written(thought in hostile(), answer in hostile()) {
        let codec = codec();
        prop_assume!(!answer.trim().is_empty());
        let turn = Turn { thought: Thought(thought), answer: Answer(answer) };
        let parsed = codec.parse_continuation(&codec.encode_turn(&turn), Stop::EndOfTurn);
        prop_assert_eq!(parsed, Parsed::Turn(turn));
    }

    #[test]
    fn every_sequence_stands_in_one_batch(lengths in prop::collection::vec(1usize..300, 0..400), seed: u64) {
        let split = Batches::by_length(&lengths, 8, Seed(seed));
        prop_assert_eq!(&split, &Batches::by_length(&lengths, 8, Seed(seed)));
        let mut seen: Vec<usize> = split.batches.concat();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        prop_assert!(split.batches.iter().all(|it| (1..=8).contains(&it.len())));
        prop_assert!((0.0..1.0).contains(&split.padding_share));
    }
}

#[test]
fn batches_of_similar_length_hold_little_padding() {
    let lengths: Vec<usize> = (0..1024).map(|index| 20 + index * 7919 % 200).collect();
    let split = Batches::by_length(&lengths, 32, Seed(1));
    assert!(split.padding_share < 0.04, "{}", split.padding_share);
    assert_ne!(split.batches, Batches::by_length(&lengths, 32, Seed(2)).batches);
}

#[test]
fn a_continuation_is_a_turn_or_says_why_not() {
    let codec = codec();
    let read =
        |text: &str, stop| format!("{:?}", codec.parse_continuation(&codec.tokenizer.encode_trusted(text), stop));
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
    let ours = Template::default();
    assert_eq!(Template::from_jinja(ours.jinja()).unwrap(), ours);
    let error = |jinja: &str| Template::from_jinja(jinja).unwrap_err().to_string();
    let two_bos = error(&format!("{{{{ bos_token }}}}{}", ours.jinja()));
    assert!(two_bos.starts_with("the chat template renders `<|bos|><|bos|><|system|>"), "{two_bos}");
    let no_thought = error(&ours.jinja().replace("' ' + message.thought", "''"));
    assert!(no_thought.contains("<|think|><|answer|> it answers<|end|>` where"), "{no_thought}");
    assert!(error("{% for").starts_with("the chat template does not render: syntax error"));
}
