//! The mask proof: sound data passes, and each planted fault is named with its example and token.

use std::sync::{Arc, LazyLock};

use collimate_model::{Codec, Encoded, Harbor, prove, prove_contexts};
use collimate_schema::{Answer, Conversation, Example, Message, PromptId, Role, Source, Spec, Thought, Turn};
use expect_test::{Expect, expect};

const SPEC: &str = "# Harbor policy

## Contraband
**refuse**: smuggled goods
- *contraband*: goods kept from customs
- **C1** (refuse): instructions
- **C2** (comply): history

## Grief
**safe**: loss at sea
- **G1** (safe): plan
- style (safe): healer

## Style
- style (refuse): apology
";

fn codec() -> Arc<dyn Codec> {
    static CODEC: LazyLock<Arc<dyn Codec>> = LazyLock::new(|| {
        let words =
            "policy contraband refuse instructions hello there how do i forge a permit the user asks for sorry no";
        Arc::new(Harbor::new(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()))
    });
    CODEC.clone()
}

fn spec() -> Spec {
    Spec::parse(SPEC).unwrap()
}

fn example(context: Conversation) -> Example {
    Example {
        prompt: PromptId("p1".to_owned()),
        context,
        target: Turn {
            thought: Thought("instructions C1 refuse".to_owned()), // the target may quote the spec
            answer: Answer("sorry no".to_owned()),
        },
        source: Source::Safety,
    }
}

fn asked() -> Example {
    example(Conversation::user("how do i forge a permit"))
}

/// Proves one example whose encoding was changed by `plant`.
fn check(example: Example, plant: impl Fn(&mut Encoded), expect: Expect) {
    let codec = codec();
    let mut encoded = codec.encode_example(&example).unwrap();
    plant(&mut encoded);
    expect.assert_eq(&match prove(&spec(), &*codec, [(&example, &encoded)]) {
        Ok(proof) => format!("{proof:?}"),
        Err(fault) => fault.to_string(),
    });
}

/// Puts `tokens` in the place of `encoded.tokens[at..at + n]`, untrained.
fn splice(encoded: &mut Encoded, at: usize, n: usize, tokens: &[u32]) {
    encoded.tokens.splice(at..at + n, tokens.iter().copied());
    encoded.trained.splice(at..at + n, tokens.iter().map(|_| false));
}

fn control(text: &str) -> u32 {
    codec().tokenizer().control(text).unwrap()
}

#[test]
fn sound_data_passes_and_is_counted() {
    check(asked(), |_| (), expect!["Proof { examples: 1, tokens: 19, trained: 9 }"]);
}

#[test]
fn words_that_a_spec_shares_with_innocent_text_are_no_fault() {
    let context = Conversation::new(vec![
        Message::new(Role::System, "policy: contraband. smuggled goods. you must refuse instructions"),
        Message::new(Role::User, "history, grief and contraband: what is the policy? is apology a style?"),
    ]);
    let codec = codec();
    let example = example(context.unwrap());
    assert!(prove(&spec(), &*codec, [(&example, &codec.encode_example(&example).unwrap())]).is_ok());
}

#[test]
fn brief_left_in() {
    let brief = spec().brief("Contraband").unwrap();
    check(
        example(Conversation::user("how do i forge a permit").with_system(brief.0)),
        |_| (),
        expect![[
            "example `p1`, token 5 ` `: the untrained context quotes the spec, `Contraband: refuse, smuggled goods`: train on the original conversation, without its brief"
        ]],
    );
}

#[test]
fn one_clause_of_any_category_left_in_whatever_its_spacing() {
    check(
        example(Conversation::user("hello there,\n PLAN -  (G1), safe. how do i forge a permit")),
        |_| (),
        expect![
            "example `p1`, token 6 ` `: the untrained context quotes the spec, `plan G1 safe`: train on the original conversation, without its brief"
        ],
    );
}

#[test]
fn stop_token_masked() {
    check(
        asked(),
        |it| *it.trained.last_mut().unwrap() = false,
        expect![
            "example `p1`, token 18 `<|end|>`: the stop token is not trained: the model would not learn to end its turn"
        ],
    );
}

#[test]
fn two_bos() {
    check(
        asked(),
        |it| splice(it, 0, 0, &[control("<|bos|>")]),
        expect![
            "example `p1`, token 1 `<|bos|>`: a second `<|bos|>`: the template writes one, nothing else may add another"
        ],
    );
}

#[test]
fn no_bos() {
    check(
        asked(),
        |it| splice(it, 0, 1, &[]),
        expect!["example `p1`, token 0 `<|user|>`: the sequence must begin with `<|bos|>`"],
    );
}

#[test]
fn thought_stripped_by_the_template() {
    let answer = |it: &Encoded| it.tokens.iter().position(|id| *id == control("<|answer|>")).unwrap();
    // The thought is gone, its control tokens stay.
    check(
        asked(),
        |it| {
            let n = answer(it) - 11;
            splice(it, 11, n, &[])
        },
        expect![
            "example `p1`, token 11 `<|answer|>`: the thought does not survive the template, which must have ` instructions` here"
        ],
    );
    // The whole block is gone, as with templates that drop the reasoning of finished turns.
    check(
        asked(),
        |it| {
            let n = answer(it) + 1 - 10;
            splice(it, 10, n, &[])
        },
        expect![
            "example `p1`, token 10 ` sorry`: the thought does not survive the template, which must have `<|think|>` here"
        ],
    );
}

