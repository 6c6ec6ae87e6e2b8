//! Who may use a run folder, and what it refuses.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use collimate_run::{RunError, RunFolder, RunSummary};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn refused(dir: &Path, recipe: &str, config: &Value, expected: Expect) {
    let error = RunFolder::open(dir.join("run"), recipe, config).unwrap_err().to_string();
    expected.assert_eq(&error.replace(&dir.display().to_string(), "DIR"));
}

#[test]
fn another_config_is_refused_by_the_names_of_its_fields() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"seed": 0, "sft": {"steps": 300, "lr": 0.001}, "old": 1});
    RunFolder::open(dir.path().join("run"), "deliberate", &config).unwrap();
    let stored = fs::read(dir.path().join("run/config.json")).unwrap();
    refused(
        dir.path(),
        "deliberate",
        &json!({"seed": 0, "sft": {"steps": 400, "lr": 0.001}, "rl": {"steps": 2}}),
        expect![
            "DIR/run holds a run with another config (sft.steps is 300 there, 400 here; old is 1 there, absent here; rl is absent there, {\"steps\":2} here): choose another --out, or resume with the config it has"
        ],
    );
    refused(
        dir.path(),
        "pretrain",
        &config,
        expect![
            "DIR/run holds a run with another config (recipe is `deliberate` there, `pretrain` here): choose another --out, or resume with the config it has"
        ],
    );
    assert_eq!(fs::read(dir.path().join("run/config.json")).unwrap(), stored);
    RunFolder::open(dir.path().join("run"), "deliberate", &config).unwrap();
}

#[test]
fn single_precision_fields_survive_the_round_trip() {
    #[derive(serde::Serialize)]
    struct Config {
        lr: f32,
    }
    let dir = tempfile::tempdir().unwrap();
    let hashes = [0, 1].map(|_| RunFolder::open(dir.path(), "r", &Config { lr: 0.1 }).unwrap().hash().clone());
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("run")).unwrap();
    fs::write(dir.path().join("run/config.json"), r#"{"model_type": "llama"}"#).unwrap();
    refused(dir.path(), "r", &Value::Null, expect!["DIR/run is not empty and holds no run: choose another --out"]);
    assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 1);
    assert!(RunSummary::read(&dir.path().join("run")).unwrap().is_none());
}

#[test]
fn a_path_that_cannot_be_a_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("run"), "a file").unwrap();
    refused(dir.path(), "r", &Value::Null, expect!["cannot read DIR/run"]);
}

#[test]
fn an_artefact_that_was_changed_is_refused_and_a_deleted_one_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(dir.path(), "r", &Value::Null).unwrap();
    let make = || run.stage("results", &[], || Ok::<_, RunError>(7));
    let first = make().unwrap();
    fs::write(dir.path().join("results.json"), "8").unwrap();
    let error = make().unwrap_err().to_string().replace(&dir.path().display().to_string(), "DIR");
    expect!["DIR/results.json was changed after it was written: delete it to have it made again, or restore it"]
        .assert_eq(&error);
    fs::remove_file(dir.path().join("results.json")).unwrap();
    assert_eq!(make().unwrap(), first);
}

#[test]
fn a_second_process_is_refused_until_the_first_is_killed() {
    const HOLD: &str = "COLLIMATE_TEST_HOLD";
    if let Ok(path) = std::env::var(HOLD) {
        let _run = RunFolder::open(path, "r", &Value::Null).unwrap();
        writeln!(std::io::stderr(), "held").unwrap();
        loop {
            std::thread::park();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_process_is_refused_until_the_first_is_killed", "--nocapture"])
        .env(HOLD, dir.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(holder.stderr.take().unwrap());
    assert!(stderr.lines().map_while(Result::ok).any(|it| it == "held"));

    let holder_name = format!("process {}", holder.id());
    let error = RunFolder::open(dir.path(), "r", &Value::Null).unwrap_err().to_string();
    assert!(error.contains(&format!("is in use by {holder_name}: wait for it")), "{error}");
    assert_eq!(RunSummary::read(dir.path()).unwrap().unwrap().holder, Some(holder_name));

    holder.kill().unwrap();
    holder.wait().unwrap();
    RunFolder::open(dir.path(), "r", &Value::Null).unwrap();
    assert_eq!(RunSummary::read(dir.path()).unwrap().unwrap().holder, None);
}

#[test]
fn a_summary_tells_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(dir.path(), "deliberate", &json!({"seed": 3})).unwrap();
    run.journal("seed-0/rollouts").unwrap().append(&1).unwrap();
    let prompts = run.write_lines("prompts", &["a", "b"], &[]).unwrap();
    run.keep_state("sft", 3, &[&prompts], |_| Ok::<_, RunError>(())).unwrap();
    run.stage_dir("sft", &[&prompts], |_| Ok::<_, RunError>(())).unwrap();
    let summary = RunSummary::read(dir.path()).unwrap().unwrap();
    assert_eq!(summary.recipe, "deliberate");
    assert_eq!(summary.config["seed"], 3);
    assert_eq!(summary.artifacts, ["prompts.jsonl", "sft"]);
    assert_eq!(summary.journals, [("seed-0/rollouts".to_owned(), 1)]);
}
