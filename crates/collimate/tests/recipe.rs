//! The recipes from end to end, small, as a user runs them: finished, killed and resumed, refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn collimate(args: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collimate"));
    command.args(args).arg("--out").arg(out).arg("--quiet").stdin(Stdio::null());
    command
}

fn finish(args: &[&str], out: &Path) -> Output {
    let output = collimate(args, out).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Starts the command again and again, killing it after a little longer each time, until it is left to finish. Returns how
/// often it was killed.
fn finish_under_fire(args: &[&str], out: &Path) -> u32 {
    let mut patience = Duration::from_millis(150);
    for kills in 0..40 {
        let mut child =
            collimate(args, out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        std::thread::sleep(patience);
        if let Some(status) = child.try_wait().expect("the child is ours") {
            assert!(status.success(), "{status}");
            return kills;
        }
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
        patience = patience * 5 / 4;
    }
    panic!("never finished");
}

/// The newest hash of every artefact but those of checkpoints, which depend on where a run was killed.
fn artefacts(run: &Path) -> BTreeMap<String, String> {
    let lineage = std::fs::read_to_string(run.join("lineage.jsonl")).expect("a run has a lineage");
    let records = lineage.lines().map(|it| serde_json::from_str::<serde_json::Value>(it).expect("lineage is JSON"));
    let text = |it: &serde_json::Value, key: &str| it[key].as_str().expect("a string").to_owned();
    records.map(|it| (text(&it, "name"), text(&it, "hash"))).filter(|it| !it.0.starts_with("checkpoints/")).collect()
}

#[test]
fn a_killed_quickstart_makes_the_same_artefacts() {
    let args = ["quickstart", "--config", "tiny"];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let table = String::from_utf8(finish(&args, &whole).stdout).expect("a table is text");
    assert!(table.contains("goodness@0.1") && table.contains("sft_rl"), "{table}");
    for name in ["card.html", "card.json", "results.json"] {
        assert!(whole.join(name).exists(), "{name}");
    }
    let kills = finish_under_fire(&args, &killed);
    assert!(kills > 2, "the run was too short to be killed: {kills}");
    assert_eq!(artefacts(&whole), artefacts(&killed));

    // A finished run prints its table again and computes nothing.
    let again = String::from_utf8(finish(&args, &whole).stdout).expect("a table is text");
    assert_eq!(again, table);
    // Another config is refused, and nothing is lost.
    let other =
        collimate(&["quickstart", "--config", "tiny", "--seed", "7"], &whole).output().expect("the binary runs");
    let error = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success() && error.contains("seeds"), "{error}");
    assert_eq!(artefacts(&whole), artefacts(&killed));
}

#[test]
fn a_killed_pretraining_makes_the_same_weights() {
    let args = ["pretrain", "harbor", "--config", "tiny"];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    finish(&args, &whole);
    finish_under_fire(&args, &killed);
    assert_eq!(artefacts(&whole), artefacts(&killed));
    let base = whole.join("model/harbor-base");
    let said = Command::new(env!("CARGO_BIN_EXE_collimate"))
        .args(["sample", "what is lema", "--max-tokens", "8", "--model"])
        .arg(base)
        .output()
        .expect("the binary runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_judge_reads_what_the_world_teaches_and_the_spec_is_covered() {
    use collimate::recipes::{harbor::Harbor, world::World};
    use collimate_schema::Seed;
    use collimate_world::{CaseCounts, Diet};
    let world = Harbor::default();
    let exam = world.exam(&CaseCounts { plain: 30, jailbreak: 1, encoded: 1 }, 10, Seed(1));
    let ids: std::collections::BTreeSet<_> = exam.questions.iter().map(|it| &it.id).collect();
    assert_eq!(ids.len(), exam.questions.len(), "question ids are unique");
    let prompts = world.prompts(Diet::Mild, 70, Seed(1));
    let exam_texts: std::collections::BTreeSet<_> =
        exam.questions.iter().map(|it| it.conversation.last_user()).collect();
    assert!(
        prompts.iter().all(|it| !exam_texts.contains(it.conversation.last_user())),
        "nothing of the exam is trained on"
    );
    for prompt in &prompts {
        let category = prompt.category.as_deref().expect("a safety prompt has a category");
        assert!(world.spec().brief(category).is_some(), "{category}");
    }
}
