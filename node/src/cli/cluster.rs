//! `troupe cluster`.

use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::escaped;
use super::pages::Show;
use super::{Client, Failure, recover, reseed, table};
use crate::api::dto::{Leads, MemberRemoved, MemberView};

/// `troupe cluster`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// All, as the leader knows them.
    Members,
    /// Removes one for ever: its id is never used again, its name is free.
    Remove {
        /// Name or id.
        member: String,
    },
    /// Makes a voter lead.
    TransferLeader {
        /// Name or id; the voter that has the most, unless given.
        to: Option<String>,
    },
    /// On the machine of a stopped node whose data is damaged: removes it, and joins as a new node of its name; the others
    /// send it all that they have.
    Reseed {
        /// The node's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// After a majority was lost for good: makes a new cluster of what one stopped node has. Without --yes it only shows what
    /// that is.
    Recover {
        /// The node's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Members => {
            let list: Value = client.get("/v1/cluster/members").await?;
            let columns = ["name", "id", "role", "heard", "behind", "address"];
            Show { noun: "members", columns: &columns, row: &row }.list(client, list, json)?;
        }
        Command::Remove { member } => {
            let path = format!("/v1/cluster/members/{}", escaped(&member));
            let answer = client.call(Method::DELETE, &path, &json!({})).await?;
            let removed: MemberRemoved = client.take(answer.clone())?;
            let words = format!(
                "{} (id {}) is removed; if it runs, it ends by itself",
                removed.name, removed.removed
            );
            client.told(&answer, &words, json)?;
        }
        Command::TransferLeader { to } => {
            let body = json!({ "to": to });
            let answer = client.call(Method::POST, "/v1/cluster/transfer-leader", &body).await?;
            let leads: Leads = client.take(answer.clone())?;
            let name = if leads.name.is_empty() { &leads.leader } else { &leads.name };
            client.told(&answer, &format!("{name} leads"), json)?;
        }
        Command::Reseed { config } => return reseed::run(client, &config, json).await,
        Command::Recover { config, yes } => return recover::run(&config, yes, json).await,
    }
    Ok(0)
}

fn row(member: MemberView) -> Vec<String> {
    let role = member.role.as_str();
    let role = if member.leaving { format!("{role}, leaving") } else { role.to_owned() };
    let heard = member.silent_ms.map(|silent| format!("{} ago", table::duration(silent)));
    let behind = member.behind.map(|behind| behind.to_string());
    vec![
        member.name,
        member.id,
        role,
        table::or_dash(heard.as_deref()),
        table::or_dash(behind.as_deref()),
        member.cluster_addr,
    ]
}
