//! `troupe token`.

use clap::Subcommand;
use domain::TokenId;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, Failure, table};
use crate::api::dto::{NewToken, TokenRight};

/// `troupe token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes one and shows its secret, this once.
    Create {
        /// What it is for.
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "read")]
        right: TokenRight,
        /// Seconds until it stops working.
        #[arg(long)]
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
            table::show(&answer, &["id", "token"], json)?;
        }
        Command::List => {
            let list: Value = client.get("/v1/tokens").await?;
            table::show(&list, &["id", "name", "right"], json)?;
        }
        Command::Revoke { id } => {
            let path = format!("/v1/tokens/{id}");
            table::show(&client.call(Method::DELETE, &path, &json!({})).await?, &["revoked"], json)?;
        }
    }
    Ok(0)
}
