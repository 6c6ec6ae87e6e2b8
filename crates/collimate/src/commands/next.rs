//! What can be done with a finished run.

use std::path::Path;

/// The aligned model of a run's first seed, within its folder.
const ALIGNED: &str = "sft-rl/model";

/// Where things are and what to type next, a line each; only what is there.
pub(super) fn next_steps(run: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let card = run.join("card.html");
    if card.exists() {
        lines.push(format!("system card    {}, for a browser", card.display()));
    }
    let seeds = std::fs::read_dir(run).into_iter().flatten().flatten().map(|it| it.path());
    let mut models: Vec<_> = seeds.map(|it| it.join(ALIGNED)).filter(|it| it.is_dir()).collect();
    models.sort();
    if let Some(model) = models.first() {
        lines.push(format!("aligned model  {}", model.display()));
        lines.push(format!("talk to it     collimate chat --model {}", model.display()));
    }
    if !lines.is_empty() {
        lines.push(format!("check the run  collimate verify {}", run.display()));
    }
    lines
}
