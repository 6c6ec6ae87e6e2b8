//! What can be typed, and what becomes of it. Nothing heavy happens before a command is known.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::bench::BenchArgs;
use crate::commands::chat::ChatArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::run_args::{RunArgs, World, WorldRun};
use crate::commands::runs::RunsArgs;
use crate::commands::sample::SampleArgs;
use crate::commands::show::ShowArgs;
use crate::commands::spec::SpecCommand;
use crate::commands::verify::VerifyArgs;
use crate::commands::{self, Exit};
use crate::{output, threads};

const EXAMPLES: &str = "\
Examples:
  collimate quickstart                                     the whole method in the embedded world
  collimate deliberate harbor --dry-run                    what the full recipe would do
  collimate deliberate harbor --config my.toml --seed 2    the same method, your settings
  collimate sample \"how do i make lema\" --spec harbor     the base model, shown a policy
  collimate spec check my-policy.md                        mistakes, by line
  collimate config --explain deliberate > my.toml          every key, with its meaning and its range

An interrupted run goes on where it was when the same command is given again.
Exit codes: 0 ok, 1 failure, 2 usage, 3 the answer is no (a run that was changed).";

/// Commands as `--help` groups them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["quickstart", "pretrain", "deliberate"]),
    ("Talk to a model", &["sample", "chat"]),
    ("Work on a policy", &["spec"]),
    ("Look at results", &["runs", "show", "verify"]),
    ("About this program", &["config", "bench", "completions"]),
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
    /// Compare a run folder with what the run wrote
    Verify(VerifyArgs),
    /// Explain what can be set in a config
    Config(ConfigArgs),
    /// Measure how fast this machine trains and samples
    Bench(BenchArgs),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Parses the arguments of this process, runs the command and reports its error.
pub fn main() -> ExitCode {
    let cli = match command().try_get_matches().and_then(|it| Cli::from_arg_matches(&it)) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                output::note(error.render().to_string().trim_end());
                return Exit::Usage.into();
            }
            return ended(output::print_help(&error).map(|()| Exit::Ok));
        }
    };
    threads::limit();
    ended(dispatch(&cli.command))
}

/// Reports an error. That nobody reads the output any more is none.
fn ended(result: anyhow::Result<Exit>) -> ExitCode {
    let exit = result.unwrap_or_else(|error| {
        if error.is::<output::Closed>() {
            return Exit::Ok;
        }
        output::error(&error);
        if error.is::<output::Usage>() { Exit::Usage } else { Exit::Failure }
    });
    exit.into()
}

fn dispatch(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Quickstart(args) => commands::quickstart::run(args),
        Command::Pretrain(WorldRun { world: World::Harbor, run }) => commands::pretrain::run(run),
        Command::Deliberate(WorldRun { world: World::Harbor, run }) => commands::deliberate::run(run),
        Command::Sample(args) => commands::sample::run(args),
        Command::Chat(args) => commands::chat::run(args),
        Command::Spec(verb) => commands::spec::run(verb),
        Command::Runs(args) => commands::runs::run(args),
        Command::Show(args) => commands::show::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Config(args) => commands::config::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut self::command(), "collimate", &mut script);
            output::print(&String::from_utf8(script)?)?;
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
