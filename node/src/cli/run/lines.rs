//! Output of several jobs on one stream: whole lines, each with its job's name in front.
//!
//! Must not know where output comes from.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write};

use domain::AttemptId;

use super::super::logs::screen::Screen;
use super::super::logs::sink::Sink;
use super::super::{Failure, table};

/// A line longer than this is written in parts.
const MAX_LINE: usize = 64 * 1024;
/// The widest name in front; longer ones stand out.
const MAX_WIDTH: usize = 32;
/// Colours of names, in turn: cyan, green, yellow, blue, magenta.
const COLOURS: [u8; 5] = [36, 32, 33, 34, 35];

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The standard output.
    Out,
    /// The standard error: the standard output is for programs.
    Error,
}

impl To {
    fn stream(self) -> Box<dyn Write> {
        match self {
            Self::Out => Box::new(std::io::stdout()),
            Self::Error => Box::new(std::io::stderr()),
        }
    }

    fn is_terminal(self) -> bool {
        match self {
            Self::Out => std::io::stdout().is_terminal(),
            Self::Error => std::io::stderr().is_terminal(),
        }
    }
}

/// The lines of one job.
pub struct Lines {
    to: To,
    terminal: bool,
    before: String,
    rest: RefCell<Vec<u8>>,
}

impl Lines {
    /// Of the job of this name, the `nth` of its run; names are as wide as `width`, so that lines begin below each other.
    #[must_use]
    pub fn new(to: To, name: &str, nth: usize, width: usize) -> Self {
        let (name, width, terminal) = (table::plain(name), width.min(MAX_WIDTH), to.is_terminal());
        let before = match terminal {
            true => format!("\u{1b}[{}m{name:width$} |\u{1b}[0m ", COLOURS[nth % COLOURS.len()]),
            false => format!("{name:width$} | "),
        };
        Self { to, terminal, before, rest: RefCell::default() }
    }

    fn line(&self, line: &[u8]) -> Result<(), Failure> {
        let mut whole = self.before.clone().into_bytes();
        if self.terminal {
            whole.extend_from_slice(on_terminal(line).as_bytes());
        } else {
            whole.extend_from_slice(line);
        }
        whole.push(b'\n');
        let mut out = self.to.stream();
        out.write_all(&whole)?;
        Ok(out.flush()?)
    }
}

impl Sink for Lines {
    fn put(&self, _: AttemptId, _: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = self.rest.borrow_mut();
        rest.extend_from_slice(bytes);
        take_lines(&mut rest, |line| self.line(line))
    }

    fn end(&self) -> Result<(), Failure> {
        let rest = std::mem::take(&mut *self.rest.borrow_mut());
        if rest.is_empty() { Ok(()) } else { self.line(&rest) }
    }
}

/// Takes what is whole: lines, and parts of those that are too long.
fn take_lines(rest: &mut Vec<u8>, mut each: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut begin = 0;
    loop {
        let left = &rest[begin..];
        let part = &left[..left.len().min(MAX_LINE)];
        match part.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                each(&part[..end])?;
                begin += end + 1;
            }
            None if part.len() == MAX_LINE => {
                each(part)?;
                begin += MAX_LINE;
            }
            None => break,
        }
    }
    rest.drain(..begin);
    Ok(())
}

/// A line as a terminal may have it: without what steers it, and without what was overwritten.
fn on_terminal(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut screen = Screen::default();
    let mut text = screen.push(line);
    text.push_str(screen.end().trim_end_matches('\n'));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut_and_none_is_endless() {
        let long = "x".repeat(MAX_LINE + 1);
        let text = format!("one\n\n{long}\nlast");
        for size in [1, 7, 4096, text.len()] {
            let (mut rest, mut found) = (Vec::new(), Vec::new());
            for part in text.as_bytes().chunks(size) {
                rest.extend_from_slice(part);
                take_lines(&mut rest, |line| {
                    found.push(line.len());
                    Ok(())
                })
                .unwrap();
            }
            assert_eq!(found, [3, 0, MAX_LINE, 1], "in pieces of {size} bytes");
            assert_eq!(rest, b"last");
        }
    }

    #[test]
    fn a_terminal_is_not_steered_and_shows_what_was_written_last() {
        for (line, expected) in [
            ("plain\r", "plain"),
            ("10%\r50%\r100%", "100%"),
            ("\u{1b}[2Jgone", "gone"),
            ("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m"),
        ] {
            assert_eq!(on_terminal(line.as_bytes()), expected, "{line:?}");
        }
    }
}
