//! Letting a node in: a machine without a certificate says a token's secret, the token is used up through the log, and the
//! node's certificate is signed by a member that has the CA's key.
//!
//! Who signs goes by the replicated state alone: a member asks another to sign, it does not tell it to.

use std::time::Duration;

use domain::{ClusterId, Command, NodeId, NodeName, Refusal, Reply};
use links::ca::Signer;
use links::join::Conversation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::ticket::{Ticket, hash};
use super::{Ask, Members, MembersError, Told};
use crate::codec;
use crate::network::Connection;
use crate::store::{ProposeError, Store};
use crate::wire::{Request, Response};

/// Days for which a certificate is signed.
const DAYS: i64 = 825;
/// How long a member that signs waits for the entry that lets the node in.
const SEEN: Duration = Duration::from_secs(5);
/// How long a conversation with a member may take, all of it.
const CONVERSATION: Duration = Duration::from_secs(30);

/// What a machine says that wants to join.
#[derive(Serialize, Deserialize)]
struct Knock {
    secret: String,
    node: NodeId,
    name: String,
    cluster_addr: String,
    csr_pem: String,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
enum Heard {
    In(Papers),
    /// Not with this token, or not as this node.
    Refused(String),
    /// Perhaps at another time, or at another member.
    Later(String),
}

/// What a node gets that is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Papers {
    /// The cluster that it belongs to now.
    pub cluster: ClusterId,
    /// Its certificate (PEM).
    pub certificate: String,
    /// The certificates of the CA (PEM).
    pub ca: String,
}

/// A machine that wants to join.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Its id, from its own data directory.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where its cluster port will be.
    pub cluster_addr: String,
    /// Its request for a certificate; the same each time it asks.
    pub csr_pem: String,
}

/// Why a machine did not get in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster said no.
    #[error("the cluster does not let this node in: {0}")]
    Refused(String),
    /// Nobody could be asked, or nobody could say.
    #[error("no member could let this node in: {0}; run the same command again")]
    Unavailable(String),
}

impl Ticket {
    /// Asks the members that the token names, one after the other. The same again is answered the same: what was cut off
    /// can be repeated.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(&self, newcomer: &Newcomer) -> Result<Papers, JoinError> {
        let mut tried = Vec::new();
        for addr in &self.addrs {
            match self.ask(addr, newcomer).await {
                Ok(Heard::In(papers)) => return Ok(papers),
                Ok(Heard::Refused(why)) => return Err(JoinError::Refused(why)),
                Ok(Heard::Later(why)) => tried.push(format!("{addr}: {why}")),
                Err(why) => tried.push(why),
            }
        }
        Err(JoinError::Unavailable(tried.join("; ")))
    }

    async fn ask(&self, addr: &str, newcomer: &Newcomer) -> Result<Heard, String> {
        let words = |error: links::Error| error.to_string();
        let mut talk = links::join::dial(addr, self.fingerprint, CONVERSATION).await.map_err(words)?;
        let knock = Knock {
            secret: self.secret().to_owned(),
            node: newcomer.node,
            name: newcomer.name.to_string(),
            cluster_addr: newcomer.cluster_addr.clone(),
            csr_pem: newcomer.csr_pem.clone(),
        };
        let frame = codec::encode(&knock).map_err(|e| e.to_string())?;
        talk.send(&frame).await.map_err(words)?;
        let answer = talk.receive().await.map_err(words)?;
        codec::decode(&answer, links::join::MAX_FRAME).map_err(|e| format!("{addr}: {e}"))
    }
}

impl Store {
    /// Lets nodes in from now on. With the CA's key their certificates are signed here, else by a member that has it.
    pub fn let_in(&self, mut strangers: mpsc::Receiver<Conversation>, signer: Option<Signer>) {
        if let Some(signer) = signer {
            // Set once: a node that runs has one key.
            let _ = self.membership().signer.set(signer);
        }
        let (store, tasks, shutdown) = (self.downgrade(), self.tasks().clone(), self.shutdown_token());
        self.tasks().spawn(async move {
            while let Some(Some(talk)) = shutdown.run_until_cancelled(strangers.recv()).await {
                let (store, shutdown) = (store.clone(), shutdown.clone());
                tasks.spawn(async move {
                    let Some(store) = crate::store::upgrade(&store) else { return };
                    let remote = talk.remote();
                    let heard = shutdown.run_until_cancelled(receive(&store, talk)).await;
                    if let Some(Err(error)) = heard {
                        tracing::debug!(%remote, %error, "a conversation about joining ended");
                    }
                });
            }
        });
    }
}

async fn receive(store: &Store, mut talk: Conversation) -> Result<(), links::Error> {
    let frame = talk.receive().await?;
    let remote = talk.remote();
    let heard = match codec::decode::<Knock>(&frame, links::join::MAX_FRAME) {
        Ok(knock) => answer(store, &knock).await,
        Err(error) => Heard::Refused(error.to_string()),
    };
    match &heard {
        Heard::In(_) => tracing::info!(%remote, "a node was let in"),
        Heard::Refused(why) | Heard::Later(why) => tracing::warn!(%remote, %why, "a node was not let in"),
    }
    if let Ok(frame) = codec::encode(&heard) {
        talk.send(&frame).await?;
        talk.close().await;
    }
    Ok(())
}

