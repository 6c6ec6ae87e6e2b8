//! Tokenizers, templates and messages as other programs leave them.

use std::time::{Duration, Instant};

use collimate_model::{Codec, Harbor, Tokenizer};
use collimate_schema::{Conversation, Message, Role};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn codec() -> Harbor {
    Harbor::new(&["how", "do", "i", "forge", "a", "permit"].map(str::to_owned))
}

/// `tokenizer.json` and `tokenizer_config.json` of a checkpoint.
fn files() -> [Value; 2] {
    let files = codec().files(64);
    ["tokenizer.json", "tokenizer_config.json"].map(|name| {
        let (_, text) = files.iter().find(|it| it.0 == name).unwrap();
        serde_json::from_str(text).unwrap()
    })
}

fn from_files([tokenizer, config]: [Value; 2]) -> Result<Harbor, String> {
    Harbor::from_files(tokenizer.to_string().as_bytes(), config.to_string().as_bytes()).map_err(|it| it.to_string())
}

#[test]
fn fault_08_what_a_tokenizer_would_do_to_content_is_ignored_and_said() {
    let truncation = json!({ "max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right" });
    let padding = json!({
        "strategy": { "Fixed": 24 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 9, "pad_type_id": 0,
        "pad_token": "<|pad|>",
    });
    let asked = Conversation::user("how do i forge a permit with a most unusual seal");
    let plain: &dyn Codec = &codec();
    for (wishes, notices) in [
        (vec![("truncation", truncation.clone())], expect!["tokenizer.json: `truncation` is ignored: it cuts content"]),
        (vec![("padding", padding.clone())], expect!["tokenizer.json: `padding` is ignored: it fills content up"]),
        (
            vec![("truncation", truncation), ("padding", padding), ("dropout", json!(0.5))],
            expect![[r#"
            tokenizer.json: `truncation` is ignored: it cuts content
            tokenizer.json: `padding` is ignored: it fills content up
            tokenizer.json: `model.dropout` is ignored: it varies tokens"#]],
        ),
        (vec![], expect![""]),
    ] {
        let [mut tokenizer, config] = files();
        for (wish, value) in wishes {
            let place = if wish == "dropout" { &mut tokenizer["model"] } else { &mut tokenizer };
            place[wish] = value;
        }
        let read = from_files([tokenizer, config]).unwrap();
        notices.assert_eq(&read.tokenizer().notices().join("\n"));
        let read: &dyn Codec = &read;
        assert_eq!(read.encode_prompt(&asked).unwrap(), plain.encode_prompt(&asked).unwrap());
        assert_eq!(read.identity(), plain.identity(), "it is the same codec");
        assert_eq!(read.files(64), plain.files(64), "and is written without them");
    }
}

#[test]
fn fault_08_a_tokenizer_that_changes_text_is_refused() {
    let [tokenizer, _] = files();
    let check = |change: &dyn Fn(&mut Value), expected: Expect| {
        let mut file = tokenizer.clone();
        change(&mut file);
        expected.assert_eq(&Tokenizer::from_bytes(file.to_string().as_bytes()).err().unwrap().to_string());
    };
    check(
        &|it| it["normalizer"] = json!({ "type": "Lowercase" }),
        expect![
            "tokenizer.json has a normalizer of type `Lowercase`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
    check(
        &|it| it["normalizer"] = json!({ "type": "Replace", "pattern": { "String": "lema" }, "content": "boat" }),
        expect![
            "tokenizer.json has a normalizer of type `Replace`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
    let cannot = json!({ "type": "Replace", "pattern": { "String": "cannot" }, "content": "can" });
    check(
        &|it| it["decoder"] = json!({ "type": "Sequence", "decoders": [it["decoder"], cannot] }),
        expect![
            "tokenizer.json has a decoder of type `Replace`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
    check(
        &|it| it["normalizer"] = json!({ "type": "NFKC" }),
        expect![
            "tokenizer.json has a normalizer of type `NFKC`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
    check(
        &|it| it["normalizer"] = json!({ "type": "Strip", "strip_left": true, "strip_right": true }),
        expect![
            "tokenizer.json has a normalizer of type `Strip`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
    check(
        &|it| it["pre_tokenizer"]["add_prefix_space"] = json!(true),
        expect![[
            r#"tokenizer.json makes " a" of the text "a": remove what changes text, such as a normalizer, or take the file of a checkpoint written by this program"#
        ]],
    );
    let removes = json!({ "type": "Split", "pattern": { "Regex": "[0-9]" }, "behavior": "Removed", "invert": false });
    let both = json!({ "type": "Sequence", "pretokenizers": [removes, tokenizer["pre_tokenizer"]] });
    check(
        &|it| it["pre_tokenizer"] = both.clone(),
        expect![
            "tokenizer.json has a pre_tokenizer of type `Split`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
    check(
        &|it| it["model"]["vocab"]["a"] = it["model"]["vocab"]["?"].clone(),
        expect!["tokenizer.json gives the id 63 to more than one token: copy or write the checkpoint again"],
    );
    check(
        &|it| it["decoder"] = json!({ "type": "Fuse" }),
        expect![
            "tokenizer.json has a decoder of type `Fuse`, which may change or drop text: remove it, or take the file of a checkpoint written by this program"
        ],
    );
}

/// What the template of a checkpoint makes of messages in other programs.
fn rendered(messages: Value) -> String {
    let [_, config] = files();
    let variables = json!({ "messages": messages, "bos_token": "<|bos|>", "add_generation_prompt": true });
    minijinja::Environment::new().render_str(config["chat_template"].as_str().unwrap(), variables).unwrap()
}

#[test]
fn fault_11_a_key_that_is_null_is_as_good_as_absent() {
    let plain = json!([
        { "role": "user", "content": "how" },
        { "role": "assistant", "thought": "it thinks", "content": "" },
        { "role": "user", "content": "do" },
    ]);
    let filled = json!([
        { "role": "user", "content": "how", "thought": null, "tool_calls": null, "name": null },
        { "role": "assistant", "content": null, "thought": "it thinks", "tool_calls": null },
        { "role": "user", "content": "do", "thought": null },
    ]);
    let wanted =
        "<|bos|><|user|> how<|end|><|assistant|><|think|> it thinks<|answer|> <|end|><|user|> do<|end|><|assistant|>";
    assert_eq!((rendered(plain).as_str(), rendered(filled).as_str()), (wanted, wanted));

    let read: Conversation =
        serde_json::from_value(json!([{ "role": "user", "content": "how", "thought": null, "tool_calls": null }]))
            .unwrap();
    assert_eq!(read.messages(), [Message::new(Role::User, "how")]);
    assert_eq!(rendered(json!(read)), "<|bos|><|user|> how<|end|><|assistant|>");
}

#[test]
fn fault_16_a_template_without_end_is_stopped() {
    let [tokenizer, config] = files();
    let said = |jinja: &str| {
        let begun = Instant::now();
        let error = from_files([tokenizer.clone(), json!({ "chat_template": jinja })]).err().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{jinja} took {:?}", begun.elapsed());
        error.trim_start_matches("the chat template does not render: ").to_owned()
    };
    let caught = "{% set x %}{% for i in range(900) %}{{ messages }}{% endfor %}{% endset %}";
    let templates = [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}a{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{% set x = 'a' * 99999999 %}{% for i in range(9999) %}{% set y = x ~ x %}{% endfor %}",
        "{{ range(99999) | join('aaaaaaaaaaaaaaaaaaaaaaaa') }}",
        "{{ messages | string | replace('a', messages | string) }}",
        "{% set n = namespace(x='a') %}{% for i in range(90) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('aa') }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        &format!("{caught}{{% for i in range(900) %}}{{{{ x }}}}{{% endfor %}}"),
        &"a".repeat(1 << 20),
    ];
    expect![[r#"
        it runs out of fuel after 10000 steps: does it loop without end?
        it runs out of fuel after 10000 steps: does it loop without end?
        it holds a `*`, which could repeat text at will: write it without
        it holds a `*`, which could repeat text at will: write it without
        unknown filter: filter join is unknown (in <string>:1): a template runs here without what makes much text of little
        unknown filter: filter replace is unknown (in <string>:1): a template runs here without what makes much text of little
        unknown function: namespace is unknown (in <string>:1): a template runs here without what makes much text of little
        it uses `macro`, which could repeat without end: write it without
        it uses `macro`, which could repeat without end: write it without
        it uses `recursive`, which could repeat without end: write it without
        it writes more than 1048576 bytes
        it is 1048576 bytes long, at most 65536 are read"#]].assert_eq(&templates.map(said).join("\n"));
    assert!(from_files([tokenizer.clone(), config]).is_ok());
    let torn = Harbor::from_files(tokenizer.to_string().as_bytes(), b"{").err().unwrap().to_string();
    expect!["tokenizer_config.json cannot be read: EOF while parsing an object at line 1 column 1: copy or write the checkpoint again"].assert_eq(&torn);
}
