//! `troupe repo`, `delivery`.

use clap::Subcommand;
use domain::{DeliveryId, RepoName};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::escaped;
use super::pages::{self, Limit, Show};
use super::{Client, Failure, table};
use crate::api::dto::{DeliveryView, PutRepo, RepoView};

/// `troupe repo`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Registers one, or changes it.
    Add {
        /// Its name: parts of letters, digits, . _ and -, divided by /.
        name: RepoName,
        /// Where it is cloned from: https, http, ssh or git.
        clone_url: String,
        /// Key of its webhooks, 8 to 256 bytes; as a variable, it does not show in the list of processes.
        #[arg(long, env = "TROUPE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: String,
        /// A label added to each of its jobs; may be given several times.
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
            let answer = client.call(Method::PUT, &at(&name), &body).await?;
            let done = if answer["existed"] == true { "changed" } else { "added" };
            let hooks = format!("its webhooks go to /v1/hooks/{name} of any node");
            client.told(&answer, &format!("repository {name} is {done}; {hooks}"), json)?;
        }
        Command::List { limit } => {
            let list = pages::fetch(client, "/v1/repos", &[], limit).await?;
            let columns = ["name", "clone_url", "labels", "age"];
            let row = |repo: RepoView| {
                let labels = table::or_dash(Some(&repo.labels.join(",")));
                vec![repo.name, repo.clone_url, labels, table::age(Some(repo.created_at))]
            };
            Show { noun: "repositories", columns: &columns, row: &row }.list(client, list, json)?;
        }
        Command::Remove { name } => {
            let answer = client.call(Method::DELETE, &at(&name), &json!({})).await?;
            client.told(&answer, &format!("repository {name} is removed; its runs stay"), json)?;
        }
    }
    Ok(0)
}

/// A repository's path: in one part, so that none of its name is taken for something else.
pub(super) fn at(name: &RepoName) -> String {
    format!("/v1/repos/{}", escaped(name.as_str()))
}

/// Where a delivery stands.
///
/// # Errors
/// [`Failure`].
pub async fn delivery(client: &Client, id: DeliveryId, json: bool) -> Result<u8, Failure> {
    let answer: Value = client.get(&format!("/v1/deliveries/{id}")).await?;
    if json {
        table::pretty(&answer)?;
        return Ok(0);
    }
    let delivery: DeliveryView = client.take(answer)?;
    let none = delivery.state == "expanded" && delivery.runs.is_empty();
    table::fields(&[
        ("delivery", delivery.id),
        ("state", delivery.state),
        ("age", table::age(Some(delivery.accepted_at))),
        ("tries", delivery.tries.to_string()),
        ("reason", delivery.reason),
        ("runs", if none { "none: no workflow wants it".to_owned() } else { delivery.runs.join("\n") }),
    ])?;
    Ok(0)
}
