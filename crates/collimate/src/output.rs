//! All printing: results on standard output, everything else on standard error.

use std::io::{ErrorKind, IsTerminal, Write};

use collimate_run::{RunError, finite};
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

/// Whoever read standard output has gone away (`| head`): there is nobody to say more to.
#[derive(Debug)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for Closed {}

/// Prints results; a line break is added if there is none.
///
/// # Errors
/// [`Closed`] if nobody reads any more; whatever else kept it from being written, such as a full disk.
pub fn print(text: &str) -> anyhow::Result<()> {
    write_out(&printable(text))
}

/// As [`print`](fn@print), dimmed on a terminal that shows it.
pub fn print_dimmed(text: &str) -> anyhow::Result<()> {
    let is_shown = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = printable(text);
    write_out(&if is_shown { format!("\x1b[2m{text}\x1b[0m") } else { text })
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    finite(value).map_err(anyhow::Error::msg)?;
    write_out(&escaped(&serde_json::to_string_pretty(value)?))
}

/// Prints a value as one line of JSON.
pub fn print_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    finite(value).map_err(anyhow::Error::msg)?;
    write_out(&escaped(&serde_json::to_string(value)?))
}

/// Prints what clap has to say, with its colours.
pub fn print_help(help: &clap::Error) -> anyhow::Result<()> {
    match help.print().and_then(|()| std::io::stdout().flush()) {
        Ok(()) => Ok(()),
        Err(error) => not_written(error),
    }
}

fn write_out(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(stdout, "{text}{end}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) => not_written(error),
    }
}

fn not_written(error: std::io::Error) -> anyhow::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe => Err(Closed.into()),
        _ => Err(anyhow::Error::new(error).context("cannot write to standard output")),
    }
}

/// Prints a line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
}

/// Prints a prompt on standard error, without a line break.
pub fn ask(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Text that a model or a user wrote, without the characters that could drive a terminal or turn its text around.
fn printable(text: &str) -> String {
    text.chars().map(|it| if drives(it) { char::REPLACEMENT_CHARACTER } else { it }).collect()
}

/// JSON in which those characters are escaped.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for it in json.chars() {
        if drives(it) {
            it.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(it);
        }
    }
    text
}

/// Control characters but for line breaks and tabs; what sets the direction of text; separators and tags that are not seen.
fn drives(it: char) -> bool {
    (it.is_control() && it != '\n' && it != '\t')
        || matches!(it, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
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
    let kind = error.chain().find_map(|it| it.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)?;
    let in_run = error.chain().any(|it| it.is::<RunError>());
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded if in_run => {
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
    fn fault_07_no_text_drives_the_terminal_or_turns_it_around() {
        assert_eq!(printable("a\x1b[2J\u{9b}b\r\nc\td"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\nc\td");
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{e0041}\u{2028}"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        let json = serde_json::json!({"said": "\x1b\u{7f}\u{9b}\u{202e}\u{e0041}e\u{301}"});
        let text = escaped(&json.to_string());
        assert_eq!(text, "{\"said\":\"\\u001b\\u007f\\u009b\\u202e\\udb40\\udc41e\u{301}\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("still JSON"), json);
    }
}
