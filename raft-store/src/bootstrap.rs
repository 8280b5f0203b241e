//! How a cluster begins: when exactly the expected number of new nodes see each other, the lowest id initialises Raft
//! with all of them; then whoever leads commits the cluster's id and its first token.
//!
//! Never with whoever happens to answer: too few, too many, or one that belongs to a cluster, and nothing happens.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{ClusterId, Command, Reply, TokenId};
use openraft::errors::{InitializeError, RaftError};
use rand::Rng;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::birth;
use crate::clock::SharedClock;
use crate::disk::{self, Disk, SharedDisk, whole};
use crate::network::Caller;
use crate::planted::{self, Bug};
use crate::random::Random;
use crate::server::Node;
use crate::store::{Store, WeakStore, upgrade};
use crate::types::{NodeAddress, TypeConfig};
use crate::wire::{self, Probe, Request, Response};

/// Between two looks at the seeds.
const INTERVAL: Duration = Duration::from_millis(200);

/// The file in the data directory of the node that led first, with the admin token.
pub const TOKEN_FILE: &str = "admin-token";

pub(crate) struct Plan {
    pub store: WeakStore,
    pub raft: Node,
    pub caller: Caller,
    pub me: Probe,
    pub clock: SharedClock,
    pub disk: SharedDisk,
    /// Told to the others by the server.
    pub sees: watch::Sender<Vec<u64>>,
    /// The last full set that this node has seen, which is remembered before anyone is told: those may begin with it.
    pub begins: watch::Sender<Vec<u64>>,
    pub seeds: Vec<String>,
    pub data_dir: PathBuf,
}

