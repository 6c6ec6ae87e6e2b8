//! What broke when the program was run, by the numbers of the list of faults; each right value is a test.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collimate"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
}

fn collimate(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it says on standard error, and its exit code.
fn complaint(dir: &Path, args: &[&str]) -> (String, i32) {
    let output = collimate(dir, args);
    (text(&output.stderr), output.status.code().unwrap())
}

/// The same with these bytes on standard input; what it prints first.
fn with_input(dir: &Path, args: &[&str], input: &[u8]) -> (String, String, i32) {
    let mut child =
        command(dir, args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn fault_07_a_policy_cannot_drive_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "# Policy \u{1b}[31m\n\n## Goods\n**refuse**: sold \u{202e}goods\u{7}\n- **C1** (refuse): how \u{1b}]0;x\u{9b}\n";
    fs::write(dir.path().join("policy.md"), policy).unwrap();
    for args in [
        &["spec", "brief", "policy.md", "Goods"][..],
        &["spec", "check", "policy.md", "--json"],
        &["spec", "check", "policy.md"],
    ] {
        let output = collimate(dir.path(), args);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{args:?}: {said:?}");
        assert!(!said.is_empty());
    }
    let (said, _) = complaint(dir.path(), &["spec", "brief", "policy.md", "\u{1b}[2J"]);
    assert!(said.contains("has no category") && !said.contains('\u{1b}'), "{said:?}");
    let (said, code) = complaint(dir.path(), &["sample", "x", "--\u{1b}[2J"]);
    assert!(code == 2 && !said.contains("\u{1b}[2J"), "{said:?}");
}

#[test]
fn fault_18_flags_out_of_range_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, value, problem) in [
        ("--stop", "", "a value is required"),
        ("--temperature", "nan", "must be a number, at least 0, at most 100"),
        ("--temperature", "-1", "must be a number, at least 0, at most 100"),
        ("--temperature", "inf", "must be a number, at least 0, at most 100"),
        ("--top-p", "7", "must be a number, more than 0, at most 1, not 7"),
        ("--top-p", "0", "must be a number, more than 0, at most 1"),
        ("--top-p", "nan", "must be a number, more than 0, at most 1"),
        ("--min-p", "-0.5", "must be a number, at least 0, at most 1"),
        ("--max-tokens", "0", "must be a whole number, at least 1"),
        ("--n-samples", "0", "0 is not in 1.."),
        ("--seed", "-3", "invalid"),
    ] {
        let (said, code) = complaint(dir.path(), &["sample", "hello", &format!("{flag}={value}")]);
        assert!(code == 2 && said.contains(problem), "{flag} {value}: {said}");
    }
    for flag in [
        "--rounds=0",
        "--batch=0",
        "--tokens=0",
        "--tokens=99999999999999999999",
        "--shape=65536,1000,64,64,65536,1000000",
        "--shape=0,1,1,1,1,1",
    ] {
        assert_eq!(complaint(dir.path(), &["bench", "train", flag]).1, 2, "{flag}");
    }
}

#[test]
fn fault_18_a_bad_line_of_standard_input_is_named_and_the_others_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let long = "lema ".repeat(2000);
    let input = [b"how do i make lema\n\xff\xfe\n\n", long.as_bytes(), b"\nhow do i make lema\n"].concat();
    let (said, complaints, code) = with_input(dir.path(), &["sample"], &input);
    assert_eq!(said.matches("> how do i make lema").count(), 2, "{said}");
    assert!(complaints.contains("standard input:2: byte 1 is not UTF-8"), "{complaints}");
    assert!(complaints.contains("standard input:4: the prompt is "), "{complaints}");
    assert!(complaints.contains("2 of 4 prompts could not be answered"), "{complaints}");
    assert_eq!(code, 1);

    let (said, _, code) = with_input(dir.path(), &["sample", "--json"], &input);
    let lines: Vec<Value> = said.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let kinds: Vec<bool> = lines.iter().map(|it| it["error"].is_null()).collect();
    assert_eq!((kinds, code), (vec![true, false, false, true], 1));
}

