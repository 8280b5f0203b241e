//! Links of peers whose certificate is right and whose words are not (rows 45 and 46 of docs/bad-input.md, and the traps of
//! docs/architecture.md, section 9): each ends its own link, or is answered; the node goes on.

use domain::{
    AttemptId, AttemptReport, BootId, Capacity, ClusterState, Command, Fence, JobId, NodeFacts, NodeId,
    Progress, Resources, RunId, Timestamp,
};
use std::sync::Arc;
use tokio::io::AsyncReadExt;

use super::alone::{Alone, ME, Result, caller, identity};
use super::*;
use crate::codec;
use crate::network::Caller;
use crate::wire::{MAX_FRAME, Proposed};

/// A node that leads itself, and somebody who calls it.
struct Rig {
    node: Alone,
    peer: Caller,
}

impl Rig {
    async fn start(dir: &std::path::Path) -> Result<Self> {
        let node = Alone::start(dir, 1).await?;
        let mut applied = node.store.applied();
        let begun = |state: &ClusterState| state.cluster.is_some();
        let begun = applied.wait_for(|_| begun(&node.store.state()));
        tokio::time::timeout(PATIENCE, begun).await??;
        let peer = caller(dir, identity(dir, "peer")?, ME + 1)?;
        Ok(Self { node, peer })
    }

    async fn link(&self) -> Result<Channel> {
        Ok(self.peer.open(&self.node.addr, Some((ME, "me"))).await?)
    }

    /// It still answers.
    async fn lives(&self) -> Result {
        let mut link = self.link().await?;
        wire::send(&mut link.stream, &Request::Probe).await?;
        let answer = tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await??;
        assert!(matches!(answer, Response::Probe(_)), "{answer:?}");
        assert_eq!(self.node.store.status().fatal, None);
        Ok(())
    }
}

/// The other side closes, and says nothing before it does.
async fn is_closed(mut link: Channel) -> bool {
    let read = tokio::time::timeout(PATIENCE, link.stream.read(&mut [0])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

#[tokio::test]
async fn a_frame_that_is_no_request_ends_its_link_and_nothing_else() -> Result {
    let dir = tempfile::tempdir()?;
    let rig = Rig::start(dir.path()).await?;
    let good = codec::encode(&Request::ReadIndex)?;
    let mut longer = good.clone();
    longer.push(0);
    let mut newer = good.clone();
    newer[0] = codec::VERSION + 1;
    // A list of lists of lists, a hundred thousand deep, for a decoder that recurses.
    let deep = [&[codec::VERSION][..], &[1; 100_000]].concat();
    // A list that says to have more entries than there is memory.
    let many = [&[codec::VERSION, 6, 253][..], &u64::MAX.to_le_bytes()].concat();
    let cases: [(&str, Vec<u8>); 9] = [
        ("too large", (MAX_FRAME as u32 + 1).to_le_bytes().to_vec()),
        ("a length of all ones", u32::MAX.to_le_bytes().to_vec()),
        ("nothing", frame(&[])),
        ("garbage", frame(b"GET / HTTP/1.1\r\n\r\n")),
        ("an unknown request", frame(&[codec::VERSION, 200])),
        ("bytes left over", frame(&longer)),
        ("an unknown version", frame(&newer)),
        ("nested values", frame(&deep)),
        ("a lying list", frame(&many)),
    ];
    for (what, bytes) in cases {
        let mut link = rig.link().await?;
        link.stream.write_all(&bytes).await?;
        link.stream.flush().await?;
        assert!(is_closed(link).await, "{what}");
        rig.lives().await.map_err(|error| format!("after {what}: {error}"))?;
    }
    // Cut off in the middle.
    let mut link = rig.link().await?;
    link.stream.write_all(&frame(&good)[..3]).await?;
    link.stream.shutdown().await?;
    assert!(is_closed(link).await);
    rig.lives().await?;
    rig.node.store.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn who_says_nothing_for_long_or_stops_in_the_middle_is_closed() -> Result {
    let dir = tempfile::tempdir()?;
    let rig = Rig::start(dir.path()).await?;
    let silent = rig.link().await?;
    let mut halting = rig.link().await?;
    halting.stream.write_all(&[9, 0]).await?;
    halting.stream.flush().await?;
    let mut busy = rig.link().await?;
    tokio::time::pause();
    for part in 0..4 {
        tokio::time::advance(IDLE / 3).await;
        tokio::time::resume();
        // Who asks something now and then is not cut off.
        wire::send(&mut busy.stream, &Request::ReadIndex).await?;
        let answer: Response = tokio::time::timeout(PATIENCE, wire::receive(&mut busy.stream)).await??;
        assert!(matches!(answer, Response::ReadIndex(_)), "{part}: {answer:?}");
        tokio::time::pause();
    }
    tokio::time::resume();
    assert!(is_closed(silent).await);
    assert!(is_closed(halting).await);
    rig.node.store.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_node_reports_and_registers_in_its_own_name_alone() -> Result {
    let dir = tempfile::tempdir()?;
    let rig = Rig::start(dir.path()).await?;
    let attempt = AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 1 };
    let report = |node| {
        let what = Progress::Started { at: Timestamp(1) };
        Command::Report(AttemptReport { attempt, fence: Fence(1), node: NodeId(node), what })
    };
    let register = |node| {
        Command::RegisterNode(NodeFacts {
            node: NodeId(node),
            name: "me".parse().expect("a good name"),
            boot: BootId(1),
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: Default::default(),
            capacity: Capacity { resources: Resources { cpu_millis: 0, memory_mib: 0 }, slots: 0 },
            version: "0.1.0".to_owned(),
        })
    };
    for commands in [vec![report(ME)], vec![register(ME)], vec![report(ME + 1), report(ME)]] {
        let mut link = rig.link().await?;
        wire::send(&mut link.stream, &Request::Propose(commands.into_iter().map(Arc::new).collect())).await?;
        let answer = tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await??;
        let Response::Failed(why) = answer else { return Err(format!("{answer:?}").into()) };
        assert!(why.contains("in its own name alone"), "{why}");
    }
    assert!(rig.node.store.state().nodes.is_empty());
    // In its own it is heard, and refused by the state: nobody holds that attempt.
    let mut link = rig.link().await?;
    wire::send(&mut link.stream, &Request::Propose(vec![Arc::new(report(ME + 1))])).await?;
    let answer = tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await??;
    let Response::Proposed(answers) = answer else { return Err(format!("{answer:?}").into()) };
    let refused =
        |answer: &Proposed| matches!(answer, Proposed::Committed { reply: domain::Reply::Refused(_), .. });
    assert!(answers.iter().all(refused) && answers.len() == 1, "{answers:?}");
    rig.node.store.shutdown().await;
    Ok(())
}
