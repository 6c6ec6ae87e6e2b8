//! Damaged configs: whatever the file says, it is refused by place, or it is a config that can be planned.
#![expect(clippy::disallowed_methods, reason = "a test may write half a file")]

use std::fs;

use collimate::config::{Named, resolve};
use collimate::recipes::deliberate::{self, Deliberate};
use collimate::recipes::pretrain::{self, Pretrain};
use collimate_fuzz::{damaged, search};

const NAMED: &Named<Deliberate> =
    &[("base", deliberate::base), ("quickstart", deliberate::quickstart), ("tiny", deliberate::tiny)];
const PRETRAIN: &Named<Pretrain> = &[("base", pretrain::base), ("tiny", pretrain::tiny)];

const TOML: [&str; 22] = [
    "base = \"tiny\"\n",
    "[sft]\n",
    "[rl]\n",
    "[rl.sampling]\n",
    "lr = ",
    "steps = ",
    "seeds = [",
    "]",
    "arms = [\"sft\"]\n",
    "clip = ",
    "kl = ",
    "[[",
    " = ",
    "\"\"\"",
    "'''",
    "0x",
    "_",
    ".",
    "#",
    "nan",
    "-inf",
    "1979-05-27T07:32:00Z",
];

#[test]
fn damaged_configs_are_refused_or_can_be_planned() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let seeds = [
        "base = \"tiny\"\nseeds = [2, 3]\n[sft]\nsteps = 40\nlr = 1e-4\ncapability_share = 0.5\n[rl]\nclip = 0.2\n[rl.sampling]\ntemperature = 1.0\nmax_tokens = 64\n",
        "base = \"tiny\"\nhidden = 64\nheads = 4\nlr = 0.001\n[late]\nrepeat = 0.5\n",
        "arms = [\"sft\", \"sft_rl\"]\n[data]\nprompts = 30\nthreshold = 4\nopinions = true\n[exam.cases]\nplain = 12\n",
    ];
    let seeds = seeds.map(|it| it.as_bytes().to_vec());
    let (n_tried, n_taken) = search(move |number| {
        let _keep = &dir;
        fs::write(&path, damaged(&seeds, &TOML, number)).unwrap();
        let given = path.to_str().unwrap();
        let named = [
            resolve(given, NAMED).and_then(|it| it.check().map(|()| drop(it.plan(&[])))),
            resolve(given, PRETRAIN).and_then(|it| it.check()),
        ];
        for error in named.iter().filter_map(|it| it.as_ref().err()) {
            assert!(!error.to_string().trim().is_empty());
        }
        named.iter().any(Result::is_ok)
    });
    assert!(n_taken > 0 && n_taken < n_tried, "{n_taken} of {n_tried}");
}
