//! `troupe cluster reseed`: on the machine of a stopped node whose data is damaged. It becomes a new node of the same name,
//! which the others send all that they have.
//!
//! What is left of its log must not vote: it may lack what it once acknowledged. So its old id is removed for ever, before
//! anything is moved; the cluster refuses that as long as the old node has jobs and does not count as lost. Run again after it was
//! cut off, it begins anew with what there is then.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use super::client::escaped;
use super::{Client, Failure, join};
use crate::api::dto::{MemberView, NewToken, TokenMade, TokenRight};
use crate::config::Config;
use crate::server::{self, Error};

/// Of the data directory, what belongs to the old id. Workspaces, blobs and mirrors stay.
const OF_THE_OLD: [&str; 7] = ["log", "state", "node-id", "begins", "member", "joined", "join"];

/// Replaces a stopped node by a new one of its name.
///
/// # Errors
/// [`Failure`]: it runs, the cluster refuses to remove it, or nobody can sign its certificate.
pub async fn run(client: &Client, path: &Path, json: bool) -> Result<u8, Failure> {
    let config = Config::load(Some(path))?;
    let (name, data) = (&config.node.name, &config.node.data_dir);
    // Not made when it is not there: a path that is wrong is said to be.
    fs::metadata(data).map_err(|source| Error::DataDir { path: data.clone(), source })?;
    let lock = server::lock(data)?;
    if let Some(old) = member(client, name).await? {
        client.call(Method::DELETE, &format!("/v1/cluster/members/{}", escaped(&old)), &json!({})).await?;
    }
    let wanted = NewToken { name: name.clone(), right: TokenRight::Join, expires_in_seconds: None };
    let made: TokenMade = client.take(client.call(Method::POST, "/v1/tokens", &wanted).await?)?;
    let ticket = made.token.parse().map_err(|why| Error::DataDir {
        path: data.clone(),
        source: std::io::Error::other(format!("the token that the cluster made cannot be used: {why}")),
    })?;
    let aside = set_aside(&config)?;
    drop(lock);
    join::join(&config, &ticket).await?;
    let words = format!(
        "{name} is a new node of the cluster; what it had is in {}, and may be removed. Start it: the others send it all",
        aside.display()
    );
    client.told(&json!({ "name": name, "set_aside": aside }), &words, json)?;
    Ok(0)
}

/// The id of the member of this name.
async fn member(client: &Client, name: &str) -> Result<Option<String>, Failure> {
    let list: Value = client.get("/v1/cluster/members").await?;
    let members: Vec<MemberView> = client.take(list["items"].clone())?;
    Ok(members.into_iter().find(|member| member.name == name).map(|member| member.id))
}

/// Moves what belongs to the old id, its certificate and its key too, into a new directory beside it; answers which.
fn set_aside(config: &Config) -> Result<PathBuf, Error> {
    let data = &config.node.data_dir;
    let failed = |source| Error::DataDir { path: data.clone(), source };
    let free = |number: &u32| !data.join(format!("damaged-{number}")).exists();
    let number = (1..).find(free).unwrap_or_default();
    let aside = data.join(format!("damaged-{number}"));
    fs::create_dir(&aside).map_err(failed)?;
    let papers = [&config.cluster.cert, &config.cluster.key];
    for from in OF_THE_OLD.iter().map(|name| data.join(name)).chain(papers.into_iter().cloned()) {
        let Some(name) = from.file_name() else { continue };
        match fs::rename(&from, aside.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // The papers may lie on another file system.
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                fs::copy(&from, aside.join(name)).and_then(|_| fs::remove_file(&from)).map_err(failed)?;
            }
            moved => moved.map_err(failed)?,
        }
    }
    Ok(aside)
}
