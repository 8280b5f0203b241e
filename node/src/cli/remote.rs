//! Commands that ask a node's API, and how their answers are shown.
//!
//! Must not know the server's internals.

use std::io::Write as _;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, Failure};
use crate::api::dto::TokenRight;

/// Commands of the client.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submits an ad hoc job.
    Submit {
        /// Shell script.
        script: String,
        /// Container image.
        #[arg(long, default_value = "")]
        image: String,
        /// NAME=VALUE.
        #[arg(long, value_parser = pair)]
        env: Vec<(String, String)>,
        /// Labels that a node must have.
        #[arg(long)]
        label: Vec<String>,
        /// -100 to 100, higher first.
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        priority: i8,
        /// Limit in seconds.
        #[arg(long, default_value_t = 3600)]
        timeout: u32,
        /// The same key again gives the same run.
        #[arg(long)]
        key: Option<String>,
    },
    /// Runs, newest first.
    Runs,
    /// One run.
    #[command(subcommand)]
    Run(RunCommand),
    /// Jobs, newest first.
    Jobs,
    /// Nodes.
    Nodes,
    /// Stops (or with --off allows) new placements on a node.
    Drain {
        /// Name or id.
        node: String,
        /// Allow placements again.
        #[arg(long)]
        off: bool,
    },
    /// Repositories.
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Runs a workflow by hand.
    Dispatch {
        /// The repository's name.
        repo: String,
        /// The workflow's path.
        workflow: String,
        /// Branch or full ref.
        #[arg(long, default_value = "main")]
        git_ref: String,
    },
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The cluster as the node sees it.
    #[command(alias = "cluster")]
    Status,
}

/// `troupe run`.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Shows it with its jobs; the exit code is 1 when it did not succeed.
    Show {
        /// Its id.
        id: String,
    },
    /// Follows it to its end, one line per change; the exit code is 1 when it did not succeed.
    Watch {
        /// Its id.
        id: String,
    },
    /// Ends it.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Repeats it as a new run.
    Rerun {
        /// Its id.
        id: String,
    },
}

/// `troupe repo`.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Registers one, or changes it.
    Add {
        /// Its name.
        name: String,
        /// Where it is cloned from.
        clone_url: String,
        /// Key of its webhooks, 8 to 256 bytes.
        #[arg(long, env = "TROUPE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: String,
        /// Labels added to each of its jobs.
        #[arg(long)]
        label: Vec<String>,
    },
    /// All.
    List,
    /// Removes one; its runs stay.
    Remove {
        /// Its name.
        name: String,
    },
}

/// `troupe token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes one and shows its secret, this once.
    Create {
        /// What it is for.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "read")]
        right: TokenRight,
        /// Seconds until it stops working.
        #[arg(long)]
        expires_in: Option<u64>,
    },
    /// All, without secrets.
    List,
    /// Ends one.
    Revoke {
        /// Its id.
        id: String,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs a command; the answer is the exit code.
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    let (value, columns): (Value, &[&str]) = match command {
        Command::Submit { script, image, env, label, priority, timeout, key } => {
            let env: serde_json::Map<_, _> = env.into_iter().map(|(k, v)| (k, Value::from(v))).collect();
            let body = json!({ "script": script, "image": image, "env": env, "labels": label,
                "priority": priority, "timeout_seconds": timeout });
            let mut request = client.request(Method::POST, "/v1/runs").json(&body);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let made = client.send(request).await?.json::<Value>().await;
            (made.map_err(|error| client.bad(error.to_string()))?, &["id", "number", "duplicate"])
        }
        Command::Runs => {
            (client.get("/v1/runs").await?, &["id", "repo", "number", "name", "event", "outcome", "title"])
        }
        Command::Run(command) => return run_command(client, command, json).await,
        Command::Jobs => {
            (client.get("/v1/jobs").await?, &["id", "key", "state", "outcome", "node", "attempts"])
        }
        Command::Nodes => {
            (client.get("/v1/nodes").await?, &["id", "name", "http_addr", "busy", "slots", "drain", "lost"])
        }
        Command::Drain { node, off } => {
            let path = format!("/v1/nodes/{node}/drain");
            (client.call(Method::POST, &path, &json!({ "drain": !off })).await?, &["drain"])
        }
        Command::Repo(command) => repo(client, command).await?,
        Command::Dispatch { repo, workflow, git_ref } => {
            let body = json!({ "workflow": workflow, "git_ref": git_ref });
            let path = format!("/v1/repos/{repo}/dispatch");
            (client.call(Method::POST, &path, &body).await?, &["delivery", "duplicate"])
        }
        Command::Token(command) => token(client, command).await?,
        Command::Status => {
            (client.get("/v1/cluster").await?, &["id", "leader", "term", "applied", "last_log", "voters"])
        }
    };
    show(&value, columns, json)?;
    Ok(0)
}

async fn run_command(client: &Client, command: RunCommand, json: bool) -> Result<u8, Failure> {
    let (value, columns): (Value, &[&str]) = match command {
        RunCommand::Show { id } => {
            let run = client.get(&format!("/v1/runs/{id}")).await?;
            show(&run, &["id", "number", "name", "outcome", "error"], json)?;
            if !json {
                show(&run["jobs"], &["id", "key", "state", "outcome", "node", "attempts"], json)?;
            }
            let failed = run["outcome"].as_str().is_some_and(|outcome| outcome != "succeeded");
            return Ok(u8::from(failed));
        }
        RunCommand::Watch { id } => return super::watch::run(client, &id, json).await,
        RunCommand::Cancel { id } => {
            (client.call(Method::POST, &format!("/v1/runs/{id}/cancel"), &json!({})).await?, &["cancelling"])
        }
        RunCommand::Rerun { id } => {
            let path = format!("/v1/runs/{id}/rerun");
            (client.call(Method::POST, &path, &json!({})).await?, &["id", "number"])
        }
    };
    show(&value, columns, json)?;
    Ok(0)
}

async fn repo(client: &Client, command: RepoCommand) -> Result<(Value, &'static [&'static str]), Failure> {
    Ok(match command {
        RepoCommand::Add { name, clone_url, secret, label } => {
            let body = json!({ "clone_url": clone_url, "webhook_secret": secret, "labels": label });
            (client.call(Method::PUT, &format!("/v1/repos/{name}"), &body).await?, &["name", "existed"])
        }
        RepoCommand::List => (client.get("/v1/repos").await?, &["name", "clone_url", "labels"]),
        RepoCommand::Remove { name } => {
            (client.call(Method::DELETE, &format!("/v1/repos/{name}"), &json!({})).await?, &["removed"])
        }
    })
}

async fn token(client: &Client, command: TokenCommand) -> Result<(Value, &'static [&'static str]), Failure> {
    Ok(match command {
        TokenCommand::Create { name, right, expires_in } => {
            let body = json!({ "name": name, "right": right, "expires_in_seconds": expires_in });
            (client.call(Method::POST, "/v1/tokens", &body).await?, &["id", "token"])
        }
        TokenCommand::List => (client.get("/v1/tokens").await?, &["id", "name", "right"]),
        TokenCommand::Revoke { id } => {
            (client.call(Method::DELETE, &format!("/v1/tokens/{id}"), &json!({})).await?, &["revoked"])
        }
    })
}

/// A page, a list or one object as a table, or all of it as JSON.
fn show(value: &Value, columns: &[&str], json: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let rows = value["items"].as_array().or(value.as_array());
    let rows = rows.map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let mut table = comfy_table::Table::new();
    table.set_header(columns.iter().map(|c| c.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(&row[*column])));
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// Text of others (titles, names) never steers the terminal.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
