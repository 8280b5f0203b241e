//! The command of the simulation: runs seeds, each in a process of its own, and says which fail.
//!
//! A process for each seed, because what is random by default (hash maps, tokio's choice among those who wait) counts from the
//! start of the process: a seed alone and a seed among thousands are the same then.

mod command;
mod entropy;

use std::process::ExitCode;

use clap::Parser;

fn main() -> anyhow::Result<ExitCode> {
    let args = command::Args::parse();
    Ok(if args.run()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
