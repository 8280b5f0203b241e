//! `troupe submit`: an ad hoc job, and with `--follow` its output and outcome.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;

use super::events::Events;
use super::follow::{Patience, aloud};
use super::{Client, Failure, logs, table};
use crate::api::dto::{RunMade, Submit};

/// `troupe submit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell script; `-` reads it from the standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    script: Option<String>,
    /// Reads the script from a file; `-` is the standard input.
    #[arg(long, short)]
    file: Option<PathBuf>,
    /// Name, for people.
    #[arg(long, default_value = "")]
    name: String,
    /// Container image.
    #[arg(long, default_value = "")]
    image: String,
    /// NAME=VALUE.
    #[arg(long, value_parser = pair)]
    env: Vec<(String, String)>,
    /// Labels that a node must have.
    #[arg(long)]
    label: Vec<String>,
    /// Thousandths of a cpu.
    #[arg(long, default_value_t = 1000)]
    cpu_millis: u32,
    /// MiB of memory.
    #[arg(long, default_value_t = 512)]
    memory_mib: u32,
    /// -100 to 100, higher first.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    priority: i8,
    /// Limit in seconds.
    #[arg(long, default_value_t = 3600)]
    timeout: u32,
    /// Globs of files to keep.
    #[arg(long)]
    artifact: Vec<String>,
    /// The same key again gives the same run.
    #[arg(long)]
    key: Option<String>,
    /// Writes the job's output as it comes; the exit code is 1 when the job did not succeed.
    #[arg(long)]
    follow: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, args: Args, json: bool) -> Result<u8, Failure> {
    let script = match (args.script, args.file) {
        (Some(script), _) if script != "-" => script,
        (_, file) => text_of(&file.unwrap_or_else(|| "-".into()))?,
    };
    let body = Submit {
        name: args.name,
        image: args.image,
        script,
        env: args.env.into_iter().collect(),
        labels: args.label,
        cpu_millis: args.cpu_millis,
        memory_mib: args.memory_mib,
        priority: args.priority,
        timeout_seconds: args.timeout,
        artifacts: args.artifact,
    };
    let key = args.key.as_deref();
    let with = |request: reqwest::RequestBuilder| match key {
        Some(key) => request.json(&body).header("idempotency-key", key),
        None => request.json(&body),
    };
    let answer: Value = client.read(client.send(Method::POST, "/v1/runs", with).await?).await?;
    if !args.follow {
        table::show(&answer, &["id", "number", "duplicate"], json)?;
        return Ok(0);
    }
    let made: RunMade = serde_json::from_value(answer).map_err(|error| client.bad(error.to_string()))?;
    let id = made.id.parse().map_err(|error: domain::ParseIdError| client.bad(error.to_string()))?;
    table::say(&format!("run {id}"));
    let view = Events::of_new(client, id, Patience::default(), aloud()).next().await?;
    logs::follow_run(client, id, &view, json).await
}

/// A file's bytes; `-` is the standard input.
///
/// # Errors
/// [`Failure::Input`].
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = || {
        if path != Path::new("-") {
            return std::fs::read(path);
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    };
    read().map_err(|source| Failure::Input { path: path.to_owned(), source })
}

fn text_of(path: &Path) -> Result<String, Failure> {
    String::from_utf8(bytes_of(path)?).map_err(|error| Failure::Input {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()),
    })
}
