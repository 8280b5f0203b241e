//! Where output goes: as it is, safe for a terminal, or as JSON.
//!
//! Must not know where output comes from.

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::AttemptId;
use serde_json::json;

use super::super::{Failure, table};
use super::screen::Screen;

/// Takes output of attempts, in order.
pub trait Sink {
    /// Takes the bytes at an offset of an attempt's output.
    ///
    /// # Errors
    /// [`Failure::Output`].
    fn put(&self, attempt: AttemptId, offset: u64, bytes: &[u8]) -> Result<(), Failure>;

    /// Something else is written next.
    ///
    /// # Errors
    /// [`Failure::Output`].
    fn end(&self) -> Result<(), Failure>;
}

/// The standard output: bytes as they are (but to a terminal, unless `raw`, only what does not steer it), or with `json` one
/// object per piece.
#[must_use]
pub fn standard(json: bool, raw: bool) -> Box<dyn Sink> {
    match () {
        () if json => Box::new(Pieces),
        () if !raw && std::io::stdout().is_terminal() => Box::new(Terminal::default()),
        () => Box::new(Bytes),
    }
}

struct Pieces;

impl Sink for Pieces {
    fn put(&self, attempt: AttemptId, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut piece = json!({ "attempt": attempt.to_string(), "offset": offset });
        match std::str::from_utf8(bytes) {
            Ok(text) => piece["text"] = text.into(),
            Err(_) => piece["base64"] = STANDARD.encode(bytes).into(),
        }
        table::line(&piece)
    }

    fn end(&self) -> Result<(), Failure> {
        Ok(())
    }
}

struct Bytes;

impl Sink for Bytes {
    fn put(&self, _: AttemptId, _: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    fn end(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[derive(Default)]
struct Terminal {
    screen: RefCell<Screen>,
}

impl Sink for Terminal {
    fn put(&self, _: AttemptId, _: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(self.screen.borrow_mut().push(bytes).as_bytes())?;
        Ok(out.flush()?)
    }

    fn end(&self) -> Result<(), Failure> {
        let rest = self.screen.borrow_mut().end();
        Ok(std::io::stdout().write_all(rest.as_bytes())?)
    }
}
