//! Who may use a run folder, and what it refuses.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use collimate_run::{ArtifactId, RunError, RunFolder, RunSummary, verify};
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
            "DIR/run holds a run with another config (sft.steps is 300 there, 400 here; old is 1 there, absent here; rl is absent there, {\"steps\":2} here): choose another --out, resume with the config it has, or add --reconfigure to go on there with this one, which makes again only what the change touches"
        ],
    );
    refused(
        dir.path(),
        "pretrain",
        &config,
        expect![
            "DIR/run holds a run with another config (recipe is `deliberate` there, `pretrain` here): choose another --out, resume with the config it has, or add --reconfigure to go on there with this one, which makes again only what the change touches"
        ],
    );
    assert_eq!(fs::read(dir.path().join("run/config.json")).unwrap(), stored);
    RunFolder::open(dir.path().join("run"), "deliberate", &config).unwrap();
}

#[test]
fn a_run_goes_on_with_another_config_and_makes_again_what_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = |lr: f64, reconfigure: bool| {
        let open = if reconfigure { RunFolder::reconfigure } else { RunFolder::open };
        let run = open(dir.path().to_owned(), "r", &json!({"lr": lr}))?;
        let mut made = Vec::new();
        let data = run.stage("data", &[], || {
            made.push("data");
            Ok::<_, RunError>(7)
        })?;
        let read = ArtifactId::of_setting("lr", &lr);
        run.stage("model", &[&data.id, &read], || {
            made.push("model");
            Ok::<_, RunError>(lr)
        })?;
        Ok::<_, RunError>(made)
    };
    assert_eq!(run(0.1, false).unwrap(), ["data", "model"]);
    assert!(matches!(run(0.2, false), Err(RunError::Differs { .. })));
    assert_eq!(run(0.2, true).unwrap(), ["model"]);
    assert_eq!(run(0.2, false).unwrap(), Vec::<&str>::new(), "it has that config now");
    let error = RunFolder::reconfigure(dir.path(), "another", &json!({"lr": 0.2})).unwrap_err();
    assert!(matches!(error, RunError::Differs { .. }), "another recipe is another run");
}

#[test]
fn fault_31_a_damaged_config_is_called_that_and_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"seed": 0, "x": [0.1, 123_456_789.123_456_78, 1e-300, 5e22]});
    let run = RunFolder::open(dir.path().join("run"), "r", &config).unwrap();
    run.write("results", &1, &[]).unwrap();
    drop(run);
    let path = dir.path().join("run/config.json");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(
        dir.path(),
        "r",
        &config,
        expect![
            "DIR/run/config.json is damaged (EOF while parsing a value at line 5 column 11): restore it, or delete it and give the command that made the run, which writes it again"
        ],
    );
    assert!(RunSummary::read(&dir.path().join("run")).unwrap_err().to_string().contains("is damaged"));
    fs::write(&path, whole.replace("\"seed\": 0", "\"seed\": 1")).unwrap();
    let error = RunFolder::open(dir.path().join("run"), "r", &json!({"seed": 1})).unwrap_err().to_string();
    assert!(error.contains("which is not that of its content"), "{error}");
    fs::remove_file(&path).unwrap();
    refused(
        dir.path(),
        "r",
        &json!({"seed": 1}),
        expect!["DIR/run is not empty and holds no run that this config made: choose another --out"],
    );
    RunFolder::open(dir.path().join("run"), "r", &config).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}

