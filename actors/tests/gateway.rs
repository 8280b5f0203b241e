//! The gateway between two processes, over real links: pg and ractor's registry are global to a process, so the peer is
//! this test's own binary, started again. Bulk needs no second process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use actors::bulk::{self, ByteStream, Shelf, Wanted};
use actors::gateway::{Answer, CallError, Gateway, Handler, Options, Rejection, Request, Wire};
use actors::supervisor::{Child, Policy, Supervisor};
use bytes::Bytes;
use domain::{
    AttemptId, BootId, Capacity, Command, DeliveryId, Fence, Holding, JobId, Labels, NodeFacts, NodeId, RunId,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use links::{Dialer, Identity, Limits, Port, Protocol, ca};
use support::{OneCopy, PATIENCE};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

const A: (NodeId, &str, BootId) = (NodeId(1), "a", BootId(11));
const B: (NodeId, &str, BootId) = (NodeId(2), "b", BootId(22));
const PEER_DIR: &str = "TROUPE_TEST_GATEWAY_PEER";

fn facts((node, name, boot): (NodeId, &str, BootId), addr: &str) -> NodeFacts {
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

fn identity(dir: &Path, name: &str) -> Identity {
    let files = ca::issue(&dir.join("ca"), &dir.join(name), &name.parse().unwrap(), 30).unwrap();
    Identity::load(files).unwrap()
}

fn port_child(port: Port) -> Child {
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
                    Ok(Answer::Lease { granted_millis: holdings.len() as u64, term: 9 })
                }
                Request::Ping | Request::CancelAttempt { .. } => Ok(Answer::Done),
            }
        })
    })
}

async fn node(
    identity: Identity,
    me: (NodeId, &str, BootId),
    members: &[NodeFacts],
    port: Port,
) -> (Gateway, Vec<Child>) {
    let copy = OneCopy::led_by(me.0);
    for member in members {
        copy.apply(Command::RegisterNode(member.clone()));
    }
    let wire = Wire { dialer: Dialer::new(identity), incoming: port.incoming(Protocol::Actors).unwrap() };
    let (gateway, child) = Gateway::new(options(me), copy, answering(), Some(wire));
    (gateway, child.into_iter().chain([port_child(port)]).collect())
}

/// The other process: does nothing unless it is told to be the peer.
#[tokio::test]
async fn peer_process() {
    let Some(dir) = std::env::var_os(PEER_DIR).map(PathBuf::from) else { return };
    let identity = identity(&dir, "b");
    let port = Port::bind("127.0.0.1:0", identity.clone(), Limits::default()).await.unwrap();
    println!("\nPEER {}", port.local_addr().unwrap());
    let (_gateway, children) = node(identity, B, &[], port).await;
    let (_supervisor, over) = Supervisor::start(Policy::default(), children).await.unwrap();
    over.await.unwrap();
}

