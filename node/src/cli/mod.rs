//! The command line: one file per family of commands, exit codes as in docs/cli.md.
//!
//! Must not know how the server works: everything but `node`, `config` and `ca` goes through the HTTP API.

mod client;
mod local;
mod remote;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use client::Client;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API refused.
    #[error("{0}")]
    Problem(#[from] crate::api::Problem),
    /// No answer.
    #[error("cannot reach {addr}: {why}; is the node running? (--addr, TROUPE_ADDR)")]
    Unreachable {
        /// Which address.
        addr: String,
        /// The library's words.
        why: String,
    },
    /// An answer that makes no sense.
    #[error("{addr} answered something that is not Troupe's API: {why}")]
    BadAnswer {
        /// Which address.
        addr: String,
        /// What is wrong.
        why: String,
    },
    /// Configuration.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// Telemetry.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::Error),
    /// The node did not start.
    #[error(transparent)]
    Server(#[from] crate::server::Error),
    /// Certificates.
    #[error(transparent)]
    Links(#[from] links::Error),
    /// Writing out.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.code.exit_code(),
            Self::Unreachable { .. } | Self::BadAnswer { .. } => 5,
            Self::Config(_) => 2,
            Self::Telemetry(_) | Self::Server(_) | Self::Links(_) | Self::Output(_) => 6,
        }
    }
}

/// Runs builds on a cluster of identical nodes.
#[derive(Debug, Parser)]
#[command(name = "troupe", version, arg_required_else_help = true)]
pub struct Cli {
    /// The API of any node.
    #[arg(long, env = "TROUPE_ADDR", default_value = "http://127.0.0.1:7070", global = true)]
    addr: String,
    /// An API token.
    #[arg(long, env = "TROUPE_TOKEN", default_value = "", hide_env_values = true, global = true)]
    token: String,
    /// JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node until SIGTERM or SIGINT.
    Node {
        /// Its configuration.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// The node's configuration.
    #[command(subcommand)]
    Config(local::ConfigCommand),
    /// The cluster's certificate authority.
    #[command(subcommand)]
    Ca(local::CaCommand),
    /// Completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Remote(remote::Command),
}

/// Runs the command of this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("troupe: cannot start: {error}");
            return ExitCode::from(6);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("troupe: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Node { config } => local::node(config.as_deref()).await?,
        Command::Config(command) => local::config(&command)?,
        Command::Ca(command) => local::ca(&command)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "troupe", &mut std::io::stdout());
        }
        Command::Remote(command) => {
            let client = Client::new(&cli.addr, &cli.token);
            return remote::run(&client, command, cli.json).await;
        }
    }
    Ok(0)
}
