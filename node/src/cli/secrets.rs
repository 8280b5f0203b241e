//! `troupe secret`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use domain::RepoName;
use reqwest::Method;
use serde_json::json;

use super::client::escaped;
use super::repos::at;
use super::{Client, Failure, table};
use crate::api::dto::{MAX_SECRET_BYTES, PutSecret, SecretNames};

/// `troupe secret`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stores a secret for a repository's jobs, or another value of it; it is read from standard input unless a file is named.
    Set {
        /// The repository's name.
        repo: RepoName,
        /// The secret's name: upper-case letters, digits and _.
        name: String,
        /// File with the value. The end of its last line is no part of it.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Names of a repository's secrets.
    List {
        /// The repository's name.
        repo: RepoName,
    },
    /// Removes a secret.
    Remove {
        /// The repository's name.
        repo: RepoName,
        /// The secret's name.
        name: String,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Set { repo, name, from_file } => {
            let value = match from_file {
                Some(path) => value_in(&path)?,
                None => value_of(std::io::stdin(), Path::new("-"))?,
            };
            let answer = client.call(Method::PUT, &path(&repo, &name), &PutSecret { value }).await?;
            let done = if answer["existed"] == true { "has another value" } else { "is stored" };
            client.told(&answer, &format!("the secret {name} of {repo} {done}"), json)?;
        }
        Command::List { repo } => {
            let answer: serde_json::Value = client.get(&format!("{}/secrets", at(&repo))).await?;
            if json {
                table::pretty(&answer)?;
                return Ok(0);
            }
            let SecretNames { names } = client.take(answer)?;
            for name in names {
                table::print(&name)?;
            }
        }
        Command::Remove { repo, name } => {
            let answer = client.call(Method::DELETE, &path(&repo, &name), &json!({})).await?;
            client.told(&answer, &format!("the secret {name} of {repo} is removed"), json)?;
        }
    }
    Ok(0)
}

/// What a file holds, without the end of its last line, as everybody's editors write one.
pub(super) fn value_in(path: &Path) -> Result<String, Failure> {
    let file = std::fs::File::open(path);
    value_of(file.map_err(|source| Failure::Input { path: path.to_owned(), source })?, path)
}

fn value_of(from: impl Read, path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    // Some more than is allowed, with the end of the line: the API says what the limit is.
    let most = MAX_SECRET_BYTES as u64 + 3;
    let read = from.take(most).read_to_string(&mut text);
    read.map_err(|source| Failure::Input { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn path(repo: &RepoName, name: &str) -> String {
    format!("{}/secrets/{}", at(repo), escaped(name))
}
