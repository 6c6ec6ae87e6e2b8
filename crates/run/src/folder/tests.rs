//! Kills at every instant of a small run.

use collimate_schema::Seed;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::whole::kill;
use crate::whole::write_whole;

/// A run of every kind of stage, with a journal and checkpoints inside. Returns what it made, by hash.
fn small_run(path: &Path) -> Result<Vec<Hash>, RunError> {
    let run = RunFolder::open(path, "small", &json!({"steps": 4}))?;
    let prompts = run.stage_lines("prompts", &[], || Ok::<_, RunError>(vec!["a".to_owned(), "b".to_owned()]))?;
    let rollouts = run.stage_lines("rollouts", &[&prompts.id], || {
        let mut journal = run.journal("rollouts")?;
        let mut rollouts = Vec::new();
        for (ordinal, prompt) in prompts.iter().enumerate() {
            let kept = match journal.get(prompt)? {
                Some(kept) => kept,
                None => {
                    let sampled = vec![ordinal, ordinal + 10];
                    journal.keep(prompt, &sampled)?;
                    sampled
                }
            };
            rollouts.extend(kept);
        }
        Ok::<_, RunError>(rollouts)
    })?;
    let model = run.stage_dir("model", &[&rollouts.id], |dir| {
        let (mut step, mut state) = match run.resume_from("model", &[&rollouts.id])? {
            Some((step, path)) => (step, Seed(u64::from_le_bytes(read(&path.join("state")).try_into().unwrap()))),
            None => (0, Seed(0)),
        };
        let mut metrics = run.metrics("model", step)?;
        while step < 4 {
            metrics.log(step, [("state", state.0 as f64)])?;
            state = state.child("step");
            step += 1;
            run.keep_state("model", step, &[&rollouts.id], |dir| {
                write_whole(&dir.join("state"), &state.0.to_le_bytes())
            })?;
        }
        assert_eq!(metrics.rows()?.iter().map(|it| it.step).collect::<Vec<_>>(), [0, 1, 2, 3]);
        write_whole(&dir.join("weights"), &state.0.to_le_bytes())
    })?;
    let results = run.stage("results", &[&model.id], || Ok::<_, RunError>(json!({"n": rollouts.len()})))?;
    let card = run.write_text("card.html", "<p>done</p>", &[&results.id])?;
    Ok([&prompts.id, &rollouts.id, &model.id, &results.id, &card].map(|it| it.hash.clone()).to_vec())
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn a_run_killed_at_any_instant_resumes_to_the_same_artefacts() {
    let clean = tempfile::tempdir().unwrap();
    let expected = small_run(&clean.path().join("run")).unwrap();
    let mut n_points = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let ended = kill::at(n_points, || small_run(&path)).is_some();
        let resumed = small_run(&path).unwrap_or_else(|it| panic!("killed at point {n_points}: {it}"));
        assert_eq!(resumed, expected, "killed at point {n_points}");
        assert!(leftovers(&path).is_empty(), "killed at point {n_points}");
        if ended {
            break;
        }
        n_points += 1;
    }
    assert!(n_points > 60, "only {n_points} places to be killed at");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_killed_again_and_again_resumes_to_the_same_artefacts(kills in prop::collection::vec(0_usize..40, 1..6)) {
        let clean = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        for point in kills {
            kill::at(point, || small_run(&path));
        }
        prop_assert_eq!(small_run(&path).unwrap(), small_run(clean.path()).unwrap());
    }
}

#[test]
fn a_rewritten_artefact_survives_a_kill_at_any_instant() {
    for n in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let open = || RunFolder::open(dir.path().join("run"), "r", &()).unwrap();
        let new = ArtifactId { name: "prompts.jsonl".to_owned(), hash: Hash("new".to_owned()) };
        let make = |value: &str| Ok::<_, RunError>(value.to_owned());
        open().stage("thing", &[], || make("old")).unwrap();
        open().stage_dir("folder", &[], |dir| write_whole(&dir.join("file"), b"old")).unwrap();
        let rewrite = || {
            let run = open();
            let file = run.stage("thing", &[&new], || make("new")).unwrap();
            let folder = run.stage_dir("folder", &[&new], |dir| write_whole(&dir.join("file"), b"new")).unwrap();
            (file.value, read(&folder.join("file")))
        };
        let ended = kill::at(n, rewrite).is_some();
        assert_eq!(rewrite(), ("new".to_owned(), b"new".to_vec()), "killed at point {n}");
        if ended {
            break;
        }
    }
}

#[test]
fn a_stored_stage_is_not_made_again_unless_its_parents_changed() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(dir.path().join("run"), "r", &()).unwrap();
    let a = run.write("a", &1, &[]).unwrap();
    let b = run.write("b", &2, &[]).unwrap();
    let first = run.stage("sum", &[&a, &b], || Ok::<_, RunError>(3)).unwrap();
    let again = run.stage("sum", &[&a, &b], || -> Result<i32, RunError> { panic!("stored") }).unwrap();
    assert_eq!(first, again);
    let b = run.write("b", &5, &[]).unwrap();
    assert_eq!(run.stage("sum", &[&a, &b], || Ok::<_, RunError>(6)).unwrap().value, 6);
    assert_eq!(run.lineage().last().unwrap().parents, [a, b]);
}

#[test]
fn a_failed_write_leaves_the_earlier_artefact() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(dir.path().join("run"), "r", &()).unwrap();
    let made = run.stage_dir("model", &[], |dir| write_whole(&dir.join("weights"), b"one")).unwrap();
    let failed = run.stage_dir("model", &[&made.id], |dir| {
        write_whole(&dir.join("weights"), b"tw")?;
        Err(RunError::io("write", dir, std::io::Error::from(std::io::ErrorKind::StorageFull)))
    });
    assert!(failed.is_err());
    assert_eq!(read(&run.dir("model", &[]).unwrap().unwrap().join("weights")), b"one");
    assert!(leftovers(run.path()).is_empty());
}

#[test]
fn a_stage_with_other_parents_does_not_resume_from_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(dir.path().join("run"), "r", &()).unwrap();
    let [a, b] = [1, 2].map(|it| run.write("a", &it, &[]).unwrap());
    run.keep_state("train", 3, &[&a], |dir| write_whole(&dir.join("weights"), b"of a")).unwrap();
    assert_eq!(run.resume_from("train", &[&b]).unwrap(), None, "the data it was trained on is gone");
    assert_eq!(run.resume_from("train", &[&a]).unwrap().map(|it| it.0), Some(3));
}

#[test]
fn a_model_is_known_by_its_id_and_checked_by_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let id = Hash("weights".to_owned());
    let fill = |dir: &Path| write_whole(&dir.join("weights"), b"one").map(|()| id.clone());
    {
        let run = RunFolder::open(dir.path().join("run"), "r", &()).unwrap();
        let model = run.stage_model("model", &[], fill).unwrap();
        assert_eq!(model.id.hash, id);
        assert_eq!(run.stage_model("model", &[], |_| -> Result<Hash, RunError> { panic!("stored") }).unwrap(), model);
    }
    write_whole(&dir.path().join("run/model/weights"), b"two").unwrap();
    let run = RunFolder::open(dir.path().join("run"), "r", &()).unwrap();
    assert!(matches!(run.stage_model("model", &[], fill), Err(RunError::Changed { .. })));
}

fn leftovers(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().flatten().map(|it| it.path());
    let below = entries.flat_map(|it| if it.is_dir() { [vec![it.clone()], leftovers(&it)].concat() } else { vec![it] });
    below.filter(|it| crate::whole::is_temporary(it)).collect()
}
