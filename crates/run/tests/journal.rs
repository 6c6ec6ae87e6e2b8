//! The journal after a kill in the middle of any write.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::path::Path;

use collimate_run::Journal;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// An entry.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    said: String,
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn appended(path: &Path, entries: &[String]) -> Vec<u8> {
    let mut journal = Journal::open(path).unwrap();
    for entry in entries {
        journal.append(&Said { said: entry.clone() }).unwrap();
    }
    fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_at_any_byte_it_keeps_the_whole_lines_and_can_go_on(entries in prop::collection::vec(".{0,12}", 1..5)) {
        let dir = tempfile::tempdir().unwrap();
        let whole = appended(&dir.path().join("whole.jsonl"), &entries);
        for cut in 0..=whole.len() {
            let path = dir.path().join("cut.jsonl");
            write(&path, &whole[..cut]);
            let n_whole = whole[..cut].iter().filter(|it| **it == b'\n').count();
            let mut journal = Journal::open(&path).unwrap();
            let said: Vec<String> = journal.entries::<Said>().unwrap().into_iter().map(|it| it.said).collect();
            prop_assert_eq!(said, &entries[..n_whole]);
            for entry in &entries[n_whole..] {
                journal.append(&Said { said: entry.clone() }).unwrap();
            }
            prop_assert_eq!(fs::read(&path).unwrap(), &whole[..]);
        }
    }
}

#[test]
fn what_is_kept_is_found_unless_a_cut_tore_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sampling.jsonl");
    let sample = |path: &Path| {
        let mut n_sampled = 0;
        let mut journal = Journal::open(path).unwrap();
        for name in ["0000", "0001", "0002"] {
            if journal.get::<Vec<String>>(name).unwrap().is_none() {
                n_sampled += 1;
                journal.keep(name, &[format!("{name}-a"), format!("{name}-b")]).unwrap();
            }
            assert_eq!(journal.get(name).unwrap(), Some(vec![format!("{name}-a"), format!("{name}-b")]));
        }
        assert_eq!(journal.len(), 3);
        n_sampled
    };
    assert_eq!(sample(&path), 3);
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        write(&path, &whole[..cut]);
        let n_whole = whole[..cut].iter().filter(|it| **it == b'\n').count();
        assert_eq!(sample(&path), 3 - n_whole, "cut at byte {cut}");
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

/// What the journal says of a file whose second line became `changed`.
fn damaged(changed: &dyn Fn(&str) -> String, expected: Expect) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollouts.jsonl");
    let whole = appended(&path, &["one", "two", "three"].map(str::to_owned));
    let lines: Vec<&str> = std::str::from_utf8(&whole).unwrap().split_inclusive('\n').collect();
    write(&path, [lines[0], &changed(lines[1]), lines[2]].concat().as_bytes());
    let error = Journal::open(&path).unwrap_err().to_string();
    expected.assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
    write(&path, [lines[0], lines[2]].concat().as_bytes());
    assert_eq!(Journal::open(&path).unwrap().len(), 2, "the way out");
}

#[test]
fn fault_31_a_line_that_is_not_what_was_written_is_named_with_a_way_out() {
    damaged(
        &|it| it.replace("two", "2"),
        expect![
            "rollouts.jsonl:2: this line was changed after it was written: delete the line, and what it held is done again, or restore it"
        ],
    );
    damaged(
        &|_| "{\"said\":\n".to_owned(),
        expect![
            "rollouts.jsonl:2: this line has no check: delete the line, and what it held is done again, or restore it"
        ],
    );
    damaged(
        &|it| it.replace("check", "chick"),
        expect![
            "rollouts.jsonl:2: this line has no check: delete the line, and what it held is done again, or restore it"
        ],
    );
    damaged(
        &|_| "\u{0}\n".to_owned(),
        expect![
            "rollouts.jsonl:2: this line has no check: delete the line, and what it held is done again, or restore it"
        ],
    );
}

#[test]
fn an_entry_of_another_type_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollouts.jsonl");
    appended(&path, &["one".to_owned()]);
    let error = Journal::open(&path).unwrap().entries::<std::collections::BTreeMap<String, u32>>();
    let error = error.unwrap_err().to_string();
    expect![[r#"rollouts.jsonl:1: invalid type: string "one", expected u32 at line 1 column 13: delete the line, and what it held is done again, or restore it"#]]
        .assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn fault_24_what_is_not_finite_is_not_journaled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollouts.jsonl");
    let mut journal = Journal::open(&path).unwrap();
    journal.keep("p1", &[0.5_f32]).unwrap();
    let error = journal.keep("p2", &[0.5, f32::NAN]).unwrap_err().to_string();
    expect!["cannot write rollouts.jsonl: `entry[1]` is NaN"]
        .assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
    let journal = Journal::open(&path).unwrap();
    assert_eq!((journal.len(), journal.get::<Vec<f32>>("p2").unwrap()), (1, None), "it can be resumed");
}

#[cfg(unix)]
#[test]
fn a_pipe_for_a_journal_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollouts.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(Journal::open(&path).unwrap_err().to_string().contains("rollouts.jsonl is not a regular file"));
}
