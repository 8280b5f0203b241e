//! The gateway between two processes, over real links: pg and ractor's registry are global to a process, so the peer is
//! this test's own binary, started again. Bulk needs no second process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/peers.rs"]
mod peers;
mod support;

use std::sync::Arc;

use actors::bulk::{self, ByteStream, Shelf, Wanted};
use actors::gateway::{Answer, CallError, Rejection, Request};
use actors::supervisor::{Policy, Supervisor};
use bytes::Bytes;
use domain::{AttemptId, Command, DeliveryId, Fence, Holding, JobId, NodeId, RunId};
use futures::StreamExt;
use futures::future::BoxFuture;
use links::{Dialer, Limits, Port, Protocol, ca};
use peers::{A, B, Here, facts, identity, peer, port_child};
use support::{OneCopy, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The other process: does nothing unless it is told to be the peer.
#[tokio::test]
async fn peer_process() {
    peers::be_peer().await;
}

#[tokio::test]
async fn requests_between_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    let (mut other, address) = peer(dir.path(), "b", B.2).await;
    let mut here = Here::new(dir.path()).await;
    here.knows(B, &address);
    let gateway = here.gateway.clone();
    assert_eq!(gateway.call(B.0, Request::Ping).await, Err(CallError::NoSession(B.0)));
    assert_eq!(gateway.call(NodeId(9), Request::Ping).await, Err(CallError::UnknownNode(NodeId(9))));
    here.start().await;
    here.until_peers(&["b"]).await;

    let attempt = AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 1 };
    assert_eq!(gateway.call(B.0, Request::Ping).await, Ok(Answer::Done));
    let start = Request::StartAttempt { attempt, fence: Fence(3) };
    let refused = CallError::Rejected { node: B.0, rejection: Rejection::Unavailable };
    assert_eq!(gateway.call(B.0, start).await, Err(refused));
    let holding = Holding { job: attempt.job, number: 1, fence: Fence(3) };
    let beat_of = |node, n| Request::Heartbeat { node, boot: A.2, holdings: vec![holding; n], slots: 1 };
    let beat = |n| beat_of(A.0, n);
    let stranger = CallError::Rejected { node: B.0, rejection: Rejection::NotIntroduced };
    // Nobody speaks of itself before it was told how to show who it is; that comes with the first sign of life.
    let lease = |granted_millis| Ok(Answer::Lease { granted_millis, term: 9, clock_micros: 0 });
    peers::until_answered(&here, B.0, beat(0), lease(0)).await;
    // And nobody speaks of another, however it is called.
    assert_eq!(gateway.call(B.0, beat_of(B.0, 0)).await, Err(stranger));
    assert_eq!(
        gateway.call(B.0, beat(500)).await,
        Ok(Answer::Lease { granted_millis: 500, term: 9, clock_micros: 0 })
    );
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
    here.until_peers(&[]).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    here.until_peers(&["b"]).await;
    assert_eq!(gateway.call(B.0, Request::Ping).await, Ok(Answer::Done));

    other.kill().await.unwrap();
    here.until_peers(&[]).await;
    here.stop().await;
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
    let addr = port.local_addr().unwrap().to_string();
    copy.apply(Command::RegisterNode(facts(B, &addr)));
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
    // What is no HTTP/2 ends its connection; what asks for anything else than what is on the shelf is refused (row 45).
    let rogue = Dialer::new(identity(dir.path(), "rogue"));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let giant = [&preface[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &[0; 70_000]].concat();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 10_000], giant, preface[..9].to_vec()] {
        let mut link = rogue.dial(&addr, Protocol::Bulk, None, PATIENCE).await.unwrap();
        let _ = link.stream.write_all(&bytes).await;
        let _ = link.stream.shutdown().await;
        let mut answer = Vec::new();
        drop(tokio::time::timeout(PATIENCE, link.stream.read_to_end(&mut answer)).await.expect("still open"));
        assert!(matches!(client.fetch(B.0, wanted(2)).await, Err(bulk::FetchError::NotThere(_))));
    }
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
}
