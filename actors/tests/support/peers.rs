//! Gateways in two processes: pg and ractor's registry are global to a process, so the other node is the test's own binary,
//! started again.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests that use parts; a test that cannot go on stops"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use actors::gateway::{Answer, CallError, Gateway, Handler, Options, Rejection, Request, Wire};
use actors::supervisor::{Child, Policy, Supervisor};
use domain::{BootId, Capacity, Command, Labels, NodeFacts, NodeId};
use links::{Dialer, Identity, Limits, Port, Protocol, ca};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::support::{OneCopy, PATIENCE};

pub const A: (NodeId, &str, BootId) = (NodeId(1), "a", BootId(11));
pub const B: (NodeId, &str, BootId) = (NodeId(2), "b", BootId(22));
const PEER_DIR: &str = "TROUPE_TEST_GATEWAY_PEER";
/// How the peer presents itself, and in which life: `NAME BOOT`. Its certificate is B's.
const PEER_CLAIM: &str = "TROUPE_TEST_GATEWAY_CLAIM";

pub fn facts((node, name, boot): (NodeId, &str, BootId), addr: &str) -> NodeFacts {
    NodeFacts {
        node,
        name: name.parse().unwrap(),
        boot,
        cluster_addr: addr.to_owned(),
        http_addr: "127.0.0.1:1".to_owned(),
        labels: Labels::default(),
        capacity: Capacity::default(),
        version: "test".to_owned(),
    }
}

pub fn identity(dir: &Path, name: &str) -> Identity {
    identity_in(dir, &dir.join(name), name)
}

/// With its files in `out`.
fn identity_in(dir: &Path, out: &Path, name: &str) -> Identity {
    let files = ca::issue(&dir.join("ca"), out, &name.parse().unwrap(), 30).unwrap();
    Identity::load(files).unwrap()
}

pub fn port_child(port: Port) -> Child {
    let port = Arc::new(std::sync::Mutex::new(Some(port)));
    Child::task("port", move |stop: CancellationToken| {
        let port = port.lock().unwrap().take().unwrap();
        Box::pin(async move {
            port.run(stop).await;
            Ok(())
        })
    })
}

fn options((node, name, boot): (NodeId, &str, BootId)) -> Options {
    Options {
        ping_every: Duration::from_millis(100),
        call_timeout: Duration::from_secs(2),
        in_flight: 4,
        ..Options::new(node, name.parse().unwrap(), boot)
    }
}

/// Answers each kind of request in a way that tells them apart; never answers an expansion.
fn answering() -> Handler {
    Arc::new(|request| {
        Box::pin(async move {
            match request {
                Request::StartAttempt { .. } => Err(Rejection::Unavailable),
                Request::StartExpansion { .. } => std::future::pending().await,
                Request::Heartbeat { holdings, .. } => {
                    Ok(Answer::Lease { granted_millis: holdings.len() as u64, term: 9, clock_micros: 0 })
                }
                Request::Ping | Request::CancelAttempt { .. } | Request::Introduce { .. } => Ok(Answer::Done),
            }
        })
    })
}

/// A gateway that knows what `copy` does, and what it needs to run.
fn node(
    identity: Identity,
    me: (NodeId, &str, BootId),
    copy: Arc<OneCopy>,
    port: Port,
) -> (Gateway, Vec<Child>) {
    let wire = Wire { dialer: Dialer::new(identity), incoming: port.incoming(Protocol::Actors).unwrap() };
    let (gateway, child) = Gateway::new(options(me), copy, answering(), Some(wire));
    (gateway, child.into_iter().chain([port_child(port)]).collect())
}

/// What the other process does; nothing unless it is told to be the peer.
pub async fn be_peer() {
    let Some(dir) = std::env::var_os(PEER_DIR).map(PathBuf::from) else { return };
    let claim = std::env::var(PEER_CLAIM).unwrap();
    let (name, boot) = claim.split_once(' ').unwrap();
    let identity = identity_in(&dir, &dir.join(format!("b{boot}")), "b");
    let port = Port::bind("127.0.0.1:0", identity.clone(), Limits::default()).await.unwrap();
    println!("\nPEER {}", port.local_addr().unwrap());
    let me = (B.0, name, BootId(boot.parse().unwrap()));
    let copy = OneCopy::led_by(me.0);
    for member in [A, me] {
        copy.apply(Command::RegisterNode(facts(member, "127.0.0.1:1")));
    }
    let (_gateway, children) = node(identity, me, copy, port);
    let (_supervisor, over) = Supervisor::start(Policy::default(), children).await.unwrap();
    over.await.unwrap();
}

/// Starts this test's binary again as a node with B's certificate that presents itself as `claim`.
pub async fn peer(dir: &Path, claim: &str, boot: BootId) -> (tokio::process::Child, String) {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peer_process", "--nocapture"])
        .env(PEER_DIR, dir)
        .env(PEER_CLAIM, format!("{claim} {}", boot.0))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the peer ended early");
            if let Some(address) = line.strip_prefix("PEER ") {
                return address.to_owned();
            }
        }
    };
    let address = tokio::time::timeout(PATIENCE, address).await.unwrap();
    (child, address)
}

/// The node in this process, A.
pub struct Here {
    pub gateway: Gateway,
    copy: Arc<OneCopy>,
    children: Vec<Child>,
    running: Option<(ractor::ActorRef<actors::supervisor::Message>, tokio::task::JoinHandle<()>)>,
}

impl Here {
    /// With a CA in `dir`; knows itself, and does not run yet.
    pub async fn new(dir: &Path) -> Self {
        let identity = identity(dir, "a");
        let port = Port::bind("127.0.0.1:0", identity.clone(), Limits::default()).await.unwrap();
        let copy = OneCopy::led_by(A.0);
        copy.apply(Command::RegisterNode(facts(A, "127.0.0.1:1")));
        let (gateway, children) = node(identity, A, Arc::clone(&copy), port);
        Self { gateway, copy, children, running: None }
    }

    /// Learns of another node, or of another life of it.
    pub fn knows(&self, node: (NodeId, &str, BootId), addr: &str) {
        self.copy.apply(Command::RegisterNode(facts(node, addr)));
    }

    pub async fn start(&mut self) {
        let children = std::mem::take(&mut self.children);
        self.running = Some(Supervisor::start(Policy::default(), children).await.unwrap());
    }

    pub async fn stop(self) {
        let (supervisor, over) = self.running.unwrap();
        supervisor.stop_and_wait(None, None).await.unwrap();
        over.await.unwrap();
    }

    pub async fn until_peers(&self, wanted: &[&str]) {
        let up = || self.gateway.peers_up();
        until(|| up() == wanted).await.unwrap_or_else(|_| panic!("peers: {:?}", up()));
    }
}

/// Waits until it is so.
pub async fn until(so: impl Fn() -> bool) -> Result<(), tokio::time::error::Elapsed> {
    let check = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, check).await
}

/// Asks until the answer is right: a session that is up may be that of a life that is over.
pub async fn until_answered(here: &Here, node: NodeId, request: Request, wanted: Result<Answer, CallError>) {
    let check = async {
        while here.gateway.call(node, request.clone()).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, check).await.unwrap();
}
