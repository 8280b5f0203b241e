//! `troupe repo`, `dispatch`, `delivery`.

use clap::Subcommand;
use domain::{DeliveryId, RepoName};
use reqwest::Method;
use serde_json::{Value, json};

use super::pages::{self, Limit};
use super::{Client, Failure, table};
use crate::api::dto::{Dispatch, PutRepo};

/// `troupe repo`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Registers one, or changes it.
    Add {
        /// Its name.
        name: RepoName,
        /// Where it is cloned from.
        clone_url: String,
        /// Key of its webhooks, 8 to 256 bytes.
        #[arg(long, env = "TROUPE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: String,
        /// Labels added to each of its jobs.
        #[arg(long)]
        label: Vec<String>,
    },
    /// All, by name.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Removes one; its runs stay.
    Remove {
        /// Its name.
        name: RepoName,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Add { name, clone_url, secret, label } => {
            let body = PutRepo { clone_url, webhook_secret: secret, labels: label };
            let answer = client.call(Method::PUT, &format!("/v1/repos/{name}"), &body).await?;
            table::show(&answer, &["name", "existed"], json)?;
        }
        Command::List { limit } => {
            let list = pages::fetch(client, "/v1/repos", &[], limit).await?;
            pages::show(&list, &["name", "clone_url", "labels"], json)?;
        }
        Command::Remove { name } => {
            let path = format!("/v1/repos/{name}");
            table::show(&client.call(Method::DELETE, &path, &json!({})).await?, &["removed"], json)?;
        }
    }
    Ok(0)
}

/// Runs a workflow by hand.
///
/// # Errors
/// [`Failure`].
pub async fn dispatch(client: &Client, repo: &RepoName, body: &Dispatch, json: bool) -> Result<u8, Failure> {
    let answer = client.call(Method::POST, &format!("/v1/repos/{repo}/dispatch"), body).await?;
    table::show(&answer, &["delivery", "duplicate"], json)?;
    Ok(0)
}

/// Where a delivery stands.
///
/// # Errors
/// [`Failure`].
pub async fn delivery(client: &Client, id: DeliveryId, json: bool) -> Result<u8, Failure> {
    let answer: Value = client.get(&format!("/v1/deliveries/{id}")).await?;
    table::show(&answer, &["id", "state", "tries", "reason", "runs"], json)?;
    Ok(0)
}
