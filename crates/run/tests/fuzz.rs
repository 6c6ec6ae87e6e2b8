//! Damaged run folders: whatever the bytes of a file are, a run says what is wrong, or goes on; and no change goes unnoticed.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::path::Path;

use collimate_fuzz::{damaged, search};
use collimate_run::{Metrics, RunError, RunFolder, RunSummary, verify};
use collimate_schema::Hash;
use serde_json::json;

const NAMES: [&str; 7] = [
    "config.json",
    "lineage.jsonl",
    "journal/rollouts.jsonl",
    "metrics/sft/scalars.jsonl",
    "metrics/sft/events.out.tfevents.collimate",
    "exam.jsonl",
    "results.json",
];

/// Makes the run, or goes on with it.
fn run(path: &Path) -> Result<(), RunError> {
    let run = RunFolder::open(path, "r", &json!({"seed": 3, "lr": 0.1}))?;
    let exam = run.stage_lines("exam", &[], || {
        let mut journal = run.journal("rollouts")?;
        for name in ["a", "b", "c"] {
            if journal.get::<Vec<f64>>(name)?.is_none() {
                journal.keep(name, &[0.5, 1e-3])?;
            }
        }
        Ok::<_, RunError>(vec!["one".to_owned(), "two".to_owned()])
    })?;
    let start = run.resume_from("sft", &[&exam.id])?.map_or(0, |it| it.0);
    let mut metrics = run.metrics("sft", start)?;
    for step in start..3 {
        metrics.log(step, [("loss", 0.5), ("lr", 1e-3)])?;
    }
    run.keep_state("sft", 3, &[&exam.id], |dir| collimate_run::write_whole(&dir.join("state"), b"s"))?;
    let model = run.stage_model("sft", &[&exam.id], |dir| {
        collimate_run::write_whole(&dir.join("weights"), b"w")?;
        Ok::<_, RunError>(Hash("id".to_owned()))
    })?;
    run.stage("results", &[&model.id], || Ok::<_, RunError>(json!({"n": exam.len()})))?;
    Ok(())
}

#[test]
fn no_damage_goes_unnoticed_or_breaks_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    run(&path).unwrap();
    let seeds: Vec<Vec<u8>> = NAMES.iter().map(|it| fs::read(path.join(it)).unwrap()).collect();
    let clean = verify(&path).unwrap();
    assert!(clean.faults.is_empty(), "{:?}", clean.faults);
    let (n_tried, n_taken) = search(move |number| {
        let _keep = &dir;
        let which = (number % NAMES.len() as u64) as usize;
        let (name, whole) = (NAMES[which], &seeds[which]);
        let bytes =
            damaged(std::slice::from_ref(whole), &["\"check\":\"", "}\n{", "{\"name\":\"", "\"step\":"], number);
        fs::write(path.join(name), &bytes).unwrap();
        let found = verify(&path).unwrap();
        let is_read_only_by_viewers = name.contains("tfevents");
        let is_cut = whole.starts_with(&bytes) && name.ends_with(".jsonl") && name != "exam.jsonl";
        if bytes != *whole && !is_read_only_by_viewers && !is_cut {
            let says_the_same = name == "config.json"
                && serde_json::from_slice::<serde_json::Value>(&bytes).ok() == serde_json::from_slice(whole).ok();
            let is_torn_line =
                name.ends_with(".jsonl") && name != "exam.jsonl" && is_whole_lines_and_a_rest(whole, &bytes);
            assert!(
                !found.faults.is_empty() || says_the_same || is_torn_line,
                "{name}: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
        let _ = RunSummary::read(&path);
        let went_on = run(&path).is_ok();
        drop(Metrics::open(&path.join("metrics/sft"), 2));
        // Whatever became of it, the next input finds the run as it was.
        fs::remove_dir_all(&path).unwrap();
        run(&path).unwrap();
        went_on
    });
    assert!(n_taken > 0 && n_taken < n_tried, "{n_taken} of {n_tried}");
}

/// Whether `bytes` are some of the lines of `whole`, all of which are still right, and a beginning of one.
fn is_whole_lines_and_a_rest(whole: &[u8], bytes: &[u8]) -> bool {
    let lines: Vec<&[u8]> = whole.split_inclusive(|it| *it == b'\n').collect();
    let mut rest = bytes.split_inclusive(|it| *it == b'\n').filter(|it| it.ends_with(b"\n"));
    rest.all(|it| lines.contains(&it))
}
