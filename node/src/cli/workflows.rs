//! `troupe workflow`: what can be known of workflow files, and done with them, without a cluster.

use std::path::PathBuf;

use clap::Subcommand;

use super::lint::{self, Format};
use super::{Failure, dispatches, plan};

/// `troupe workflow`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints everything that is wrong, with its place; the exit code is 2 when anything is.
    Lint {
        /// Workflow files; `-` is the standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How it is printed; `--json` is the same as `--format json`.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Shows the jobs that an event makes of a workflow, what is skipped, and why; the exit code is 2 when the file is wrong.
    Plan {
        /// The workflow file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What happened: a forge's payload of a push or pull request, or a JSON object with `event`, `ref`, `sha`, `before`, `actor`, `base_ref`,
        /// `changed` (paths) and `payload`. Without it, a push to main.
        #[arg(long, value_name = "EVENT.json")]
        event: Option<PathBuf>,
        /// A variable that the workflow finds as vars.NAME; may be given several times.
        #[arg(long, value_name = "NAME=VALUE", value_parser = dispatches::input)]
        var: Vec<(String, String)>,
    },
    /// Runs it on this machine's Docker, without a cluster, with the working tree as it is; the exit code is 1 when the run did not
    /// succeed, 2 when the file is wrong.
    Run(Box<super::run::Args>),
}

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Lint { files, format } => lint::run(&files, if json { Format::Json } else { format }),
        Command::Plan { file, event, var } => plan::run(&file, event.as_deref(), var, json),
        Command::Run(args) => super::run::run(*args, json).await,
    }
}
