//! The gateway against peers whose certificate is right and who are not what they say, or not what they were (rows 44 and 45
//! of docs/bad-input.md, and the traps of docs/architecture.md, section 9).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/peers.rs"]
mod peers;
mod support;

use actors::gateway::{Answer, CallError, Rejection, Request};
use domain::{AttemptId, BootId, Fence, JobId, RunId};
use links::{Dialer, Protocol, ca};
use peers::{A, B, Here, identity, peer, until, until_answered};
use support::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The other process: does nothing unless it is told to be the peer.
#[tokio::test]
async fn peer_process() {
    peers::be_peer().await;
}

fn signal(process: &tokio::process::Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(process.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_peer_that_presents_itself_under_another_name_than_its_certificates_has_no_session() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    // Its certificate is B's, for which it is taken when it is dialled; then it says to be C.
    let (_impostor, address) = peer(dir.path(), "c", B.2).await;
    let mut here = Here::new(dir.path()).await;
    here.knows(B, &address);
    here.start().await;
    until(|| here.gateway.refused() > 1).await.unwrap();
    assert_eq!(here.gateway.peers_up(), Vec::<String>::new());
    assert_eq!(here.gateway.call(B.0, Request::Ping).await, Err(CallError::NoSession(B.0)));
    here.stop().await;
}

/// A process that stands still keeps its connection, and its name. The next life of the node has that name, too.
#[tokio::test]
async fn another_life_of_a_node_is_reached_although_the_session_of_the_one_before_still_stands() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    let (first, address) = peer(dir.path(), "b", B.2).await;
    let mut here = Here::new(dir.path()).await;
    here.knows(B, &address);
    here.start().await;
    until_answered(&here, B.0, Request::Ping, Ok(Answer::Done)).await;
    signal(&first, rustix::process::Signal::STOP);

    let next = (B.0, "b", BootId(B.2.0 + 1));
    let (_second, address) = peer(dir.path(), "b", next.2).await;
    here.knows(next, &address);
    // The session is with the life before: nothing is sent over it any more.
    assert_eq!(here.gateway.call(B.0, Request::Ping).await, Err(CallError::NoSession(B.0)));
    until_answered(&here, B.0, Request::Ping, Ok(Answer::Done)).await;
    // The one before comes to itself; it is addressed by nobody, and the other still is.
    signal(&first, rustix::process::Signal::CONT);
    for _ in 0..20 {
        assert_eq!(here.gateway.call(B.0, Request::Ping).await, Ok(Answer::Done));
    }
    here.until_peers(&["b"]).await;
    here.stop().await;
}

#[tokio::test]
async fn what_is_no_session_ends_its_link_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    let (_other, address) = peer(dir.path(), "b", B.2).await;
    let mut here = Here::new(dir.path()).await;
    here.knows(B, &address);
    here.start().await;
    until_answered(&here, B.0, Request::Ping, Ok(Answer::Done)).await;

    let rogue = Dialer::new(identity(dir.path(), "rogue"));
    let framed = |bytes: &[u8]| [&(bytes.len() as u64).to_be_bytes()[..], bytes].concat();
    // Groups within groups, for a decoder that recurses.
    let nested = vec![0x0b; 100_000];
    for (what, bytes) in [
        ("a length of all ones", vec![0xff; 8]),
        ("a frame over the cap", framed(&vec![0; 1 << 20])),
        ("garbage", framed(b"GET / HTTP/1.1\r\n\r\n")),
        ("nested values", framed(&nested)),
        ("a frame that is cut off", framed(b"0123456789")[..12].to_vec()),
    ] {
        let mut link = rogue.dial(&address, Protocol::Actors, None, PATIENCE).await.unwrap();
        // It may be closed before all of it was taken.
        let _ = link.stream.write_all(&bytes).await;
        let _ = link.stream.shutdown().await;
        let mut answer = Vec::new();
        let read = link.stream.read_to_end(&mut answer);
        drop(tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{what}: still open")));
        assert_eq!(here.gateway.call(B.0, Request::Ping).await, Ok(Answer::Done), "after {what}");
    }
    // Its real session is still the one of before, in which the peer knows who we are.
    let beat = Request::Heartbeat { node: A.0, boot: A.2, holdings: Vec::new(), slots: 1 };
    until_answered(&here, B.0, beat, Ok(Answer::Lease { granted_millis: 0, term: 9, clock_micros: 0 })).await;
    let attempt = AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 1 };
    let refused = here.gateway.call(B.0, Request::StartAttempt { attempt, fence: Fence(1) }).await;
    assert_eq!(refused, Err(CallError::Rejected { node: B.0, rejection: Rejection::Unavailable }));
    here.stop().await;
}