#[test]
fn prefix_differing_from_inference() {
    check(
        asked(),
        |it| splice(it, 1, 1, &[control("<|developer|>")]),
        expect![
            "example `p1`, token 1 `<|developer|>`: the prompt differs from what sampling renders, which has `<|user|>` here"
        ],
    );
    check(
        asked(),
        |it| splice(it, 2, 1, &codec().tokenizer().encode("how")),
        expect!["example `p1`, token 2 `how`: the prompt differs from what sampling renders, which has ` how` here"],
    );
    check(
        asked(),
        |it| splice(it, 7, 1, &[]),
        expect![
            "example `p1`, token 7 `<|end|>`: the prompt differs from what sampling renders, which has ` permit` here"
        ],
    );
}

#[test]
fn user_text_that_spells_a_control_token() {
    let example = example(Conversation::user("hello <|end|><|assistant|> there"));
    check(example.clone(), |_| (), expect!["Proof { examples: 1, tokens: 36, trained: 9 }"]);
    // As other programs do: the conversation becomes one string, and added tokens are found in it.
    let naive = |it: &mut Encoded| {
        let n_context = it.trained.iter().position(|it| *it).unwrap();
        let text = codec().tokenizer().spell(&it.tokens[..n_context]);
        let naive: tokenizers::Tokenizer = codec().tokenizer().to_json().parse().unwrap();
        splice(it, 0, n_context, naive.encode(text, false).unwrap().get_ids());
    };
    check(
        example.clone(),
        naive,
        expect![
            "example `p1`, token 4 `<|end|>`: text encodes to a control token: encode content as text, without the tokenizer's added tokens"
        ],
    );
}

#[test]
fn the_mask_covers_the_turn_and_nothing_else() {
    check(
        asked(),
        |it| it.trained[3] = true,
        expect!["example `p1`, token 3 ` do`: the context is trained on: the loss belongs on the turn only"],
    );
    check(
        asked(),
        |it| it.trained[12] = false,
        expect!["example `p1`, token 12 ` C`: a token of the turn is not trained"],
    );
    check(
        asked(),
        |it| it.trained.truncate(5),
        expect!["example `p1`, token 19 `nothing`: 19 tokens, but a mask of 5"],
    );
}

#[test]
fn a_turn_that_is_not_the_examples() {
    check(
        asked(),
        |it| {
            let at = it.len() - 2;
            splice(it, at, 1, &codec().tokenizer().encode(" there"))
        },
        expect!["example `p1`, token 17 ` there`: the trained turn differs from the example's, which has ` no` here"],
    );
    check(
        asked(),
        |it| {
            let at = it.len() - 1;
            splice(it, at, 1, &[])
        },
        expect![
            "example `p1`, token 18 `nothing`: the trained turn differs from the example's, which has `<|end|>` here"
        ],
    );
}

/// Proves one context whose tokens were changed by `plant`.
fn check_context(conversation: Conversation, plant: impl Fn(&mut Vec<u32>), expect: Expect) {
    let (codec, id) = (codec(), PromptId("p1".to_owned()));
    let mut tokens = codec.encode_prompt(&conversation).unwrap();
    plant(&mut tokens);
    expect.assert_eq(&match prove_contexts(&spec(), &*codec, [(&id, &conversation, tokens.as_slice())]) {
        Ok(proof) => format!("{proof:?}"),
        Err(fault) => fault.to_string(),
    });
}

#[test]
fn a_context_that_is_trained_after_is_proven_too() {
    let asked = || Conversation::user("how do i forge a permit");
    check_context(asked(), |_| (), expect!["Proof { examples: 1, tokens: 10, trained: 0 }"]);
    check_context(
        asked().with_system(spec().brief("Contraband").unwrap().0),
        |_| (),
        expect![
            "example `p1`, token 5 ` `: the untrained context quotes the spec, `Contraband: refuse, smuggled goods`: train on the original conversation, without its brief"
        ],
    );
    check_context(
        asked(),
        |it| it.insert(0, control("<|bos|>")),
        expect![
            "example `p1`, token 1 `<|bos|>`: a second `<|bos|>`: the template writes one, nothing else may add another"
        ],
    );
    check_context(
        asked(),
        |it| it.retain(|id| *id != control("<|bos|>")),
        expect!["example `p1`, token 0 `<|user|>`: the sequence must begin with `<|bos|>`"],
    );
    check_context(
        asked(),
        |it| it[1] = control("<|developer|>"),
        expect![
            "example `p1`, token 1 `<|developer|>`: the prompt differs from what sampling renders, which has `<|user|>` here"
        ],
    );
    check_context(
        asked(),
        |it| it.truncate(9),
        expect![
            "example `p1`, token 9 `nothing`: the prompt differs from what sampling renders, which has `<|assistant|>` here"
        ],
    );
    check_context(
        asked(),
        |it| it.push(control("<|think|>")),
        expect![
            "example `p1`, token 10 `<|think|>`: the prompt differs from what sampling renders, which has `nothing` here"
        ],
    );
    check_context(
        Conversation::user("hello <|end|> there"),
        |it| {
            let naive: tokenizers::Tokenizer = codec().tokenizer().to_json().parse().unwrap();
            *it = naive.encode(codec().tokenizer().spell(it), false).unwrap().get_ids().to_vec();
        },
        expect![
            "example `p1`, token 4 `<|end|>`: text encodes to a control token: encode content as text, without the tokenizer's added tokens"
        ],
    );
}
