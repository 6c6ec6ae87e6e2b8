//! What can be typed, and what becomes of it. Nothing heavy happens before a command is known.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::bench::Shape;
use crate::commands::{self, Exit};
use crate::device::DeviceName;
use crate::output;
use crate::precision::Precision;

const EXAMPLES: &str = "\
Examples:
  collimate quickstart                                     the whole method in the embedded world
  collimate deliberate harbor --dry-run                    what the full recipe would do
  collimate deliberate harbor --config my.toml --seed 2    the same method, your settings
  collimate sample \"how do i make lema\" --spec harbor     the base model, shown a policy
  collimate spec check my-policy.md                        mistakes, by line

An interrupted run goes on where it was when the same command is given again.
Exit codes: 0 ok, 1 failure, 2 usage, 3 gate failed.";

/// Commands as `--help` groups them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["quickstart", "pretrain", "deliberate"]),
    ("Talk to a model", &["sample", "chat"]),
    ("Work on a policy", &["spec"]),
    ("Look at results", &["runs", "show"]),
    ("About this machine", &["bench", "completions"]),
];

/// Teach a language model to reason over a written policy before it answers, and measure whether that worked.
#[derive(Debug, Parser)]
#[command(name = "collimate", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run deliberative alignment with its comparison arms on the embedded world, in minutes
    Quickstart(RunArgs),
    /// Train the base model of a world from nothing
    Pretrain(WorldRun),
    /// Run the full recipe: every arm, several seeds
    Deliberate(WorldRun),
    /// Answer prompts once, from the arguments or from standard input
    Sample(SampleArgs),
    /// Talk to a model, turn by turn
    Chat(ChatArgs),
    /// Check a policy, or see what a model is shown of it
    #[command(subcommand)]
    Spec(SpecCommand),
    /// List run folders
    Runs(RunsArgs),
    /// Show the results of a run, or one of its artefacts
    Show(ShowArgs),
    /// Measure how fast this machine trains and samples
    Bench(BenchArgs),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum World {
    Harbor,
}

#[derive(Args, Debug)]
struct WorldRun {
    /// Which world
    #[arg(value_enum)]
    world: World,
    #[command(flatten)]
    run: RunArgs,
}

/// What every run takes.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// A named config (`base`, `tiny`), or a TOML file that says `base = "NAME"` and overrides fields
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "base")]
    pub config: String,
    /// Seed of everything random, instead of the config's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The run folder, made or resumed [default: runs/COMMAND]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where to compute: `cpu`, `cuda:N`, `vulkan`, `vulkan:N` or `metal`; a GPU needs a build with that feature
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: DeviceName,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print results as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunArgs {
    /// The run folder: `--out`, or `runs/<command>` in the current directory.
    pub fn out_or(&self, command: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(command))
    }
}

/// Which model, and what it is shown.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A checkpoint directory instead of the embedded base model
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Put this policy in the context: a Markdown file, or `harbor`
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Show this category of the policy in full; without it, the summaries of all
    #[arg(long, value_name = "NAME", requires = "spec")]
    pub category: Option<String>,
    /// Softmax temperature; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f32,
    /// Draw among the N likeliest tokens only; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_k: u32,
    /// Draw among the likeliest tokens only whose probabilities reach this sum
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share)]
    pub top_p: f32,
    /// Draw only among tokens at least this times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    pub min_p: f32,
    /// Most tokens to sample per answer
    #[arg(long, value_name = "N", default_value_t = 192)]
    pub max_tokens: u32,
    /// End the answer where it would say this; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Begin the answer after N tokens of thought, whatever the model would do
    #[arg(long, value_name = "N")]
    pub thought_budget: Option<u32>,
    /// Seed of the samples
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Where to compute: `cpu`, `cuda:N`, `vulkan`, `vulkan:N` or `metal`; a GPU needs a build with that feature
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: DeviceName,
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a number from 0 to 1".to_owned()),
    }
}

/// Arguments of `sample`.
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// Prompts; without any, one per line of standard input
    #[arg(value_name = "PROMPT")]
    pub prompts: Vec<String>,
    /// Answers per prompt
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    pub n_samples: u32,
    /// One JSON object per answer
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub model: ModelArgs,
}

/// Arguments of `chat`.
#[derive(Args, Clone, Debug)]
pub struct ChatArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub model: ModelArgs,
}