#[cfg(target_os = "linux")]
#[test]
fn fault_20_requests_stream() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["sample", "how do i make lema", "-n", "1000000000", "--max-tokens", "4", "--temperature", "1"];
    let mut child = command(dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3000 {
        lines.next().unwrap().unwrap();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 1_500_000, "{peak} kB");
    // Nobody reads any more: that ends it, quietly.
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[cfg(target_os = "linux")]
#[test]
fn fault_22_what_could_not_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["sample", "hello"][..],
        &["sample", "hello", "--json"],
        &["spec", "brief", "harbor", "Contraband"],
        &["spec", "check", "harbor"],
        &["config"],
        &["quickstart", "--dry-run"],
        &["quickstart", "--dry-run", "--json"],
        &["pretrain", "harbor", "--dry-run"],
        &["runs", "--json"],
        &["completions", "bash"],
        &["--help"],
        &["sample", "--help"],
        &["--version"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(dir.path(), args).stdout(full).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{args:?}: {said}");
    }
}

fn with_config(dir: &Path, command: &[&str], config: &str) -> Vec<(String, i32)> {
    fs::write(dir.join("mine.toml"), format!("base = \"tiny\"\n{config}\n")).unwrap();
    let plans = [&["--dry-run"][..], &["--dry-run", "--json"], &[]];
    plans.iter().map(|plan| complaint(dir, &[command, &["--config", "mine.toml"], plan].concat())).collect()
}

