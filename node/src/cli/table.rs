//! How answers are shown: tables and fields for people, JSON for programs.
//!
//! Text of others (titles, names, messages) never steers the terminal: all of it goes through [`plain`].

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::Failure;

/// A table without lines: columns two spaces apart, under headings in capitals.
///
/// # Errors
/// [`Failure::Output`].
pub fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// One thing: a line per field, `name: value`; those without a value are left out.
///
/// # Errors
/// [`Failure::Output`].
pub fn fields(fields: &[(&str, String)]) -> Result<(), Failure> {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for (name, value) in shown() {
        for (at, line) in value.lines().enumerate() {
            let name = if at == 0 { format!("{name}:") } else { String::new() };
            writeln!(out, "{name:width$}  {}", plain(line))?;
        }
    }
    Ok(())
}

/// A line of output: a sentence, or an id for programs to take.
///
/// # Errors
/// [`Failure::Output`].
pub fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", plain(text))?;
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

/// True for what would steer a terminal: control characters, and those that change the direction of what follows.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text on one line, without anything that steers a terminal.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Text, or `-` for none.
#[must_use]
pub fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// How long ago something was, for people; `-` for what has not been.
#[must_use]
pub fn age(at: Option<u64>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| duration(now().saturating_sub(at)))
}

/// How long something took, or has taken until now; `-` for what has not begun.
#[must_use]
pub fn took(from: Option<u64>, to: Option<u64>) -> String {
    from.map_or_else(|| "-".to_owned(), |from| duration(to.unwrap_or_else(now).saturating_sub(from)))
}

/// A length of time in milliseconds, for people: `0.4s`, `12s`, `3m05s`, `2h07m`, `5d03h`.
#[must_use]
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// Words for people beside the output: what goes on, and what is missing. Further lines are set in. Where nobody reads any more, as
/// after the terminal is gone, they are lost.
pub fn say(text: &str) {
    let mut people = std::io::stderr();
    for (at, line) in text.lines().enumerate() {
        let begin = if at == 0 { "troupe: " } else { "  " };
        let _unread = writeln!(people, "{begin}{}", plain(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_replaced() {
        let nasty = "a\u{1b}[31m\u{7}\u{9b}2J\u{202e}b\n\u{2066}ü";
        assert_eq!(plain(nasty), "a\u{fffd}[31m\u{fffd}\u{fffd}2J\u{fffd}b\u{fffd}\u{fffd}ü");
    }

    #[test]
    fn durations_are_short_at_every_size() {
        let shown = [0, 1_449, 9_999, 10_000, 59_999, 60_000, 185_000, 7_620_000, 442_800_000].map(duration);
        assert_eq!(shown, ["0.0s", "1.4s", "9.9s", "10s", "59s", "1m00s", "3m05s", "2h07m", "5d03h"]);
    }
}