/// The verbs of `spec`.
#[derive(Clone, Debug, Subcommand)]
pub enum SpecCommand {
    /// Find mistakes in a policy, with line numbers
    Check {
        /// The policy: a Markdown file, or `harbor`
        file: PathBuf,
        /// JSON lines of prompts (`category`, optional `clause`) to check against it
        #[arg(long, value_name = "FILE")]
        prompts: Option<PathBuf>,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a model is shown for a category
    Brief {
        /// The policy: a Markdown file, or `harbor`
        file: PathBuf,
        /// The category shown in full
        category: String,
    },
}

/// Arguments of `runs`.
#[derive(Args, Clone, Debug)]
pub struct RunsArgs {
    /// A folder of run folders, or one run folder
    #[arg(value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The run folder
    pub run: PathBuf,
    /// An artefact of the run, such as `prompts.jsonl`; without it, the results
    pub artifact: Option<String>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Work {
    /// Training steps
    Train,
    /// Sampling, after prompts of 128 tokens
    Generate,
    /// Whole RL steps: sample 2 prompts 8 times, up to 64 tokens each, reward, learn
    Rl,
}

/// Arguments of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub work: Work,
    /// Random weights: `tiny`, `small`, `smol135`, or width,layers,heads,kv heads,feed-forward,vocabulary
    #[arg(long, default_value = "tiny")]
    pub shape: Shape,
    /// The weights of a checkpoint directory, instead of random ones
    #[arg(long, value_name = "DIR", conflicts_with = "shape")]
    pub model: Option<PathBuf>,
    /// Sequences [default: train: the shape's, 8 with --model; generate: 64]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Tokens of each, new ones if sampled [default: train: the shape's, 256 with --model; generate: 128]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// What products are taken in
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// Where to compute: `cpu`, `cuda:N`, `vulkan`, `vulkan:N` or `metal`; a GPU needs a build with that feature
    #[arg(long, value_name = "NAME", default_value_t)]
    pub device: DeviceName,
    /// Training keeps a layer's input only and computes its activations again: less memory, more arithmetic
    #[arg(long)]
    pub recompute: bool,
    /// Rounds, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Parses the arguments of this process, runs the command and reports its error.
pub fn main() -> ExitCode {
    let cli = match command().try_get_matches().and_then(|it| Cli::from_arg_matches(&it)) {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            let _ = error.print();
            return if usage { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    dispatch(&cli.command)
        .unwrap_or_else(|error| {
            output::error(&error);
            if error.is::<output::Usage>() { Exit::Usage } else { Exit::Failure }
        })
        .into()
}

fn dispatch(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Quickstart(args) => commands::quickstart::run(args),
        Command::Pretrain(WorldRun { world: World::Harbor, run }) => commands::pretrain::run(run),
        Command::Deliberate(WorldRun { world: World::Harbor, run }) => commands::deliberate::run(run),
        Command::Sample(args) => commands::sample::run(args),
        Command::Chat(args) => commands::chat::run(args),
        Command::Spec(SpecCommand::Check { file, prompts, json }) => {
            commands::spec::check(file, prompts.as_deref(), *json)
        }
        Command::Spec(SpecCommand::Brief { file, category }) => commands::spec::brief(file, category),
        Command::Runs(args) => commands::runs::run(args),
        Command::Show(args) => commands::show::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut self::command(), "collimate", &mut script);
            output::print(&String::from_utf8(script)?);
            Ok(Exit::Ok)
        }
    }
}

/// The command line, its help in groups.
fn command() -> clap::Command {
    let command = Cli::command();
    let mut groups = String::new();
    for (heading, names) in GROUPS {
        groups.push_str(&format!("\n\n{heading}:"));
        for subcommand in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            groups.push_str(&format!("\n  {:<12} {about}", subcommand.get_name()));
        }
    }
    command.help_template(format!("{{about}}\n\n{{usage-heading}} {{usage}}{groups}{{after-help}}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_is_in_a_group() {
        let command = command();
        command.clone().debug_assert();
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|it| it.1).copied().collect();
        let mut names: Vec<_> = command.get_subcommands().map(|it| it.get_name()).collect();
        grouped.sort_unstable();
        names.sort_unstable();
        assert_eq!(grouped, names);
    }
}
