//! `troupe token`.

use clap::Subcommand;
use domain::TokenId;
use reqwest::Method;
use serde_json::{Value, json};

use super::pages::Show;
use super::span::seconds;
use super::{Client, Failure, table};
use crate::api::dto::{NewToken, TokenMade, TokenRight, TokenView};

/// `troupe token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes one and prints its secret, this once.
    Create {
        /// What it is for.
        name: String,
        /// What it may do; `join` lets one node join the cluster, once.
        #[arg(long, value_enum, default_value = "read")]
        right: TokenRight,
        /// When it stops working: in so many seconds, or as in 30m, 12h, 90d. Never, unless given; with `join` after an hour, and
        /// after 7d at most.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<u64>,
    },
    /// All, without secrets.
    List,
    /// Ends one.
    Revoke {
        /// Its id.
        id: TokenId,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Create { name, right, expires_in } => {
            let body = NewToken { name, right, expires_in_seconds: expires_in };
            let answer = client.call(Method::POST, "/v1/tokens", &body).await?;
            if json {
                table::pretty(&answer)?;
            } else {
                let made: TokenMade = client.take(answer)?;
                table::say(&format!("token {}; its secret is shown only now:", made.id));
                if right == TokenRight::Join {
                    table::say(
                        "on the new machine, with its node.toml: troupe node --config node.toml --join TOKEN",
                    );
                }
                table::print(&made.token)?;
            }
        }
        Command::List => {
            let list: Value = client.get("/v1/tokens").await?;
            let columns = ["id", "name", "right", "age", "expires"];
            Show { noun: "tokens", columns: &columns, row: &row }.list(client, list, json)?;
        }
        Command::Revoke { id } => {
            let answer = client.call(Method::DELETE, &format!("/v1/tokens/{id}"), &json!({})).await?;
            client.told(&answer, &format!("token {id} is revoked"), json)?;
        }
    }
    Ok(0)
}

fn row(token: TokenView) -> Vec<String> {
    let now = table::now();
    let expires = match token.expires_at {
        None => "never".to_owned(),
        Some(end) if end <= now => format!("{} ago", table::duration(now - end)),
        Some(end) => format!("in {}", table::duration(end - now)),
    };
    let right = match &token.used_by {
        Some(node) => format!("join (used by {node})"),
        None => token.right.as_str().to_owned(),
    };
    vec![token.id, token.name, right, table::age(Some(token.created_at)), expires]
}
