//! The command line: one file per family of commands, exit codes as in docs/cli.md.
//!
//! Must not know how the server works: everything but `node`, `config`, `ca`, `workflow run` and `cluster recover` goes through the HTTP API.

mod artifacts;
mod bench;
mod caches;
mod client;
mod cluster;
mod dispatches;
mod drain;
mod environments;
mod events;
mod failure;
mod follow;
mod jobs;
mod join;
mod lint;
mod live;
mod local;
mod logs;
mod nodes;
mod pages;
mod plan;
mod recover;
mod repos;
mod reseed;
mod run;
mod runs;
mod secrets;
mod span;
mod sse;
mod submit;
mod table;
mod target;
mod tokens;
mod told;
mod variables;
mod watch;
mod workflows;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use client::Client;
pub use failure::Failure;

/// Where options of every command stand in the help: after the command's own.
const EVERYWHERE: &str = "Options of every command";

/// Runs builds on a cluster of identical nodes.
#[derive(Debug, Parser)]
#[command(name = "troupe", bin_name = "troupe", version, arg_required_else_help = true)]
pub struct Cli {
    /// Addresses of nodes, divided by commas: the next is asked when one cannot be reached [default:
    /// http://127.0.0.1:7070].
    #[arg(
        long,
        value_name = "URL",
        env = "TROUPE_ADDR",
        hide_env_values = true,
        value_delimiter = ',',
        global = true,
        help_heading = EVERYWHERE,
        display_order = 900
    )]
    addr: Vec<String>,
    /// An API token; as a variable, it does not show in the list of processes.
    #[arg(
        long,
        env = "TROUPE_TOKEN",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true,
        global = true,
        help_heading = EVERYWHERE,
        display_order = 901
    )]
    token: String,
    /// JSON instead of tables and sentences.
    #[arg(long, global = true, help_heading = EVERYWHERE, display_order = 902)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node until SIGTERM or SIGINT.
    Node {
        /// Its configuration; without one, defaults and environment alone.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Joins a cluster first, with a token of `troupe token create NAME --right join`; as a variable, it does not show in
        /// the list of processes.
        #[arg(long, value_name = "TOKEN", env = "TROUPE_JOIN", hide_env_values = true)]
        join: Option<raft_store::Ticket>,
    },
    /// The node's configuration.
    #[command(subcommand)]
    Config(local::ConfigCommand),
    /// The cluster's certificate authority.
    #[command(subcommand)]
    Ca(local::CaCommand),
    /// Prints completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Workflow files.
    #[command(subcommand)]
    Workflow(workflows::Command),
    #[command(flatten)]
    Remote(Box<Remote>),
}

/// Commands that ask a node.
#[derive(Debug, Subcommand)]
enum Remote {
    /// Submits an ad hoc job.
    Submit(submit::Args),
    /// Runs, newest first.
    Runs(runs::List),
    /// One run.
    #[command(subcommand)]
    Run(runs::Command),
    /// Jobs, newest first.
    Jobs(jobs::List),
    /// One job.
    #[command(subcommand)]
    Job(jobs::Command),
    /// What jobs wrote.
    Logs(logs::Args),
    /// Files that an attempt kept.
    Artifacts(artifacts::Args),
    /// Nodes, and what each does.
    Nodes,
    /// Stops (or with --off allows) new placements on a node.
    Drain(drain::Args),
    /// Repositories.
    #[command(subcommand)]
    Repo(repos::Command),
    /// Secrets of repositories.
    #[command(subcommand)]
    Secret(secrets::Command),
    /// Variables of repositories: no secrets.
    #[command(subcommand)]
    Variable(variables::Command),
    /// Environments of repositories: what jobs are done for, and whether somebody approves that.
    #[command(subcommand)]
    Environment(environments::Command),
    /// Caches that jobs keep.
    #[command(subcommand)]
    Cache(caches::Command),
    /// Runs a workflow by hand, and prints the delivery's id.
    Dispatch {
        /// The repository's name.
        repo: domain::RepoName,
        /// The workflow's path in the repository, or its file's name.
        workflow: String,
        /// Branch, tag or full ref.
        #[arg(long, value_name = "REF", default_value = "main")]
        git_ref: String,
        /// An input of the workflow; may be given several times.
        #[arg(long, value_name = "NAME=VALUE", value_parser = dispatches::input)]
        input: Vec<(String, String)>,
    },
    /// Tells a repository of an event: workflows with repository_dispatch run. Prints the delivery's id.
    Event {
        /// The repository's name.
        repo: domain::RepoName,
        /// What happened, as `types` names it.
        event_type: String,
        /// A JSON object that workflows find as github.event.client_payload.
        #[arg(long, value_name = "JSON", default_value = "{}", value_parser = dispatches::object)]
        payload: serde_json::Map<String, serde_json::Value>,
    },
    /// Where a delivery stands, and the runs it became.
    Delivery {
        /// Its id.
        id: domain::DeliveryId,
    },
    /// API tokens.
    #[command(subcommand)]
    Token(tokens::Command),
    /// The cluster as the node that is asked sees it.
    Status,
    /// Members of the cluster.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Measures the cluster beside base lines of this machine.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// What is left to do when all is done may take so long.
const WIND_UP: std::time::Duration = std::time::Duration::from_secs(1);

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
    let ended = runtime.block_on(run(cli));
    // Before the last words: nobody logs anything after them.
    runtime.shutdown_timeout(WIND_UP);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // Whoever reads no further knows why.
            if !failure.is_unheard() {
                table::say(&failure.to_string());
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Node { config, join } => local::node(config.as_deref(), join.as_ref()).await?,
        Command::Config(command) => local::config(&command, cli.json)?,
        Command::Ca(command) => local::ca(&command, cli.json)?,
        Command::Completions { shell } => {
            // The library panics when nobody reads; writing a text does not.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "troupe", &mut text);
            std::io::stdout().write_all(&text)?;
        }
        Command::Workflow(command) => return workflows::run(command, cli.json).await,
        Command::Remote(command) => {
            let client = Client::new(&cli.addr, &cli.token)?;
            return remote(&client, *command, cli.json).await;
        }
    }
    Ok(0)
}

