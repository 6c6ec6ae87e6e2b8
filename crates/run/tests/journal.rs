//! The journal after a kill in the middle of any write.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;
use std::path::Path;

use collimate_run::Journal;
use expect_test::expect;
use proptest::prelude::*;

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn appended(path: &Path, entries: &[String]) -> Vec<u8> {
    let mut journal = Journal::open(path).unwrap();
    for entry in entries {
        journal.append(entry).unwrap();
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
            prop_assert_eq!(journal.entries::<String>().unwrap(), &entries[..n_whole]);
            for entry in &entries[n_whole..] {
                journal.append(entry).unwrap();
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

#[test]
fn a_corrupt_line_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollouts.jsonl");
    write(&path, b"{\"a\":1}\n{\"a\":\n{\"a\":3}\n");
    let error = Journal::open(&path).unwrap_err().to_string();
    expect!["rollouts.jsonl:2: EOF while parsing a value at line 2 column 0"]
        .assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn an_entry_of_another_type_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollouts.jsonl");
    write(&path, b"1\n\"two\"\n");
    let error = Journal::open(&path).unwrap().entries::<u32>().unwrap_err().to_string();
    expect![[r#"rollouts.jsonl:2: invalid type: string "two", expected u32 at line 1 column 5"#]]
        .assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
}
