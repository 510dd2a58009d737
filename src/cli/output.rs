//! How answers are printed: as a table for people, as JSON or YAML for programs.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use comfy_table::{Table, presets};
use serde_json::Value;

use super::Failure;

/// The `-o` flag.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// The API's own answer
    Json,
    /// The API's own answer, as YAML
    Yaml,
}

impl Output {
    /// Prints the answer itself, or what `table` makes of it.
    pub(super) fn print(
        self,
        answer: &Value,
        table: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Table => say(table(answer).trim_end()),
            Self::Json => say(serde_json::to_string_pretty(answer)?),
            Self::Yaml => say(serde_saphyr::to_string(answer)?.trim_end()),
        }
    }
}

/// Prints a line. Whoever reads may have seen enough and gone (`synod history | head -1`): that fails nothing.
pub(super) fn say(line: impl Display) -> Result<(), Failure> {
    tell(line).map(drop)
}

/// Prints a line, and says whether anybody still reads.
pub(super) fn tell(line: impl Display) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Rows under a heading, aligned, without rules; `none` where there are no rows.
pub(super) fn table(heading: &[&str], rows: Vec<Vec<String>>, none: &str) -> String {
    if rows.is_empty() {
        return none.into();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading.to_vec());
    table.add_rows(rows);
    let text = table.to_string();
    text.lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect()
}

/// A value as a table's cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// What somebody else wrote, so that it steers no terminal and stays on its line.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            printable.extend(letter.escape_default());
        } else {
            printable.push(letter);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_steers_no_terminal_and_stays_on_its_line() {
        let content = Value::from("\u{1b}[2Jgone\nsecond\u{9b}31m, größer");
        assert_eq!(cell(&content), r"\u{1b}[2Jgone\nsecond\u{9b}31m, größer");
    }
}