async fn remote(client: &Client, command: Remote, json: bool) -> Result<u8, Failure> {
    match command {
        Remote::Submit(args) => submit::run(client, args, json).await,
        Remote::Runs(what) => runs::list(client, &what, json).await,
        Remote::Run(command) => runs::run(client, command, json).await,
        Remote::Jobs(what) => jobs::list(client, &what, json).await,
        Remote::Job(command) => jobs::run(client, &command, json).await,
        Remote::Logs(args) => logs::run(client, &args, json).await,
        Remote::Artifacts(args) => artifacts::run(client, &args, json).await,
        Remote::Nodes => nodes::list(client, json).await,
        Remote::Drain(args) => drain::run(client, &args, json).await,
        Remote::Repo(command) => repos::run(client, command, json).await,
        Remote::Secret(command) => secrets::run(client, command, json).await,
        Remote::Variable(command) => variables::run(client, command, json).await,
        Remote::Environment(command) => environments::run(client, command, json).await,
        Remote::Cache(command) => caches::run(client, command, json).await,
        Remote::Dispatch { repo, workflow, git_ref, input } => {
            dispatches::dispatch(client, &repo, (workflow, git_ref, input), json).await
        }
        Remote::Event { repo, event_type, payload } => {
            dispatches::event(client, &repo, (event_type, payload), json).await
        }
        Remote::Delivery { id } => repos::delivery(client, id, json).await,
        Remote::Token(command) => tokens::run(client, command, json).await,
        Remote::Status => nodes::status(client, json).await,
        Remote::Cluster(command) => cluster::run(client, command, json).await,
        Remote::Bench(command) => bench::run(client, command, json).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/cli.md");

    /// Every command and its own options, as in `run show` and `--steps`.
    fn walk(path: &str, command: &clap::Command, missing: &mut Vec<String>) {
        for option in command.get_arguments().filter(|option| !option.is_global_set()) {
            let long = option.get_long().map(|long| format!("--{long}"));
            missing.extend(long.filter(|long| !PAGE.contains(long)).map(|long| format!("{path} {long}")));
        }
        for child in command.get_subcommands() {
            let path = format!("{path} {}", child.get_name());
            let path = path.trim_start();
            let known = PAGE.contains(&format!("`{path}`")) || PAGE.contains(&format!("`{path} "));
            if !known && !child.has_subcommands() {
                missing.push(path.to_owned());
            }
            walk(path, child, missing);
        }
    }

    #[test]
    fn the_page_about_the_command_line_has_every_command_and_option() {
        let mut missing = Vec::new();
        walk("", &Cli::command(), &mut missing);
        assert_eq!(missing, Vec::<String>::new(), "docs/cli.md does not tell of these");
    }

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