async fn answer(store: &Store, knock: &Knock) -> Heard {
    let name: NodeName = match knock.name.parse() {
        Ok(name) => name,
        Err(error) => return Heard::Refused(format!("node.name: {error}")),
    };
    let limit = links::ca::MAX_REQUEST_BYTES;
    if knock.csr_pem.len() > limit {
        let size = knock.csr_pem.len();
        return Heard::Refused(format!("a request for a certificate of {size} bytes, the limit is {limit}"));
    }
    let token_hash = hash(&knock.secret);
    // Nothing of a token that is not known comes into the log.
    if !knows(store, &token_hash) && (store.linearizable().await.is_err() || !knows(store, &token_hash)) {
        return match store.leadership().borrow().leader {
            Some(_) => Heard::Refused(
                "this token is not known: it was revoked, ended more than a day ago, or is another cluster's; \
                 `troupe token create NAME --right join` makes one"
                    .to_owned(),
            ),
            None => Heard::Later("this member knows no leader now".to_owned()),
        };
    }
    let request = Sha256::digest(&knock.csr_pem).into();
    let cluster_addr = knock.cluster_addr.clone();
    let join = Command::Join { token_hash, node: knock.node, name: name.clone(), cluster_addr, request };
    let index = match store.propose(join).await {
        Ok(committed) => match committed.reply {
            Reply::Refused(refusal) => return Heard::Refused(words(&refusal, &name)),
            _ => committed.index,
        },
        Err(ProposeError::TooLarge { size, limit }) => {
            return Heard::Refused(format!("a request of {size} bytes, the limit is {limit}"));
        }
        Err(error) => return Heard::Later(error.to_string()),
    };
    let mut applied = store.applied();
    if tokio::time::timeout(SEEN, applied.wait_for(|now| *now >= index)).await.is_err() {
        return Heard::Later("this member is behind; run the same command again".to_owned());
    }
    let Some(cluster) = store.state().cluster else {
        return Heard::Later("the cluster is still being begun".to_owned());
    };
    match store.membership().have_signed(knock.node, &knock.csr_pem).await {
        Ok((certificate, ca)) => Heard::In(Papers { cluster, certificate, ca }),
        Err(why) => Heard::Later(why),
    }
}

fn knows(store: &Store, hash: &[u8; 32]) -> bool {
    store.state().join_tokens.iter().any(|(_, token)| token.hash == *hash)
}

/// A refusal with what to do.
fn words(refusal: &Refusal, name: &NodeName) -> String {
    let what = match refusal {
        Refusal::NameTaken { .. } => format!("`troupe cluster remove {name}` does that"),
        Refusal::WrongState { what, .. } if what.starts_with("join token") => {
            "`troupe token create NAME --right join` makes a new one".to_owned()
        }
        Refusal::WrongState { .. } => "empty this node's data directory, so that it is a new node".to_owned(),
        _ => return refusal.to_string(),
    };
    format!("{refusal}; {what}")
}

impl Members {
    /// A certificate for a node that was let in, and the CA's: signed here, or by the first member that can.
    async fn have_signed(&self, node: NodeId, csr_pem: &str) -> Result<(String, String), String> {
        if self.signer.get().is_some() {
            return self.sign(node, csr_pem).await.map_err(|e| e.to_string());
        }
        let metrics = self.metrics();
        let others = metrics.membership_config.nodes().filter(|(id, _)| **id != self.id());
        let mut tried = Vec::new();
        for (id, address) in others {
            let mut connection = Connection::new(self.caller.clone(), *id, address.clone());
            let ask = Request::Members(Ask::Sign { node, csr_pem: csr_pem.to_owned() });
            match connection.call(&ask, SEEN * 2).await {
                Ok(Response::Members(Told::Signed { certificate, ca })) => return Ok((certificate, ca)),
                Ok(Response::Members(Told::Failed(error))) => {
                    tried.push(format!("{}: {error}", address.name))
                }
                Ok(_) | Err(_) => tried.push(format!("{}: no answer", address.name)),
            }
        }
        Err(format!(
            "no member that can be reached has the CA's key: set cluster.ca_key on one and restart it; the token stays good \
             for this node ({})",
            tried.join(", ")
        ))
    }

    /// Signs for a node that the state has let in with this very request.
    pub(super) async fn sign(&self, node: NodeId, csr_pem: &str) -> Result<(String, String), MembersError> {
        let refused =
            |why: String| MembersError::Refused { what: "no certificate is signed".to_owned(), why };
        let signer = self.signer.get().ok_or_else(|| refused("cluster.ca_key is not set here".to_owned()))?;
        let request: [u8; 32] = Sha256::digest(csr_pem).into();
        let (mut applied, view) = (self.view.index(), &self.view);
        let admitted = || view.current().state.admitted.get(&node).cloned();
        let seen = applied.wait_for(|_| admitted().is_some_and(|admission| admission.request == request));
        if tokio::time::timeout(SEEN, seen).await.is_err() {
            return Err(refused(format!("node {node} was not let in with this request")));
        }
        let admission = admitted().ok_or_else(|| refused(format!("node {node} was removed")))?;
        let name =
            admission.name.as_str().parse().map_err(|e: links::InvalidPeerName| refused(e.to_string()))?;
        let certificate = signer.sign(csr_pem, &name, DAYS).map_err(|e| refused(e.to_string()))?;
        Ok((certificate, signer.bundle().to_owned()))
    }
}

#[cfg(test)]
mod tests;
