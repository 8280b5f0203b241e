//! How answers are shown: tables for people, JSON for programs.
//!
//! Text of others (titles, names, messages) never steers the terminal: all of it goes through [`plain`].

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::Failure;

/// A page, a list or one object as a table of some of its fields, or all of it as JSON.
///
/// # Errors
/// [`Failure::Output`].
pub fn show(value: &Value, columns: &[&str], json: bool) -> Result<(), Failure> {
    if json {
        return pretty(value);
    }
    let rows = value["items"].as_array().or(value.as_array());
    let rows = rows.map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let cells = |row: &Value| columns.iter().map(|column| cell(&row[*column])).collect();
    table(columns, rows.iter().map(cells))
}

/// A table.
///
/// # Errors
/// [`Failure::Output`].
pub fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = comfy_table::Table::new();
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}

/// JSON over several lines.
///
/// # Errors
/// [`Failure::Output`].
pub fn pretty(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// JSON on one line.
///
/// # Errors
/// [`Failure::Output`].
pub fn line(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// A value in one cell.
#[must_use]
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Text without control characters, and without those that change the direction of what follows.
#[must_use]
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// A length of time in milliseconds, for people: `0.4s`, `12s`, `3m05s`, `2h07m`.
#[must_use]
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A line for people beside the output: what goes on, and what is missing.
pub fn say(text: &str) {
    eprintln!("troupe: {}", plain(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_replaced() {
        let nasty = "a\u{1b}[31m\u{7}\u{9b}2J\u{202e}b\n\u{2066}ü";
        assert_eq!(plain(nasty), "a\u{fffd}[31m\u{fffd}\u{fffd}2J\u{fffd}b\u{fffd}\u{fffd}ü");
        let nested = serde_json::json!([nasty, null, 3]);
        assert_eq!(cell(&nested), format!("{},-,3", plain(nasty)));
    }

    #[test]
    fn durations_are_short_at_every_size() {
        let shown = [0, 1_449, 9_999, 10_000, 59_999, 60_000, 185_000, 7_620_000].map(duration);
        assert_eq!(shown, ["0.0s", "1.4s", "9.9s", "10s", "59s", "1m00s", "3m05s", "2h07m"]);
    }
}
