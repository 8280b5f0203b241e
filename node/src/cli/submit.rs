//! `troupe submit`: an ad hoc job, and with `--follow` its output and outcome.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::events::Events;
use super::follow::{Patience, aloud};
use super::span::short_seconds;
use super::{Client, Failure, logs, runs, table};
use crate::api::dto::{RunMade, Submit};

/// `troupe submit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell script; `-` reads it from the standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    script: Option<String>,
    /// Reads the script from a file; `-` is the standard input.
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Name, for people.
    #[arg(long, default_value = "ad hoc")]
    name: String,
    /// Container image; the node's default, unless given.
    #[arg(long, default_value = "", hide_default_value = true)]
    image: String,
    /// A variable of the script's environment; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A label that the node must have; may be given several times.
    #[arg(long)]
    label: Vec<String>,
    /// Thousandths of a cpu, 100 to 256000.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    cpu_millis: u32,
    /// MiB of memory, from 16.
    #[arg(long, value_name = "N", default_value_t = 512)]
    memory_mib: u32,
    /// -100 to 100, higher first.
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true,
        value_parser = clap::value_parser!(i8).range(-100..=100))]
    priority: i8,
    /// How long it may run, in seconds or as in 90s, 30m, 12h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = short_seconds)]
    timeout: u32,
    /// A pattern of files to keep; may be given several times.
    #[arg(long, value_name = "GLOB")]
    artifact: Vec<String>,
    /// The same key again within 24 hours gives the same run.
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
    // A key of our own makes it safe to ask the next node when one does not answer.
    let key = args.key.unwrap_or_else(|| format!("troupe-{:032x}", rand::random::<u128>()));
    let response = client.post_once("/v1/runs", &key, |request| request.json(&body)).await?;
    let answer: Value = client.read(response).await?;
    if !args.follow {
        runs::made(client, answer, json)?;
        return Ok(0);
    }
    let made: RunMade = client.take(answer)?;
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
