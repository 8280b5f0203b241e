//! Workflow files to runs: a declared subset of the GitHub Actions language, read exactly; everything else is refused
//! with file, line and column.
//!
//! Pure, and usable by itself. Must not know how files are fetched, how specifications are encoded, where jobs run.

mod check;
mod expand;
pub mod expression;
mod extension;
mod filter;
mod read;
mod yaml;

use std::fmt;

pub use expand::{Mint, expand};
pub use extension::check_artifacts;
pub use filter::{Filter, InvalidPattern};
pub use read::{Job, Trigger, Workflow, lint};

/// Something in a file that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostic {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What was found, what is allowed.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}