#[test]
fn fault_29_a_run_is_compared_with_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let run = RunFolder::open(&path, "r", &Value::Null).unwrap();
    let exam = run.write_lines("exam", &["a", "b"], &[]).unwrap();
    run.keep_state("sft", 3, &[&exam], |_| Ok::<_, RunError>(())).unwrap();
    run.keep_state("sft", 6, &[&exam], |_| Ok::<_, RunError>(())).unwrap();
    let fill = |dir: &Path| {
        fs::write(dir.join("weights"), "w").unwrap();
        Ok::<_, RunError>(collimate_schema::Hash("id".to_owned()))
    };
    let model = run.stage_model("sft", &[&exam], fill).unwrap();
    let results = run.write("results", &1, &[&model.id]).unwrap();
    run.write_text("table.txt", "1", &[&results]).unwrap();
    run.journal("rollouts").unwrap().keep("p1", &1).unwrap();
    run.metrics("sft", 0).unwrap().log(0, [("loss", 1.0)]).unwrap();
    drop(run);

    let check = |expected: Expect| {
        let verified = verify(&path).unwrap();
        let faults = verified.faults.iter().map(|it| format!("{it}\n")).collect::<String>();
        let besides = verified.besides.iter().map(|it| format!("besides  {it}\n")).collect::<String>();
        let text = format!("{} sound\n{faults}{besides}", verified.n_sound);
        expected.assert_eq(&text.replace(&dir.path().display().to_string(), "DIR"));
    };
    let with = |name: &str, content: Option<&str>, expected: Expect| {
        let file = path.join(name);
        let before = fs::read(&file).ok();
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        check(expected);
        match before {
            Some(before) => fs::write(&file, before).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
    };
    check(expect![[r#"
        5 sound
    "#]]);
    with(
        "table.txt",
        Some("2"),
        expect![[r#"
        4 sound
        changed  table.txt: the run wrote d8a7ccf8c19d45724402ed69bb491cac, here is 13882cbe278501a3c64687326f243320
    "#]],
    );
    with(
        "exam.jsonl",
        None,
        expect![[r#"
        4 sound
        missing  exam.jsonl
    "#]],
    );
    with(
        "sft/weights",
        Some("v"),
        expect![[r#"
        4 sound
        changed  sft: the run wrote 3dbaa41cb48437c0fe2a6038fdd14c86, here is b51a0d8e60a36b0f9d24c9064720b14b
    "#]],
    );
    with(
        "sft/extra",
        Some("v"),
        expect![[r#"
        4 sound
        changed  sft: the run wrote 3dbaa41cb48437c0fe2a6038fdd14c86, here is e4741b3c6269b45c62ff810cf3114c78
    "#]],
    );
    with(
        "notes.txt",
        Some("mine"),
        expect![[r#"
        5 sound
        besides  notes.txt
    "#]],
    );
    with(
        "journal/rollouts.jsonl",
        Some("{\"name\":\"p1\",\"entry\":2}\n"),
        expect![[r#"
        5 sound
        damaged  DIR/run/journal/rollouts.jsonl:1: this line has no check: delete the line, and what it held is done again, or restore it
    "#]],
    );
    with(
        "metrics/sft/scalars.jsonl",
        Some("{}\n"),
        expect![[r#"
            5 sound
            damaged  DIR/run/metrics/sft/scalars.jsonl:1: this line has no check: delete the line, and plots lose that step, or restore it
        "#]],
    );
    with(
        "config.json",
        Some("{"),
        expect![[r#"
        5 sound
        damaged  DIR/run/config.json is damaged (EOF while parsing an object at line 1 column 1): restore it, or delete it and give the command that made the run, which writes it again
    "#]],
    );
    let lineage = fs::read_to_string(path.join("lineage.jsonl")).unwrap();
    with(
        "lineage.jsonl",
        Some(&lineage.replacen("\"r\"", "\"s\"", 1)),
        expect![[r#"
            4 sound
            damaged  DIR/run/lineage.jsonl:1: this line was changed after it was written: delete the line, and what it held is done again, or restore it
            unknown  exam.jsonl: its record is gone
        "#]],
    );

    let without = |name: &str| {
        let record = format!("{{\"name\":\"{name}\"");
        lineage.lines().filter(|it| !it.starts_with(&record)).map(|it| format!("{it}\n")).collect::<String>()
    };
    with(
        "lineage.jsonl",
        Some(&without("results.json")),
        expect![[r#"
        4 sound
        unknown  results.json: its record is gone
    "#]],
    );
    with(
        "lineage.jsonl",
        Some(""),
        expect![[r#"
        0 sound
        damaged  DIR/run/lineage.jsonl has no records, and 4 files are there: restore it, or choose another --out
        besides  exam.jsonl
        besides  results.json
        besides  sft/weights
        besides  table.txt
    "#]],
    );

    let run = RunFolder::open(&path, "r", &Value::Null).unwrap();
    run.write_lines("exam", &["a", "b", "c"], &[]).unwrap();
    drop(run);
    check(expect![[r#"
        4 sound
        stale    sft: made from another exam.jsonl
    "#]]);
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
    refused(
        dir.path(),
        "r",
        &Value::Null,
        expect!["DIR/run is not empty and holds no run that this config made: choose another --out"],
    );
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
    run.journal("seed-0/rollouts").unwrap().keep("p1", &1).unwrap();
    let prompts = run.write_lines("prompts", &["a", "b"], &[]).unwrap();
    run.keep_state("sft", 3, &[&prompts], |_| Ok::<_, RunError>(())).unwrap();
    run.stage_dir("sft", &[&prompts], |_| Ok::<_, RunError>(())).unwrap();
    let summary = RunSummary::read(dir.path()).unwrap().unwrap();
    assert_eq!(summary.recipe, "deliberate");
    assert_eq!(summary.config["seed"], 3);
    assert_eq!(summary.artifacts, ["prompts.jsonl", "sft"]);
    assert_eq!(summary.journals, [("seed-0/rollouts".to_owned(), 1)]);
}
