//! `troupe variable`.

use clap::Subcommand;
use domain::RepoName;
use reqwest::Method;
use serde_json::json;

use super::client::escaped;
use super::repos::at;
use super::{Client, Failure, table};
use crate::api::dto::{PutVariable, VariableView};
use crate::api::page::Page;

/// `troupe variable`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stores a variable for a repository's workflows, or another value of it. It is no secret.
    Set {
        /// The repository's name.
        repo: RepoName,
        /// The variable's name: upper-case letters, digits and _.
        name: String,
        /// Its value.
        value: String,
    },
    /// A repository's variables.
    List {
        /// The repository's name.
        repo: RepoName,
    },
    /// Removes a variable.
    Remove {
        /// The repository's name.
        repo: RepoName,
        /// The variable's name.
        name: String,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Set { repo, name, value } => {
            let answer = client.call(Method::PUT, &path(&repo, &name), &PutVariable { value }).await?;
            let done = if answer["existed"] == true { "has another value" } else { "is stored" };
            client.told(&answer, &format!("the variable {name} of {repo} {done}"), json)?;
        }
        Command::List { repo } => {
            let answer: serde_json::Value = client.get(&format!("{}/variables", at(&repo))).await?;
            if json {
                table::pretty(&answer)?;
                return Ok(0);
            }
            let Page { items, .. }: Page<VariableView> = client.take(answer)?;
            let rows = items.into_iter().map(|variable| vec![variable.name, variable.value]);
            table::table(&["name", "value"], rows)?;
        }
        Command::Remove { repo, name } => {
            let answer = client.call(Method::DELETE, &path(&repo, &name), &json!({})).await?;
            client.told(&answer, &format!("the variable {name} of {repo} is removed"), json)?;
        }
    }
    Ok(0)
}

fn path(repo: &RepoName, name: &str) -> String {
    format!("{}/variables/{}", at(repo), escaped(name))
}