async fn peer(dir: &Path) -> (tokio::process::Child, String) {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peer_process", "--nocapture"])
        .env(PEER_DIR, dir)
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

async fn until_peers(gateway: &Gateway, wanted: &[&str]) {
    let check = async {
        while gateway.peers_up() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, check).await.unwrap_or_else(|_| panic!("peers: {:?}", gateway.peers_up()));
}

#[tokio::test]
async fn requests_between_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    let (mut other, address) = peer(dir.path()).await;
    let identity = identity(dir.path(), "a");
    let port = Port::bind("127.0.0.1:0", identity.clone(), Limits::default()).await.unwrap();
    let mine = facts(A, "127.0.0.1:1");
    let (gateway, children) = node(identity, A, &[mine, facts(B, &address)], port).await;
    assert_eq!(gateway.call(B.0, Request::Ping).await, Err(CallError::NoSession(B.0)));
    assert_eq!(gateway.call(NodeId(9), Request::Ping).await, Err(CallError::UnknownNode(NodeId(9))));
    let (supervisor, over) = Supervisor::start(Policy::default(), children).await.unwrap();
    until_peers(&gateway, &["b"]).await;

    let attempt = AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 1 };
    assert_eq!(gateway.call(B.0, Request::Ping).await, Ok(Answer::Done));
    let start = Request::StartAttempt { attempt, fence: Fence(3) };
    let refused = CallError::Rejected { node: B.0, rejection: Rejection::Unavailable };
    assert_eq!(gateway.call(B.0, start).await, Err(refused));
    let holding = Holding { job: attempt.job, number: 1, fence: Fence(3) };
    let beat = |n| Request::Heartbeat { node: A.0, boot: A.2, holdings: vec![holding; n], slots: 1 };
    assert_eq!(gateway.call(B.0, beat(500)).await, Ok(Answer::Lease { granted_millis: 500, term: 9 }));
    // Over the cap: not sent, and the session lives on.
    assert!(matches!(gateway.call(B.0, beat(100_000)).await, Err(CallError::Envelope { .. })));
    assert_eq!(gateway.call(B.0, Request::Ping).await, Ok(Answer::Done));

    // Requests that are never answered time out; past the limit nothing more is sent.
    let stuck = || gateway.call(B.0, Request::StartExpansion { delivery: DeliveryId(1), fence: Fence(1) });
    let all = futures::future::join_all((0..6).map(|_| stuck())).await;
    assert_eq!(all.iter().filter(|r| matches!(r, Err(CallError::TimedOut { .. }))).count(), 4);
    assert_eq!(all.iter().filter(|r| matches!(r, Err(CallError::InFlight(_)))).count(), 2);

    // A peer that is stopped, not dead: only the missing signs of life tell.
    let pid = rustix::process::Pid::from_raw(other.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    until_peers(&gateway, &[]).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    until_peers(&gateway, &["b"]).await;
    assert_eq!(gateway.call(B.0, Request::Ping).await, Ok(Answer::Done));

    other.kill().await.unwrap();
    until_peers(&gateway, &[]).await;
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
}

struct OneLog;

impl Shelf for OneLog {
    fn log(&self, attempt: AttemptId, from: u64, follow: bool) -> BoxFuture<'_, Option<ByteStream>> {
        let chunks =
            [Ok(Bytes::from(format!("{attempt} {from} {follow} "))), Ok(Bytes::from(vec![b'x'; 300_000]))];
        Box::pin(std::future::ready((attempt.number == 1).then(|| futures::stream::iter(chunks).boxed())))
    }
    fn artifact(&self, _: [u8; 32]) -> BoxFuture<'_, Option<ByteStream>> {
        let chunks = [Ok(Bytes::from_static(b"begun")), Err(std::io::Error::other("disk"))];
        Box::pin(std::future::ready(Some(futures::stream::iter(chunks).boxed())))
    }
}

#[tokio::test]
async fn bulk_gives_what_is_there_and_says_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    let port = Port::bind("127.0.0.1:0", identity(dir.path(), "b"), Limits::default()).await.unwrap();
    let copy = OneCopy::led_by(A.0);
    copy.apply(Command::RegisterNode(facts(B, &port.local_addr().unwrap().to_string())));
    let incoming = port.incoming(Protocol::Bulk).unwrap();
    let children = vec![bulk::child(Arc::new(OneLog), incoming, bulk::Options::default()), port_child(port)];
    let (supervisor, over) = Supervisor::start(Policy::default(), children).await.unwrap();
    let client = bulk::Client::new(Dialer::new(identity(dir.path(), "a")), copy, PATIENCE);

    let attempt = |number| AttemptId { job: JobId { run: RunId(1), index: 0 }, number };
    let wanted = |number| Wanted::Log { attempt: attempt(number), from: 5, follow: true };
    let mut bytes = Vec::new();
    let mut log = client.fetch(B.0, wanted(1)).await.unwrap();
    while let Some(chunk) = log.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    let head = format!("{} 5 true ", attempt(1));
    assert!(bytes.starts_with(head.as_bytes()));
    assert_eq!(bytes.len(), head.len() + 300_000);
    assert!(matches!(client.fetch(B.0, wanted(2)).await, Err(bulk::FetchError::NotThere(_))));
    assert!(matches!(client.fetch(NodeId(9), wanted(1)).await, Err(bulk::FetchError::UnknownNode(_))));

    // What breaks off half-way is an error, never a short file.
    // The reset may overtake the head of the answer.
    match client.fetch(B.0, Wanted::Artifact { digest: [1; 32] }).await {
        Ok(bytes) => assert!(bytes.collect::<Vec<_>>().await.last().unwrap().is_err()),
        Err(error) => assert!(matches!(error, bulk::FetchError::Broken { .. })),
    }
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
}
