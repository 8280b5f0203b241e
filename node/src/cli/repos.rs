//! `troupe repo`, `delivery`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::{DeliveryId, RepoName};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::escaped;
use super::pages::{self, Limit, Show};
use super::secrets::value_in;
use super::{Client, Failure, table};
use crate::api::dto::{DeliveryView, PutRepo, PutStatuses, RepoView};

/// `troupe repo`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Registers one, or changes it: of secrets, what is left out stays as it is.
    Add(Box<Add>),
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

/// `troupe repo add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Its name: parts of letters, digits, . _ and -, divided by /.
    name: RepoName,
    /// Where it is cloned from: https, http, ssh or git.
    clone_url: String,
    /// Key of its webhooks, 8 to 256 bytes, which a new one needs; as a variable, it does not show in the list of processes.
    #[arg(long, env = "TROUPE_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// A label added to each of its jobs; may be given several times.
    #[arg(long)]
    label: Vec<String>,
    /// File with the token that it is fetched with over HTTP, or with USER:TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the private key that it is fetched with over SSH.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    ssh_key_file: Option<PathBuf>,
    /// From now on it is fetched as anybody can.
    #[arg(long, conflicts_with_all = ["token_file", "ssh_key_file"])]
    anonymous: bool,
    /// Where the API begins that commit statuses go to, as in https://api.github.com.
    #[arg(long, value_name = "URL", requires = "status_forge")]
    status_api: Option<String>,
    /// Which forge that is: github, gitlab, gitea, forgejo, bitbucket or bitbucket-data-center.
    #[arg(long, value_name = "KIND", requires = "status_api")]
    status_forge: Option<String>,
    /// File with a token that may set statuses.
    #[arg(long, value_name = "FILE", requires = "status_api")]
    status_token_file: Option<PathBuf>,
    /// From now on no commit statuses are told.
    #[arg(long, conflicts_with = "status_api")]
    no_status: bool,
    /// Whether runs for commits of forks wait until somebody approves them.
    #[arg(long, value_name = "true|false")]
    approve_forks: Option<bool>,
}

impl Add {
    fn body(self) -> Result<PutRepo, Failure> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(value_in).transpose();
        let statuses = match (self.status_api, self.status_forge) {
            (Some(api_url), Some(forge)) => {
                Some(Some(PutStatuses { forge, api_url, token: file(&self.status_token_file)? }))
            }
            _ => self.no_status.then_some(None),
        };
        let gone = self.anonymous.then_some(None);
        Ok(PutRepo {
            clone_url: self.clone_url,
            webhook_secret: self.secret,
            labels: self.label,
            token: file(&self.token_file)?.map(Some).or(gone.clone()),
            ssh_key: file(&self.ssh_key_file)?.map(Some).or(gone),
            statuses,
            approve_forks: self.approve_forks,
        })
    }
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Add(add) => {
            let name = add.name.clone();
            let body = add.body()?;
            let answer = client.call(Method::PUT, &at(&name), &body).await?;
            let done = if answer["existed"] == true { "changed" } else { "added" };
            let hooks = format!("its webhooks go to /v1/hooks/{name} of any node");
            client.told(&answer, &format!("repository {name} is {done}; {hooks}"), json)?;
        }
        Command::List { limit } => {
            let list = pages::fetch(client, "/v1/repos", &[], limit).await?;
            let columns = ["name", "clone_url", "cloned_with", "statuses", "labels", "age"];
            let row = |repo: RepoView| {
                let labels = table::or_dash(Some(&repo.labels.join(",")));
                let statuses = table::or_dash(repo.statuses.map(|to| to.forge).as_deref());
                let age = table::age(Some(repo.created_at));
                vec![repo.name, repo.clone_url, repo.cloned_with, statuses, labels, age]
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
    table::fields(&[
        ("delivery", delivery.id),
        ("state", delivery.state),
        ("age", table::age(Some(delivery.accepted_at))),
        ("tries", delivery.tries.to_string()),
        ("reason", delivery.reason),
        ("runs", delivery.runs.join("\n")),
    ])?;
    Ok(0)
}
