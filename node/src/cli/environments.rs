//! `troupe environment`.

use clap::Subcommand;
use domain::RepoName;
use reqwest::Method;
use serde_json::json;

use super::client::escaped;
use super::repos::at;
use super::{Client, Failure, table};
use crate::api::dto::{EnvironmentView, PutEnvironment};
use crate::api::page::Page;

/// `troupe environment`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Registers an environment of a repository, or changes it.
    Set {
        /// The repository's name.
        repo: RepoName,
        /// The environment's name, as jobs name it; in capitals or not.
        name: String,
        /// Jobs for it begin once somebody approves them (troupe job approve).
        #[arg(long)]
        approval: bool,
    },
    /// A repository's environments.
    List {
        /// The repository's name.
        repo: RepoName,
    },
    /// Removes an environment; jobs that wait for it begin.
    Remove {
        /// The repository's name.
        repo: RepoName,
        /// The environment's name.
        name: String,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Set { repo, name, approval } => {
            let answer = client.call(Method::PUT, &path(&repo, &name), &PutEnvironment { approval }).await?;
            let waits = if approval { "wait for approval" } else { "wait for nobody" };
            client.told(&answer, &format!("jobs for the environment {name} of {repo} {waits}"), json)?;
        }
        Command::List { repo } => {
            let answer: serde_json::Value = client.get(&format!("{}/environments", at(&repo))).await?;
            if json {
                table::pretty(&answer)?;
                return Ok(0);
            }
            let Page { items, .. }: Page<EnvironmentView> = client.take(answer)?;
            let approval = |needed: bool| if needed { "needed" } else { "-" };
            let row = |one: EnvironmentView| vec![one.name, approval(one.approval).to_owned()];
            table::table(&["name", "approval"], items.into_iter().map(row))?;
        }
        Command::Remove { repo, name } => {
            let answer = client.call(Method::DELETE, &path(&repo, &name), &json!({})).await?;
            client.told(&answer, &format!("the environment {name} of {repo} is removed"), json)?;
        }
    }
    Ok(0)
}

fn path(repo: &RepoName, name: &str) -> String {
    format!("{}/environments/{}", at(repo), escaped(name))
}
