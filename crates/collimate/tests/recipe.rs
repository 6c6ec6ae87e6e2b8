//! The recipes from end to end, small, as a user runs them: finished, killed and resumed, refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use collimate::material::{Grader, Material, Question, Right, Roles};
use collimate::progress::Progress;
use collimate::recipes::deliberate::{Deliberate, ExamSize, deliberate, tiny};
use collimate::worlds::harbor;
use collimate_eval::suites::Found;
use collimate_run::{Lineage, Metrics, RunFolder};
use collimate_schema::{By, Failure, Parsed, PromptId, Request, Sampler, Scripted, Turn};
use collimate_world::CaseCounts;

fn collimate(args: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collimate"));
    command.args(args).arg("--out").arg(out).arg("--quiet").stdin(Stdio::null()).env("SOURCE_DATE_EPOCH", "1800000000");
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

/// `auto` is settled when a run begins, and recorded; the run goes on with that, on whatever machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "a config that a user wrote")]
fn a_run_records_what_auto_was_and_goes_on_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = |precision: &str| {
        let path = folder.path().join(format!("{precision}.toml"));
        std::fs::write(&path, format!("base = \"tiny\"\nsteps = 2\nprecision = \"{precision}\"\n")).expect("a file");
        path.into_os_string().into_string().expect("a temporary folder's name is text")
    };
    let [auto, bf16, f32] = ["auto", "bf16", "f32"].map(config);
    let args = |config| ["pretrain", "harbor", "--config", config, "--json"];
    let run = folder.path().join("run");
    finish(&args(&bf16), &run);
    let recorded = std::fs::read_to_string(run.join("config.json")).expect("a run has a config");
    assert!(recorded.contains(r#""precision": "bf16""#), "{recorded}");
    finish(&args(&auto), &run);
    assert_eq!(std::fs::read_to_string(run.join("config.json")).expect("a run has a config"), recorded);
    let refused = collimate(&args(&f32), &run).output().expect("the binary runs");
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains(r#"precision is "bf16" there, "f32" here"#), "{error}");

    let plan = [&args(&auto)[..], &["--dry-run"]].concat();
    let plan = finish(&plan, &folder.path().join("new")).stdout;
    let plan: serde_json::Value = serde_json::from_slice(&plan).expect("a plan is JSON");
    assert_eq!(plan["config"]["precision"], if is_fast_in_bf16() { "bf16" } else { "f32" });
}

/// The table of [`Precision::fastest`](collimate_kernels::Precision::fastest), as this process sees it.
fn is_fast_in_bf16() -> bool {
    collimate_kernels::Precision::fastest() == collimate_kernels::Precision::Bf16
}

#[test]
fn nothing_of_the_exam_is_trained_on_and_names_are_unique() {
    let cfg = Deliberate {
        exam: ExamSize { cases: CaseCounts { plain: 30, jailbreak: 1, encoded: 1 }, ..tiny().exam },
        ..tiny()
    };
    let materials = harbor::materials(&cfg);
    let Material { spec, sft, rl, full, tasks, exam, .. } = &materials[0];
    let ids: BTreeSet<_> = exam.iter().map(|it| &it.asked.question).collect();
    assert_eq!(ids.len(), exam.len());
    let prompts: Vec<_> = sft.iter().chain(rl).chain(full).collect();
    let names: BTreeSet<_> = prompts.iter().map(|it| &it.id).chain(tasks.iter().map(|it| &it.prompt)).collect();
    assert_eq!(names.len(), prompts.len() + tasks.len(), "a name says which prompt of the run is meant");
    let asked: BTreeSet<_> = exam.iter().map(|it| it.conversation.last_user()).collect();
    for prompt in prompts {
        assert!(!asked.contains(prompt.conversation.last_user()), "{}", prompt.id);
        let category = prompt.category.as_deref().expect("a safety prompt has a category");
        assert!(spec.brief(category).is_some(), "{category}");
    }
}

/// The lineage of a run, the newest record of each artefact.
fn lineage(run: &Path) -> BTreeMap<String, Lineage> {
    let text = std::fs::read_to_string(run.join("lineage.jsonl")).expect("a run has a lineage");
    let records = text.lines().map(|it| serde_json::from_str::<Lineage>(it).expect("lineage is JSON"));
    records.map(|it| (it.id.name.clone(), it)).collect()
}

/// What every role of the recipe says, so that its data are the same on every processor.
fn scripted(replies: impl Fn(&Request) -> Result<Parsed, Failure> + Send + Sync) -> impl Sampler {
    Scripted::failing("script", replies)
}

#[test]
fn the_recipe_runs_with_any_model_in_any_role() {
    let cfg = Deliberate { arms: vec!["no_safety".to_owned(), "sft_rl".to_owned()], ..tiny() };
    let materials = harbor::materials(&cfg);
    let unlucky = materials[0].sft[3].id.clone();
    let teacher = scripted(move |request| match &request.id {
        it if it.prompt == unlucky && it.sample == Some(1) => Err(Failure::Refused("no".to_owned())),
        _ => Ok(Parsed::of(
            "request: lema plan. topic Contraband. policy: plan.",
            "i am sorry. i can not help with that.",
        )),
    });
    // Every other deliberation is good, and one verdict cannot be read.
    let filter = scripted(|request| {
        Ok(match (request.id.sample, request.id.prompt.0.as_str()) {
            (Some(0), it) if it.ends_with("00") => Parsed::of("", "no grade"),
            (Some(0), _) => Parsed::of("", "grade: 5"),
            _ => Parsed::of("", "grade: 2"),
        })
    });
    let reward =
        scripted(|request| Ok(Parsed::of("", if request.id.sample == Some(0) { "grade: 5" } else { "grade: 1" })));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = collimate::embedded::harbor_base(&burn::tensor::Device::flex()).expect("the embedded model");
    let roles = Roles { teacher: &teacher, filter: &filter, reward: &reward };
    let run = RunFolder::open(folder.path().join("run"), "deliberate", &cfg).expect("a new folder");
    let card = deliberate(&run, &cfg, &materials, &roles, &base, &Progress::hidden()).expect("it runs");
    assert_eq!(card.numbers.evaluations.len(), 2);

    // 14 prompts, 2 samples each, of which one request failed; those with sample 0 are kept but for the unread one.
    let lines = |name: &str| std::fs::read_to_string(run.path().join(name)).expect(name).lines().count();
    assert_eq!(lines("seed-1/data/rollouts.jsonl"), 27);
    let data = std::fs::read_to_string(run.path().join("seed-1/data/dataset.json")).expect("a dataset");
    let data: serde_json::Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(data["examples"].as_array().map(Vec::len), Some(13));
    assert_eq!(data["report"]["all"]["unscored"], serde_json::json!({"unparsed": 1}));

    // Losses of fine-tuning on what was scripted, as they should be; an RL step learns what the judge rewards.
    let metrics = |stage: &str| Metrics::open(&run.path().join("metrics/seed-1").join(stage), 99).expect("metrics");
    let numbers =
        |stage, tag| metrics(stage).rows().expect("rows").iter().filter_map(|it| it.get(tag)).collect::<Vec<_>>();
    let losses = numbers("sft", "loss");
    let stored = SFT_LOSSES;
    let close = losses.len() == stored.len() && losses.iter().zip(stored).all(|(a, b)| (a - b).abs() < 2e-3);
    assert!(close, "{losses:?} is not {stored:?}");

    // Everything but what the world gave is made from something, and everything it is made from is known.
    let records = lineage(run.path());
    let outside = ["base", "teacher", "filter", "reward judge"];
    for (name, record) in &records {
        assert!(!record.parents.is_empty() || name == "made.json", "{name}");
        for parent in &record.parents {
            let known = records.get(&parent.name).is_some_and(|it| it.id.hash == parent.hash);
            let is_outside = outside.contains(&parent.name.as_str()) || parent.name.starts_with("setting:");
            assert!(known || is_outside, "{name} was made from {parent:?}");
        }
    }
    // A completion can be joined to the model in the card.
    let signed = std::fs::read_to_string(run.path().join("seed-1/exam/sft_rl.jsonl")).expect("answers");
    let model = &records["seed-1/sft-rl"].id.hash;
    assert!(signed.lines().all(|it| it.contains(&format!("{{\"checkpoint\":\"{model}\"}}"))), "{model}");
}

/// Of four steps, on any processor.
const SFT_LOSSES: [f64; 4] = [5.8718, 2.3798, 1.1921, 0.6472];

#[test]
fn a_card_judge_grades_neither_itself_nor_what_was_rewarded_by_it() {
    struct Judge(By);
    impl Grader for Judge {
        fn by(&self) -> Option<By> {
            Some(self.0.clone())
        }
        fn find(&self, asked: &[(&Question, &Parsed)]) -> anyhow::Result<Vec<Found>> {
            Ok(asked.iter().map(|_| Found::default()).collect())
        }
        fn truth(&self, _: &PromptId, _: &Turn) -> Option<Right> {
            None
        }
    }
    let model = scripted(|_| Ok(Parsed::of("", "grade: 5")));
    let roles = Roles { teacher: &model, filter: &model, reward: &model };
    let named = |it: &str| By::Named(it.to_owned());
    let check = |card: &str| roles.check(&Judge(named(card)), &named("policy")).map_err(|it| it.to_string());
    let refused = |part: &str| Err(format!("the card judge is {part}: name another model to grade for the card"));
    assert_eq!(check("script"), refused("the reward judge"));
    assert_eq!(check("policy"), refused("the model under test"));
    assert_eq!(check("somebody else"), Ok(()));
}
