//! `bench`: what this machine can do.

use super::Exit;
use crate::cli::{BenchArgs, Work};
use crate::{bench, output};

/// Measures and prints.
pub fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let mut shape = args.shape;
    shape.batch = args.batch.unwrap_or(shape.batch);
    shape.tokens = args.tokens.unwrap_or(shape.tokens);
    anyhow::ensure!(
        shape.batch > 0 && (1..=2048).contains(&shape.tokens),
        "cannot measure {} sequences of {} tokens: give at least one sequence, of 1 to 2048 tokens",
        shape.batch,
        shape.tokens
    );
    let rounds = args.rounds;
    let report = match args.work {
        Work::Train => bench::train(shape, rounds)?,
        Work::Generate => bench::generate(shape, rounds)?,
        Work::Rl => bench::rl(shape, rounds)?,
    };
    if args.json {
        output::print_json_line(&report)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![
        ("tokens per second", format!("{:.0}", report.tokens_per_second)),
        ("parameters", format!("{:.2} M", report.parameters as f64 / 1e6)),
        ("product rate", format!("{:.0} GFLOP/s (2048 cubed, f32)", report.matmul_gflops)),
    ];
    if let Some(gflops) = report.gflops {
        let share = 100.0 * gflops / report.matmul_gflops;
        rows.insert(1, ("arithmetic", format!("{gflops:.0} GFLOP/s, {share:.0} % of the product rate")));
    }
    if let Some(bytes) = report.peak_memory_bytes {
        rows.push(("peak memory", format!("{:.2} GB", bytes as f64 / 1e9)));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::print(&output::columns(&rows));
    Ok(Exit::Ok)
}