/// Runs until the cluster has its id.
pub(crate) async fn run(plan: Plan) {
    // A node that joined belongs to the cluster that let it in, whose leader calls it.
    let begins = plan.caller.joined.0.is_none();
    let mut said = Said::default();
    while !plan.raft.is_initialized().await.unwrap_or(true) {
        if !begins {
            tokio::time::sleep(INTERVAL).await;
            continue;
        }
        match plan.members(&mut said).await {
            Some(members) => {
                let first = members.keys().next() == Some(&plan.me.node);
                if first && let Err(error) = plan.initialize(members).await {
                    tracing::error!(%error, "the cluster could not be initialised");
                }
            }
            None => tracing::debug!(expect = plan.me.expect, "waiting for the other nodes of a new cluster"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
    plan.remember_the_log().await;
    if begins {
        plan.commit_cluster_id().await;
    }
}

impl Plan {
    /// All members of the new cluster, if all are there, are new, and see the same set.
    async fn members(&self, said: &mut Said) -> Option<BTreeMap<u64, NodeAddress>> {
        let mut found = BTreeMap::from([(self.me.node, address(&self.me))]);
        let mut views = Vec::new();
        for seed in self.seeds.iter().filter(|seed| **seed != self.me.cluster_addr) {
            let probe = match self.probe(seed).await {
                Ok(probe) => probe,
                // It is there and takes this node for another: no cluster begins before a person has looked.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    said.once(format!("this node cannot become a member: {error}"));
                    return None;
                }
                Err(error) => {
                    tracing::debug!(seed, %error, "seed does not answer");
                    continue;
                }
            };
            // This node by another of its addresses.
            if (probe.node, &probe.name) == (self.me.node, &self.me.name) {
                continue;
            }
            if probe.initialized && self.begins.borrow().contains(&probe.node) {
                // It has begun the cluster with this node, which is about to be called.
                return None;
            }
            if probe.initialized {
                said.once(format!(
                    "{seed} belongs to a cluster, and this node is new: to take it in, `troupe cluster remove {name}` if it was a member \
                     before, `troupe token create {name} --right join`, then here `troupe node --join TOKEN` with the present \
                     certificate and key moved away",
                    name = self.me.name
                ));
                return None;
            }
            if probe.expect != self.me.expect {
                said.once(format!(
                    "{} at {seed} waits for {} nodes to begin a cluster, this one for {}: cluster.bootstrap_expect must be \
                     the same on all",
                    probe.name, probe.expect, self.me.expect
                ));
                return None;
            }
            if let Some(twin) =
                found.insert(probe.node, address(&probe)).filter(|twin| twin.name != probe.name)
            {
                said.once(format!(
                    "{twin} and {} at {seed} have one id: a data directory was copied; empty one of the two",
                    probe.name
                ));
                return None;
            }
            views.push(probe.sees);
        }
        let ids: Vec<u64> = found.keys().copied().collect();
        if ids.len() as u64 == self.me.expect && *self.begins.borrow() != ids {
            let (disk, data_dir, nodes) = (Arc::clone(&self.disk), self.data_dir.clone(), ids.clone());
            let remember = move || birth::remember(&*disk, &data_dir, &nodes);
            if let Err(error) = disk::blocking(&*self.disk, remember).await {
                said.once(format!("cannot write in {}: {error}", self.data_dir.display()));
                return None;
            }
            self.begins.send_replace(ids.clone());
        }
        self.sees.send_replace(ids.clone());
        if ids.len() as u64 > self.me.expect {
            said.once(format!(
                "{} new nodes are there, cluster.bootstrap_expect is {}: no cluster begins while there are more",
                ids.len(),
                self.me.expect
            ));
        } else {
            *said = Said::default();
        }
        let agreed = planted::is(Bug::BeginWithFewer)
            || ids.len() as u64 == self.me.expect && views.iter().all(|view| *view == ids);
        agreed.then_some(found)
    }

    /// From here on this node has votes and entries that others rely on.
    async fn remember_the_log(&self) {
        let (disk, data_dir) = (Arc::clone(&self.disk), self.data_dir.clone());
        let mark = move || birth::has_log(&*disk, &data_dir);
        if let Err(error) = disk::blocking(&*self.disk, mark).await {
            tracing::error!(%error, "cannot write the mark of a member in {}", self.data_dir.display());
        }
    }

    async fn probe(&self, seed: &str) -> io::Result<Probe> {
        let mut link = self.caller.open(seed, None).await?;
        let ask = async {
            wire::send(&mut link.stream, &Request::Probe).await?;
            wire::receive(&mut link.stream).await
        };
        match tokio::time::timeout(self.caller.connect_timeout, ask).await {
            Ok(Ok(Response::Probe(probe))) => Ok(probe),
            Ok(Ok(other)) => Err(io::Error::other(format!("an answer to another question: {other:?}"))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn initialize(
        &self,
        members: BTreeMap<u64, NodeAddress>,
    ) -> Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>> {
        tracing::info!(members = members.len(), "initialising a new cluster");
        match self.raft.initialize(members).await {
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            other => other,
        }
    }

    /// Whoever leads a cluster without an id gives it one. The token is on disk before it is in the log, so that a
    /// crash in between loses no token that works.
    async fn commit_cluster_id(&self) {
        loop {
            let Some(store) = upgrade(&self.store) else { return };
            if store.state().cluster.is_some() {
                return;
            }
            let leads = store.leadership().borrow().is_me;
            if leads {
                match self.try_commit(&store).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the cluster's id is not committed yet"),
                }
            }
            drop(store);
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn try_commit(&self, store: &Store) -> io::Result<()> {
        let path = self.data_dir.join(TOKEN_FILE);
        let (disk, file) = (Arc::clone(&self.disk), path.clone());
        let secret = disk::blocking(&*self.disk, move || keep_secret(&*disk, &file)).await?;
        let token_hash: [u8; 32] = Sha256::digest(&secret).into();
        let at = self.clock.now();
        let command = Command::InitCluster {
            cluster: ClusterId::from_parts(at, random()),
            token: TokenId::from_parts(at, random()),
            token_hash,
        };
        let committed = store.propose(command).await.map_err(io::Error::other)?;
        match committed.reply {
            Reply::Refused(_) if store.state().find_token(&token_hash).is_none() => self.disk.remove(&path),
            _ => {
                tracing::info!(path = %path.display(), "a new cluster; the admin token is in this file");
                Ok(())
            }
        }
    }
}

/// What was said last: the same is not said again every moment.
#[derive(Debug, Default)]
struct Said(String);

impl Said {
    fn once(&mut self, why: String) {
        if self.0 != why {
            tracing::error!("{why}");
            self.0 = why;
        }
    }
}

fn address(probe: &Probe) -> NodeAddress {
    NodeAddress { name: probe.name.clone(), cluster_addr: probe.cluster_addr.clone() }
}

fn random() -> u128 {
    u128::from(Random.next_u64()) << 64 | u128::from(Random.next_u64())
}

fn new_secret() -> String {
    format!("troupe_{:032x}{:032x}", random(), random())
}

/// The secret in the file; one left by an earlier try is used again: that try may have been committed.
fn keep_secret(disk: &dyn Disk, path: &std::path::Path) -> io::Result<String> {
    match whole::read(disk, path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = new_secret();
            whole::write(disk, path, format!("{secret}\n").as_bytes())?;
            Ok(secret)
        }
        Err(error) => Err(error),
    }
}
