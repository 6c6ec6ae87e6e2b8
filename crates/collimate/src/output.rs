//! All printing: results on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};

use collimate_run::RunError;
use serde::Serialize;

/// An error of what was typed: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints results; a line break is added if there is none. A reader that has gone away (`| head`) ends the output, not the
/// program.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints a value as one line of JSON.
pub fn print_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value)?);
    Ok(())
}

/// Prints a line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a prompt on standard error, without a line break.
pub fn ask(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// `text` dimmed, if standard output is a terminal that shows it.
pub fn dimmed(text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[2m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Text that a model or a user wrote, without the control characters that could drive a terminal.
pub fn printable(text: &str) -> String {
    let shown = |it: char| if it.is_control() && it != '\n' && it != '\t' { char::REPLACEMENT_CHARACTER } else { it };
    text.chars().map(shown).collect()
}

/// Prints an error: its chain of causes, one line each, and a hint if there is one. A cause that the line above it already
/// tells is left out.
pub fn error(error: &anyhow::Error) {
    let mut lines = vec![format!("error: {error}")];
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if lines.last().is_none_or(|above| !above.contains(&cause)) {
            lines.push(format!("  because: {cause}"));
        }
    }
    lines.extend(hint(error).map(|it| format!("hint: {it}")));
    note(&lines.join("\n"));
}

/// What to do about errors that do not say it themselves.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    let kind = error.chain().find_map(|it| it.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)?;
    let in_run = error.chain().any(|it| it.is::<RunError>());
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("free some space and give the same command again: what was finished is kept")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory if in_run => {
            Some("choose a folder you may write to with --out DIR")
        }
        _ => None,
    }
}

/// Lays out rows in columns, two spaces apart.
pub fn columns(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|it| it.get(column)).map(|it| it.chars().count()).max();
    let widths: Vec<usize> = (0..n_columns).map(|it| width(it).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_output_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[2J\u{9b}b\r\nc\td"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\nc\td");
    }
}
