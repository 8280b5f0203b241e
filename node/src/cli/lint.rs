//! `troupe workflow lint`: what a node would refuse in workflow files, found without a node.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::submit::bytes_of;
use super::{Failure, table};

/// `troupe workflow`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints `file:line:column: message` for everything that is wrong; the exit code is 2 when anything is.
    Lint {
        /// Workflow files; `-` is the standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// [`Failure::Input`], [`Failure::Output`].
pub fn run(command: &Command, json: bool) -> Result<u8, Failure> {
    let Command::Lint { files } = command;
    let (mut found, mut out) = (Vec::new(), std::io::stdout());
    for path in files {
        let file = path.display().to_string();
        for wrong in workflow::lint(&bytes_of(path)?).err().unwrap_or_default() {
            if !json {
                writeln!(out, "{}:{}", table::plain(&file), table::plain(&wrong.to_string()))?;
            }
            found.push(json!({ "file": file, "line": wrong.line, "column": wrong.column,
                "message": wrong.message }));
        }
    }
    if json {
        table::pretty(&found)?;
    }
    Ok(if found.is_empty() { 0 } else { 2 })
}
