//! `troupe cache`.

use clap::Subcommand;
use domain::RepoName;
use reqwest::Method;

use super::pages::{self, Limit, Show};
use super::repos::at;
use super::{Client, Failure, table};
use crate::api::dto::{CacheView, CachesRemoved};

/// Which of a repository's caches.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The repository's name.
    repo: RepoName,
    /// Those whose key begins so.
    #[arg(long, value_name = "PREFIX")]
    key: Option<String>,
    /// Those of this full ref, as in refs/heads/main.
    #[arg(long, value_name = "REF")]
    scope: Option<String>,
}

impl Which {
    fn path(&self) -> String {
        format!("{}/caches", at(&self.repo))
    }

    fn filters(&self) -> [(&'static str, Option<&str>); 2] {
        [("key", self.key.as_deref()), ("scope", self.scope.as_deref())]
    }
}

/// `troupe cache`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Caches of a repository's jobs, by ref and key, and the node that has each.
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        limit: Limit,
    },
    /// Removes caches; all of the repository, unless told which.
    Remove {
        #[command(flatten)]
        which: Which,
    },
}

/// Runs a command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::List { which, limit } => {
            let list = pages::fetch(client, &which.path(), &which.filters(), limit).await?;
            let columns = ["scope", "key", "bytes", "node", "age", "used"];
            Show { noun: "caches", columns: &columns, row: &row }.list(client, list, json)?;
        }
        Command::Remove { which } => {
            let query: Vec<_> =
                which.filters().into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let asked = client.send(Method::DELETE, &which.path(), |request| request.query(&query)).await?;
            let answer: serde_json::Value = client.read(asked).await?;
            let CachesRemoved { removed } = client.take(answer.clone())?;
            let count = match removed {
                1 => "1 cache".to_owned(),
                many => format!("{many} caches"),
            };
            client.told(&answer, &format!("{count} of {} removed", which.repo), json)?;
        }
    }
    Ok(0)
}

fn row(cache: CacheView) -> Vec<String> {
    let away = if cache.available { "" } else { " (lost)" };
    let (age, used) = (table::age(Some(cache.created_at)), table::age(Some(cache.used_at)));
    vec![cache.scope, cache.key, cache.size.to_string(), format!("{}{away}", cache.node_name), age, used]
}
