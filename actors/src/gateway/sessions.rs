//! Keeps one session with every other node: takes links in, dials, checks names, asks for signs of life.
//!
//! Of two nodes, the one with the lower name dials. ractor_cluster does not notice a dead peer, so silence closes a
//! session here. The name that a peer claims must be the one in its certificate.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{BootId, NodeId};
use links::{Link, PeerName, Protocol};
use metrics::gauge;
use ractor::{Actor, ActorProcessingErr, ActorRef, pg};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{
    BoxRead, BoxWrite, ClusterBidiStream, NodeEventSubscription, NodeServer, NodeServerMessage,
    NodeSessionMessage,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::envelope::Sealed;
use super::inbox::{Inbox, InboxMessage};
use super::tickets::NONE;
use super::{Gateway, MAX_ENVELOPE_BYTES, Request, Wire, ask, group};
use crate::faults::{self, Point};
use crate::metrics::PEERS_UP;
use crate::supervisor::Child;

/// Requests under way here, from all peers together.
const INBOX_LIMIT: usize = 1024;
/// What ractor_cluster puts around an envelope, generously.
const FRAME_OVERHEAD: usize = 4096;
/// Behind the `@` of node names: not a host, the protocol wants one.
const HOST: &str = "troupe";
/// Longest pause between two dials of one node.
const REDIAL_MAX: Duration = Duration::from_secs(5);

struct Session {
    peer: PeerName,
    actor: ActorRef<NodeSessionMessage>,
    /// Known once it is ready.
    boot: Option<BootId>,
    misses: u32,
    /// It was told what it shows here.
    introduced: bool,
}

/// The sessions, by ractor_cluster's number of the session.
#[derive(Clone, Default)]
pub(super) struct Table {
    sessions: Arc<Mutex<HashMap<u64, Session>>>,
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ready session with this life of this node.
    pub(super) fn find(&self, name: &str, boot: BootId) -> Option<u64> {
        let fits = |s: &Session| s.peer.as_str() == name && s.boot == Some(boot);
        self.lock().iter().find(|(_, s)| fits(s)).map(|(id, _)| *id)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let ready: HashSet<_> =
            self.lock().values().filter(|s| s.boot.is_some()).map(|s| s.peer.to_string()).collect();
        let mut names: Vec<_> = ready.into_iter().collect();
        names.sort();
        names
    }

    fn has(&self, name: &str) -> bool {
        self.lock().values().any(|s| s.peer.as_str() == name)
    }

    fn count(&self) {
        gauge!(PEERS_UP).set(self.lock().values().filter(|s| s.boot.is_some()).count() as f64);
    }
}

/// A link as ractor_cluster wants it. Its label is how a session is matched to its certificate.
struct Carried {
    link: Link,
    label: String,
}

impl ClusterBidiStream for Carried {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (read, write) = tokio::io::split(self.link.stream);
        (Box::new(read), Box::new(write))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// Hears of sessions, inside ractor_cluster's node server: must be quick.
struct Watcher {
    table: Table,
    admitted: Arc<Mutex<HashMap<String, PeerName>>>,
    ready: Arc<Notify>,
    gateway: Gateway,
}

impl NodeEventSubscription for Watcher {
    fn node_session_opened(&self, session: NodeServerSessionInformation) {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        match admitted.remove(&session.peer_addr) {
            Some(peer) => {
                let record = Session { peer, actor: session.actor, boot: None, misses: 0, introduced: false };
                self.table.lock().insert(session.node_id, record);
            }
            None => {
                tracing::warn!(
                    remote = session.peer_addr,
                    "a session that did not come over a link was killed"
                );
                session.actor.kill();
            }
        }
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        if let Some(gone) = self.table.lock().remove(&session.node_id) {
            tracing::info!(peer = %gone.peer, "session closed");
        }
        self.table.count();
    }

    fn node_session_authenticated(&self, session: NodeServerSessionInformation) {
        let claimed = session.peer_name.as_ref().map_or("", |name| name.name.as_str());
        let certified = self.table.lock().get(&session.node_id).map(|s| s.peer.clone());
        let fits =
            matches!((&certified, claim(claimed)), (Some(peer), Some((name, _))) if peer.as_str() == name);
        if !fits {
            tracing::warn!(claimed, certified = ?certified, "a peer claims a name that is not in its certificate; session killed");
            self.gateway.inner.tickets.refuse();
            session.actor.kill();
        }
    }

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        let boot = session.peer_name.as_ref().and_then(|name| claim(&name.name)).map(|(_, boot)| boot);
        if let Some(record) = self.table.lock().get_mut(&session.node_id) {
            tracing::info!(peer = %record.peer, "session ready");
            record.boot = boot;
            record.misses = 0;
        }
        self.table.count();
        self.ready.notify_one();
    }
}

/// The name by which a node presents itself: its name and its boot, so that two lives are never mixed up.
fn presented(name: &str, boot: BootId) -> String {
    format!("{name}.{:016x}", boot.0)
}

fn claim(presented: &str) -> Option<(&str, BootId)> {
    let (name, boot) = presented.strip_suffix(HOST)?.strip_suffix('@')?.split_once('.')?;
    Some((name, BootId(u64::from_str_radix(boot, 16).ok()?)))
}

pub(super) fn child(gateway: Gateway, wire: Wire) -> Child {
    let incoming = Arc::new(tokio::sync::Mutex::new(wire.incoming));
    Child::task("sessions", move |stop| {
        let (gateway, dialer, incoming) = (gateway.clone(), wire.dialer.clone(), Arc::clone(&incoming));
        Box::pin(async move {
            // Held for this life of the task; the life before has ended.
            let mut incoming = incoming.lock().await;
            let mut keeper = Keeper::start(gateway, dialer).await?;
            let result = keeper.run(&mut incoming, stop).await;
            keeper.end().await;
            result
        })
    })
}

struct Keeper {
    gateway: Gateway,
    dialer: links::Dialer,
    server: ActorRef<NodeServerMessage>,
    inbox: ActorRef<InboxMessage>,
    ended: JoinSet<&'static str>,
    admitted: Arc<Mutex<HashMap<String, PeerName>>>,
    labels: AtomicU64,
    dials: JoinSet<(NodeId, Result<Link, links::Error>)>,
    dialing: HashSet<NodeId>,
    /// When a node may be dialled again, and the pause after that.
    redial: HashMap<NodeId, (Instant, Duration)>,
    pings: JoinSet<(u64, bool)>,
    /// Told when a session is ready.
    ready: Arc<Notify>,
}

impl Drop for Keeper {
    /// After a panic, nobody has ended them: beside them, the next ones would not be found.
    fn drop(&mut self) {
        self.server.kill();
        self.inbox.kill();
    }
}

impl Keeper {
    async fn start(gateway: Gateway, dialer: links::Dialer) -> Result<Self, ActorProcessingErr> {
        let options = &gateway.inner.options;
        let table = gateway.inner.sessions.clone();
        table.lock().clear();
        let limit = Arc::new(Semaphore::new(INBOX_LIMIT));
        let (inbox, inbox_over) = Actor::spawn(None, Inbox { gateway: gateway.clone(), limit }, ()).await?;
        pg::join(group(options.name.as_str(), options.boot), vec![inbox.get_cell()]);
        // The cookie adds nothing to the certificates, but the protocol wants one.
        let (cookie, name) = ("troupe".to_owned(), presented(options.name.as_str(), options.boot));
        let isolated = Some(NodeConnectionMode::Isolated);
        let node = NodeServer::new(0, cookie, name, HOST.to_owned(), None, isolated)
            .with_listen_addr(std::net::Ipv4Addr::LOCALHOST.into())
            .with_max_inbound_frame_size((MAX_ENVELOPE_BYTES + FRAME_OVERHEAD) as u64);
        let (server, server_over) = Actor::spawn(None, node, ()).await?;
        let admitted: Arc<Mutex<HashMap<String, PeerName>>> = Arc::default();
        let ready = Arc::new(Notify::new());
        let watcher = Watcher {
            table,
            admitted: Arc::clone(&admitted),
            ready: Arc::clone(&ready),
            gateway: gateway.clone(),
        };
        let subscription = Box::new(watcher);
        server.cast(NodeServerMessage::SubscribeToEvents { id: "gateway".to_owned(), subscription })?;
        let mut ended = JoinSet::new();
        ended.spawn(async move { over(inbox_over, "the inbox").await });
        ended.spawn(async move { over(server_over, "ractor_cluster's node server").await });
        Ok(Self {
            gateway,
            dialer,
            server,
            inbox,
            ended,
            admitted,
            labels: AtomicU64::new(0),
            dials: JoinSet::new(),
            dialing: HashSet::new(),
            redial: HashMap::new(),
            pings: JoinSet::new(),
            ready,
        })
    }

    async fn run(
        &mut self,
        incoming: &mut mpsc::Receiver<Link>,
        stop: CancellationToken,
    ) -> Result<(), ActorProcessingErr> {
        let mut tick = tokio::time::interval(self.gateway.inner.options.ping_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                never = faults::near(Point::Sessions) => match never {},
                Some(who) = self.ended.join_next() => {
                    return Err(format!("{} ended", who.unwrap_or("a part of the gateway")).into());
                }
                link = incoming.recv() => match link {
                    Some(link) => self.open(link, true)?,
                    None => return Err("the cluster port is closed".into()),
                },
                Some(Ok((node, dialled))) = self.dials.join_next() => self.dialled(node, dialled)?,
                Some(Ok((session, alive))) = self.pings.join_next() => self.pinged(session, alive),
                // At once: until then the peer cannot show who it is.
                () = self.ready.notified() => self.introduce_new(),
                _ = tick.tick() => {
                    self.dial_missing();
                    self.ping_all();
                }
            }
        }
    }

    async fn end(mut self) {
        self.dials.shutdown().await;
        self.pings.shutdown().await;
        // Errors mean that they had ended.
        drop(self.server.stop_and_wait(None, None).await);
        drop(self.inbox.stop_and_wait(None, None).await);
        while self.ended.join_next().await.is_some() {}
        self.gateway.inner.sessions.lock().clear();
        self.gateway.inner.sessions.count();
    }

    fn open(&mut self, link: Link, is_server: bool) -> Result<(), ActorProcessingErr> {
        let number = self.labels.fetch_add(1, Ordering::Relaxed);
        // No address of a socket looks like this, so nothing but a link can carry the label.
        let label = format!("link {number} with {}", link.peer);
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.insert(label.clone(), link.peer.clone());
        let stream = Box::new(Carried { link, label });
        self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server })?;
        Ok(())
    }

    fn dial_missing(&mut self) {
        let options = self.gateway.inner.options.clone();
        let state = self.gateway.inner.replica.state();
        let now = Instant::now();
        for (id, node) in state.nodes.iter() {
            let mine = *id != options.me && options.name < node.name;
            let early = self.redial.get(id).is_some_and(|(at, _)| *at > now);
            if !mine
                || early
                || self.dialing.contains(id)
                || self.gateway.inner.sessions.has(node.name.as_str())
            {
                continue;
            }
            let Ok(expected) = node.name.as_str().parse::<PeerName>() else { continue };
            self.dialing.insert(*id);
            let (dialer, addr, id) = (self.dialer.clone(), node.cluster_addr.clone(), *id);
            self.dials.spawn(async move {
                (id, dialer.dial(&addr, Protocol::Actors, Some(&expected), options.dial_timeout).await)
            });
        }
    }

    fn dialled(
        &mut self,
        node: NodeId,
        dialled: Result<Link, links::Error>,
    ) -> Result<(), ActorProcessingErr> {
        self.dialing.remove(&node);
        let first = self.gateway.inner.options.ping_every;
        let pause = self.redial.get(&node).map_or(first, |(_, pause)| (*pause * 2).min(REDIAL_MAX));
        match dialled {
            Ok(link) => {
                // A session that does not become ready is not dialled again at once.
                self.redial.insert(node, (Instant::now() + first, first));
                self.open(link, false)
            }
            Err(error) => {
                tracing::debug!(%node, %error, "cannot reach a node");
                let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
                self.redial.insert(node, (Instant::now() + jittered, pause));
                Ok(())
            }
        }
    }

    fn ping_all(&mut self) {
        let options = &self.gateway.inner.options;
        let mut silent = Vec::new();
        {
            let mut sessions = self.gateway.inner.sessions.lock();
            for (id, session) in sessions.iter_mut() {
                // Counted now, forgiven by the answer: a ping that is stuck counts like one that is lost.
                session.misses += 1;
                if session.misses > options.misses {
                    silent.push((*id, session.actor.clone(), session.peer.clone()));
                } else {
                    introduce(&self.gateway, &mut self.pings, *id, session);
                }
            }
            for (id, ..) in &silent {
                sessions.remove(id);
            }
        }
        for (_, actor, peer) in silent {
            tracing::warn!(%peer, "a peer is silent; its session is closed");
            actor.kill();
        }
        self.gateway.inner.sessions.count();
    }

    /// The first sign of life of sessions that have had none.
    fn introduce_new(&mut self) {
        let mut sessions = self.gateway.inner.sessions.lock();
        for (id, session) in sessions.iter_mut().filter(|(_, session)| !session.introduced) {
            introduce(&self.gateway, &mut self.pings, *id, session);
        }
    }

    fn pinged(&mut self, session: u64, alive: bool) {
        if alive && let Some(session) = self.gateway.inner.sessions.lock().get_mut(&session) {
            session.misses = 0;
        }
    }
}

/// Asks for a sign of life over a session that is ready, and tells the peer what it shows here.
fn introduce(gateway: &Gateway, pings: &mut JoinSet<(u64, bool)>, id: u64, session: &mut Session) {
    let Some(boot) = session.boot else { return };
    session.introduced = true;
    let options = &gateway.inner.options;
    let (group, timeout) = (group(session.peer.as_str(), boot), options.ping_every);
    let request = Request::Introduce { from: options.me, ticket: gateway.inner.tickets.give(&session.peer) };
    let sealed = Sealed { ticket: NONE, request };
    pings.spawn(async move { (id, ask(&group, id, &sealed, timeout).await.is_ok()) });
}

async fn over(handle: tokio::task::JoinHandle<()>, name: &'static str) -> &'static str {
    // How it ended is said by its supervisor's log; here only that it did.
    drop(handle.await);
    name
}
