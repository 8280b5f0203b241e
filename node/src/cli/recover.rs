//! `troupe cluster recover`: offline, on the machine of the one node that is to go on.

use std::path::Path;

use domain::{ClusterId, NodeId};
use raft_store::NodeAddress;
use raft_store::recovery::{Found, Recovery};
use serde_json::json;

use super::{Failure, join, table};
use crate::config::Config;
use crate::server::{self, Error};

/// Nothing was done, because nobody said --yes.
const NOT_DONE: u8 = 4;

/// Shows what a stopped node has; with `yes`, makes a new cluster of it.
///
/// # Errors
/// [`Failure`].
pub async fn run(path: &Path, yes: bool, json: bool) -> Result<u8, Failure> {
    let config = Config::load(Some(path))?;
    let data = &config.node.data_dir;
    // Not made when it is not there: a path that is wrong is said to be.
    std::fs::metadata(data).map_err(|source| Error::DataDir { path: data.clone(), source })?;
    let _lock = server::lock(data)?;
    let recovery = Recovery::look(data).await?;
    let (node, found) = (recovery.node(), recovery.found().clone());
    if !yes {
        show(&found, node, None, json)?;
        table::say(
            "nothing was changed. When all other nodes of this cluster are stopped for ever, and none of them has a later last \
             entry, run it again with --yes: this node becomes the only member of a new cluster with all that it has",
        );
        return Ok(NOT_DONE);
    }
    let me = NodeAddress { name: config.node.name.clone(), cluster_addr: join::address(&config)? };
    let cluster = recovery.carry_out(me, crate::api::now()).await?;
    show(&found, node, Some(cluster), json)?;
    if !json {
        table::say(
            "start this node; others join with `troupe token create NAME --right join`, each as a new node",
        );
    }
    Ok(0)
}

fn show(found: &Found, node: NodeId, made: Option<ClusterId>, json: bool) -> Result<(), Failure> {
    let made = made.map(|made| made.to_string());
    if json {
        let member = |(id, address, votes): &(NodeId, NodeAddress, bool)| {
            json!({
                "id": id.to_string(), "name": address.name, "cluster_addr": address.cluster_addr, "votes": votes,
            })
        };
        let members: Vec<_> = found.members.iter().map(member).collect();
        return table::pretty(&json!({
            "node": node.to_string(), "cluster": found.cluster.to_string(), "term": found.term,
            "last_log": found.last_log, "committed": found.committed, "runs": found.runs, "at": found.at.0,
            "members": members, "new_cluster": made,
        }));
    }
    let last = format!("{} of term {}, {} ago", found.last_log, found.term, table::age(Some(found.at.0)));
    table::fields(&[
        ("cluster", found.cluster.to_string()),
        ("last entry", last),
        ("known to be committed", found.committed.to_string()),
        ("runs", found.runs.to_string()),
        ("new cluster", made.unwrap_or_default()),
    ])?;
    let row = |(id, address, votes): &(NodeId, NodeAddress, bool)| {
        let role = if *votes { "voter" } else { "learner" };
        let role = if *id == node { format!("{role}, this node") } else { role.to_owned() };
        vec![address.name.clone(), id.to_string(), role, address.cluster_addr.clone()]
    };
    table::table(&["member", "id", "role", "address"], found.members.iter().map(row))
}
