use expect_test::{Expect, expect};
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    seed: u64,
    name: String,
    sft: Sft,
    kl: Option<f32>,
    seeds: Vec<u64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Sft {
    steps: u32,
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    lr: f32,
}

fn base() -> Config {
    Config { seed: 0, name: "full".to_owned(), sft: Sft { steps: 300, lr: 0.1 }, kl: None, seeds: vec![0, 1, 2] }
}

fn tiny() -> Config {
    Config { sft: Sft { steps: 3, lr: 0.1 }, ..base() }
}

const NAMED: &Named<Config> = &[("base", base), ("tiny", tiny)];

fn read(text: &str) -> anyhow::Result<Config> {
    Recipe { place: "mine.toml", text }.resolve(NAMED)
}

fn refused(text: &str, expected: Expect) {
    expected.assert_eq(&read(text).unwrap_err().to_string());
}

#[test]
fn a_file_overrides_only_what_it_names() {
    assert_eq!(read("").unwrap(), base());
    assert_eq!(read("base = 'tiny'").unwrap(), tiny());
    let read = read("base = 'tiny'\nseed = 0x2\nkl = 0.5\nseeds = [7]\n[sft]\nlr = 1").unwrap();
    assert_eq!(read, Config { seed: 2, kl: Some(0.5), seeds: vec![7], sft: Sft { steps: 3, lr: 1.0 }, ..base() });
}

#[test]
fn names_are_found_and_misspelt_ones_are_usage_errors() {
    assert_eq!(resolve("tiny", NAMED).unwrap(), tiny());
    let error = resolve("tinny", NAMED).unwrap_err();
    assert!(error.is::<Usage>());
    expect!["unknown config `tinny`: did you mean `tiny`? use `base`, `tiny` or a TOML file"]
        .assert_eq(&error.to_string());
}

#[test]
fn mistakes_are_named_by_place() {
    refused("seed = 1\n[sft]\nstep = 3", expect!["mine.toml:3:1: unknown key `sft.step`: did you mean `steps`?"]);
    refused(
        "[rl]\nstep = 3",
        expect!["mine.toml:1:2: unknown key `rl`: the fields here are seed, name, sft, kl, seeds"],
    );
    refused(
        "sft.learning_rate = 3",
        expect!["mine.toml:1:5: unknown key `sft.learning_rate`: the fields here are steps, lr"],
    );
    refused("zzz = 3", expect!["mine.toml:1:1: unknown key `zzz`: the fields here are seed, name, sft, kl, seeds"]);
    refused(
        "[sft]\nsteps = 'many'",
        expect![[r#"mine.toml:2:9: `sft.steps`: invalid type: string "many", expected u32"#]],
    );
    refused("[sft]\nlr = 0.0", expect!["mine.toml:2:6: `sft.lr` must be a number, more than 0, at most 1, not 0.0"]);
    refused("sft = 3", expect!["mine.toml:1:7: `sft` is a table: write `[sft]` and its keys below it"]);
    refused("seed = -1", expect!["mine.toml:1:8: `seed`: invalid value: integer `-1`, expected u64"]);
    refused(
        "seed = 1\n\nbase = 'small'",
        expect!["mine.toml:3:8: unknown base `small`: use `base`, `tiny` or a TOML file"],
    );
    refused("base = 3", expect![[r#"mine.toml:1:8: `base` names a config: write `base = "tiny"`"#]]);
    refused("seed = 1\nseed = 2", expect!["mine.toml:2:1: duplicate key"]);
    refused("seed = ", expect!["mine.toml:1:8: string values must be quoted, expected literal string"]);
    refused(
        "kl = nan",
        expect![
            "mine.toml:1:6: `kl`: `nan` is no value of a config: numbers are finite and below 2^64, and there are no dates"
        ],
    );
    refused(
        "kl = 2020-01-01",
        expect![
            "mine.toml:1:6: `kl`: `2020-01-01` is no value of a config: numbers are finite and below 2^64, and there are no dates"
        ],
    );
}