#[test]
fn fault_23_values_out_of_range_are_refused_before_a_run_and_in_its_plan() {
    let dir = tempfile::tempdir().unwrap();
    for (config, problem) in [
        (
            "[sft]\ncheckpoint_every = 0",
            "mine.toml:3:20: `sft.checkpoint_every` must be a whole number, at least 1, not 0",
        ),
        ("[sft]\ncapability_share = 1.5", "`sft.capability_share` must be a number, more than 0, less than 1, not 1.5"),
        ("[sft]\ncapability_share = 0.0", "`sft.capability_share` must be a number, more than 0"),
        ("[sft]\ncapability_share = 0.01", "sft.capability_share of 0.01 makes 0 of sft.examples = 8"),
        ("[sft]\nlr = -1e-3", "`sft.lr` must be a number, more than 0, at most 1, not -0.001"),
        ("[sft]\nlr = 1e19", "`sft.lr` must be a number, more than 0, at most 1"),
        ("[sft]\nsteps = 0", "`sft.steps` must be a whole number, at least 1"),
        ("[sft]\nwarmup = 100", "sft.warmup is 100, more than sft.steps = 4"),
        ("[rl]\nclip = -1.0", "`rl.clip` must be a number, more than 0, less than 1"),
        ("[rl]\nsamples = 1", "`rl.samples` must be a whole number, at least 2"),
        ("[rl]\npasses = 0", "`rl.passes` must be a whole number, at least 1"),
        ("[rl]\nkl = -0.1", "`rl.kl` must be a number, at least 0"),
        ("[rl.sampling]\ntemperature = 0.7", "rl.sampling must draw from the policy itself"),
        ("[rl.judge]\ntop_p = 7.0", "`rl.judge.top_p` must be a number, more than 0, at most 1"),
        ("[data]\nthreshold = 77", "`data.threshold` must be a whole number, at least 1, at most 5"),
        ("[data]\nprompts = 1000000\nsamples = 1000", "a run holds at most 10000000"),
        ("[exam.cases]\nplain = 0", "`exam.cases.plain` must be a whole number, at least 1"),
        (
            "[exam.sampling]\nmax_tokens = 1000000",
            "exam.sampling.max_tokens is 1000000: the model's context is 512 tokens",
        ),
        ("[rl.judge]\nmax_tokens = 600", "rl.judge.max_tokens is 600: the model's context is 512 tokens"),
        ("[sft]\nlr = nan", "mine.toml:3:6: `sft.lr`: `nan` is no value of a config"),
        ("rl = []", "`rl` is a table: write `[rl]`"),
        ("arms = [\"foo\"]", "`arms` holds an item that must be no_safety or sft"),
        ("arms = []", "`arms` must be a list of at least 1"),
        ("seeds = []", "`seeds` must be a list of at least 1"),
        ("precision = \"f64\"", "`precision`: unknown variant `f64`"),
    ] {
        for (said, code) in with_config(dir.path(), &["quickstart"], config) {
            assert!(code == 1 && said.contains(problem), "{config}: {said}");
        }
    }
    for (config, problem) in [
        ("checkpoint_every = 0", "`checkpoint_every` must be a whole number, at least 1"),
        ("heads = 3", "hidden = 32 must be heads = 3 times an even number"),
        ("heads = 0", "`heads` must be a whole number, at least 1"),
        ("hidden = 1000000000000", "`hidden` must be a whole number, at least 2, at most 8192"),
        ("hidden = 8192\nlayers = 256\nffn = 65536", "and at most 1000000000 are trained from nothing"),
        ("rope_theta = 0.5", "`rope_theta` must be a number, at least 1"),
        ("warmup = 100", "warmup is 100, more than steps = 6"),
        ("lr = 1e-5\nlr_floor = 1e-3", "lr_floor = 0.001 is more than lr = 0.00001"),
        (
            "late = { repeat = 0.0, drill = 0.0, words = 0.0, policy = 0.0, helpful = 0.0, judge = 0.0, capability = 0.0 }",
            "every share of late is 0",
        ),
        ("late.repeat = -1.0", "`late.repeat` must be a number, at least 0"),
        ("start = \"nowhere\"", "there is no such checkpoint directory"),
    ] {
        for (said, code) in with_config(dir.path(), &["pretrain", "harbor"], config) {
            assert!(code == 1 && said.contains(problem), "{config}: {said}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn fault_24_divergence_is_an_error_with_its_step_and_the_run_goes_on_with_another_setting() {
    let dir = tempfile::tempdir().unwrap();
    let write = |lr: &str| {
        let config = format!("base = \"tiny\"\narms = [\"sft_rl\"]\n[rl]\npasses = 3\nlr = {lr}\n");
        fs::write(dir.path().join("mine.toml"), config).unwrap();
    };
    let args = ["quickstart", "--config", "mine.toml", "--out", "run", "-q"];
    write("1.0");
    let (said, code) = complaint(dir.path(), &args);
    assert!(
        code == 1 && said.contains("seed-1/sft-rl failed at step ") && said.contains("training diverged"),
        "{said}"
    );
    assert!(said.contains("lower rl.lr in the config and give the command again with --reconfigure"), "{said}");
    let (again, code) = complaint(dir.path(), &args);
    assert!(code == 1 && again == said, "it is the same when it is tried again: {again}");
    for name in ["journal/seed-1/sft-rl-rollouts.jsonl", "metrics/seed-1/sft-rl/scalars.jsonl"] {
        let lines = fs::read_to_string(dir.path().join("run").join(name)).unwrap();
        assert!(!lines.contains("null,") && !lines.contains("NaN"), "{name}");
    }
    write("1e-4");
    let output = collimate(dir.path(), &[&args[..], &["--reconfigure"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(collimate(dir.path(), &["verify", "run"]).status.success());
}

#[test]
fn fault_26_a_seed_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    for (said, code) in with_config(dir.path(), &["quickstart"], "seeds = [1, 2, 1]") {
        assert!(code == 1 && said.contains("`seeds` holds 1 twice: each counts once, leave one out"), "{said}");
    }
}

#[test]
fn fault_28_a_plan_can_be_read_by_programs_and_keys_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let json = |args: &[&str]| serde_json::from_slice::<Value>(&collimate(dir.path(), args).stdout).unwrap();
    let plan = json(&["quickstart", "--dry-run", "--json", "--seed", "7"]);
    assert_eq!((&plan["config"]["seeds"], &plan["recipe"]), (&serde_json::json!([7]), &Value::from("deliberate")));
    assert_eq!(plan["config"]["precision"], "f32");
    assert!(plan["stages"].as_array().unwrap().iter().any(|it| it["stage"] == "seed-7/sft"));
    assert_eq!(json(&["pretrain", "harbor", "--dry-run", "--json"])["config"]["precision"], "f32");

    let explained = json(&["config", "--explain", "rl.clip", "--json"]);
    assert_eq!(explained[0]["range"], "a number, more than 0, less than 1");
    assert_eq!(explained[0]["default"], 0.2);
    let text = text(&collimate(dir.path(), &["config", "--explain", "warmup"]).stdout);
    assert!(text.contains("In steps. May be a whole number"), "{text}");
    let (said, code) = complaint(dir.path(), &["config", "--explain", "cilp"]);
    assert!(code == 2 && said.contains("did you mean"), "{said}");
}

/// A finished run, made once.
static FINISHED: LazyLock<(TempDir, String)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.toml"), CONFIG).unwrap();
    let table = finish(dir.path(), &[]);
    (dir, table)
});
const CONFIG: &str = "base = \"tiny\"\narms = [\"sft_rl\"]\n[rl]\npasses = 2\nkl = 0.1\n";
const AGAIN: [&str; 6] = ["quickstart", "--config", "mine.toml", "--out", "run", "-q"];

/// Its command, until it succeeds; what that prints.
fn finish(dir: &Path, more: &[&str]) -> String {
    let output = collimate(dir, &[&AGAIN[..], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// A copy of the finished run, and its table.
fn finished() -> (TempDir, &'static str) {
    let (made, table) = &*FINISHED;
    let dir = tempfile::tempdir().unwrap();
    copy(made.path(), dir.path());
    (dir, table)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

fn lineage(dir: &Path) -> String {
    fs::read_to_string(dir.join("run/lineage.jsonl")).unwrap()
}

fn is_sound(dir: &Path) -> bool {
    collimate(dir, &["verify", "run"]).status.success()
}

#[test]
fn fault_25_every_pass_of_an_rl_step_is_in_the_metrics() {
    let (dir, _) = finished();
    let scalars = fs::read_to_string(dir.path().join("run/metrics/seed-1/sft-rl/scalars.jsonl")).unwrap();
    let rows: Vec<Value> = scalars.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let curve = fs::read(dir.path().join("run/seed-1/sft-rl-curve.json")).unwrap();
    let curve: Value = serde_json::from_slice(&curve).unwrap();
    assert_eq!(rows.len(), 2);
    for (row, point) in rows.iter().zip(curve.as_array().unwrap()) {
        let [first, second] = ["kl", "pass-2/kl"].map(|it| row[it].as_f64().unwrap());
        assert_eq!(point["kl"].as_f64().unwrap(), first.max(second), "the curve shows the highest");
        assert!(row["pass-2/ratio_drift"].as_f64().is_some() && row["pass-2/entropy"].as_f64().is_some());
    }
}

#[test]
fn fault_29_a_finished_run_is_verified_when_it_is_shown_or_given_again() {
    let (dir, table) = finished();
    let show = |more: &[&str]| {
        let output = collimate(dir.path(), &[&["show", "run"], more].concat());
        (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
    };
    assert!(is_sound(dir.path()));
    for name in ["table.txt", "card.html", "seed-1/sft/model/config.json"] {
        let file = dir.path().join("run").join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, [&whole[..], b" "].concat()).unwrap();
        let artefact = name.split("/model").next().unwrap();
        let (_, said, code) = show(&[]);
        let wanted = if name == "table.txt" { 1 } else { 3 };
        assert!(code == wanted && said.contains(&format!("changed  {artefact}:")), "{said}");
        let (said, code) = complaint(dir.path(), &["verify", "run"]);
        assert_eq!(code, 3, "{said}");
        let (said, code) = complaint(dir.path(), &AGAIN);
        assert!(code == 1 && said.contains(&format!("changed  {artefact}:")), "{said}");
        fs::write(&file, &whole).unwrap();
    }
    let (shown, said, code) = show(&["results.json"]);
    assert!(code == 0 && said.is_empty() && shown.contains("evaluations"), "{said}");
    assert_eq!(finish(dir.path(), &[]), table);
}

#[test]
fn fault_30_what_is_missing_is_made_again_the_same() {
    let (dir, table) = finished();
    for name in ["results.json", "exam.jsonl", "seed-1/exam/sft_rl.jsonl"] {
        let file = dir.path().join("run").join(name);
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(complaint(dir.path(), &["verify", "run"]), (String::new(), 3));
        if name == "results.json" {
            serde_json::from_str::<Value>(&finish(dir.path(), &["--json"])).unwrap();
        } else {
            assert_eq!(finish(dir.path(), &[]), table);
        }
        assert!(fs::read(&file).unwrap() == whole, "{name}");
    }
    assert!(is_sound(dir.path()));
}

#[test]
fn another_setting_is_refused_or_taken_up_and_makes_again_what_reads_it() {
    let (dir, _) = finished();
    fs::write(dir.path().join("mine.toml"), CONFIG.replace("passes = 2", "passes = 1")).unwrap();
    let (said, code) = complaint(dir.path(), &AGAIN);
    assert!(
        code == 1 && said.contains("recipe.rl.passes is 2 there, 1 here") && said.contains("--reconfigure"),
        "{said}"
    );
    let n_before = lineage(dir.path()).lines().count();
    finish(dir.path(), &["--reconfigure"]);
    let made: Vec<String> = lineage(dir.path()).lines().skip(n_before).map(str::to_owned).collect();
    assert!(made.iter().any(|it| it.starts_with("{\"name\":\"seed-1/sft-rl\"")));
    let is_before = |it: &String| {
        ["seed-1/sft\"", "seed-1/data/"].iter().any(|name| it.starts_with(&format!("{{\"name\":\"{name}")))
    };
    assert!(!made.iter().any(is_before), "{made:?}");
    assert!(is_sound(dir.path()));
}

#[test]
fn fault_33_a_finished_run_says_where_the_model_is_and_what_is_next() {
    let (dir, table) = finished();
    for next in ["run/card.html", "collimate chat --model run/seed-1/sft-rl/model", "collimate verify run"] {
        assert!(table.contains(next), "{table}");
    }
    let said = collimate(dir.path(), &["sample", "hello", "--max-tokens", "4", "--model", "run/seed-1/sft-rl/model"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let help = text(&collimate(dir.path(), &["show", "--help"]).stdout);
    assert!(help.contains("seed-1/data/graded.jsonl"), "{help}");
    assert!(collimate(dir.path(), &["show", "run", "seed-1/data/graded.jsonl"]).status.success());
}

#[test]
fn fault_37_going_on_leaves_no_second_record_of_what_is_done() {
    let (dir, table) = finished();
    let before = lineage(dir.path());
    assert_eq!(finish(dir.path(), &[]), table);
    assert_eq!(lineage(dir.path()), before);
    let of_proof = |it: &&str| it.starts_with("{\"name\":\"seed-1/sft-mask-proof.json\"");
    assert_eq!(before.lines().filter(of_proof).count(), 1);
}

#[test]
fn fault_37_too_many_threads_are_too_many() {
    let dir = tempfile::tempdir().unwrap();
    for threads in ["100000", "99999999999999999999999", "many"] {
        let output =
            command(dir.path(), &["sample", "hello", "--max-tokens", "4"]).env("RAYON_NUM_THREADS", threads).output();
        let output = output.unwrap();
        assert!(output.status.success() && text(&output.stderr).contains(&format!("RAYON_NUM_THREADS={threads} is ")));
    }
}
