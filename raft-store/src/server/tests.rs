//! Snapshots over a real link, as a leader sends them and as none should: what is not whole and right is answered, not
//! installed, and does not stop the node.

use domain::{ClusterId, Command, Entry, Timestamp, TokenId};
use openraft::alias::{EntryOf, SnapshotMetaOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, LogId, RaftSnapshotBuilder};

use super::alone::{Alone, ME, Result, caller, identity};
use super::*;
use crate::Proposal;
use crate::disk::LocalDisk;
use crate::network::Caller;
use crate::wire::CHUNK;

const LEADER: u64 = 77;

/// A node of no cluster yet, and a leader's end of links to it.
struct Receiver {
    node: Alone,
    leader: Caller,
}

impl Receiver {
    async fn start(dir: &std::path::Path) -> Result<Self> {
        // Alone it begins no cluster.
        let node = Alone::start(dir, 3).await?;
        let leader = caller(dir, identity(dir, "leader")?, LEADER)?;
        Ok(Self { node, leader })
    }

    /// Announces a snapshot; answers the link and where its bytes are to begin.
    async fn announce(&self, meta: &SnapshotMetaOf<TypeConfig>, bytes: u64) -> Result<(Channel, u64)> {
        let mut link = self.leader.open(&self.node.addr, Some((ME, "me"))).await?;
        let vote = VoteOf::<TypeConfig>::new_committed(1, LEADER);
        wire::send(&mut link.stream, &Request::Snapshot { vote, meta: meta.clone(), bytes }).await?;
        match tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await?? {
            Response::SnapshotFrom(from) => Ok((link, from)),
            other => Err(format!("{other:?}").into()),
        }
    }

    async fn send(&self, meta: &SnapshotMetaOf<TypeConfig>, bytes: &[u8]) -> Result<Response> {
        let (mut link, from) = self.announce(meta, bytes.len() as u64).await?;
        for chunk in bytes[from as usize..].chunks(CHUNK) {
            wire::send_raw(&mut link.stream, chunk).await?;
        }
        Ok(tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await??)
    }

    /// What is expected while nothing was installed.
    fn is_untouched(&self) {
        assert_eq!(self.node.store.state().tokens.iter().count(), 0);
        assert_eq!(self.node.store.status().fatal, None);
    }
}

/// A snapshot of a cluster with one token, made by another node.
async fn snapshot_elsewhere(dir: &std::path::Path) -> Result<(SnapshotMetaOf<TypeConfig>, Vec<u8>)> {
    let mut machine = StateMachine::open(Arc::new(LocalDisk), dir)?;
    let command = Command::InitCluster { cluster: ClusterId(5), token: TokenId(1), token_hash: [7; 32] };
    let payload = EntryPayload::Normal(Proposal::new(Entry { at: Timestamp(1), command }));
    let entry = EntryOf::<TypeConfig>::new(LogId::new_term_index(1, 9), payload);
    machine.apply(Box::pin(futures::stream::iter([Ok((entry, None))]))).await?;
    let snapshot = machine.get_snapshot_builder().await.build_snapshot().await?;
    Ok((snapshot.meta, std::fs::read(&snapshot.snapshot.path)?))
}

#[tokio::test]
async fn only_a_whole_and_right_snapshot_is_installed() -> Result {
    let dir = tempfile::tempdir()?;
    let (meta, good) = snapshot_elsewhere(&dir.path().join("elsewhere")).await?;
    let receiver = Receiver::start(dir.path()).await?;

    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [&flipped[..], &good[..good.len() - 1], b"", b"nothing of the kind"] {
        match receiver.send(&meta, bad).await? {
            Response::Failed(why) => assert!(why.contains("is damaged"), "{why}"),
            other => panic!("{other:?}"),
        }
        receiver.is_untouched();
    }
    let another =
        SnapshotMetaOf::<TypeConfig> { last_log_id: Some(LogId::new_term_index(1, 10)), ..meta.clone() };
    match receiver.send(&another, &good).await? {
        Response::Failed(why) => assert!(why.contains("the snapshot is of"), "{why}"),
        other => panic!("{other:?}"),
    }
    receiver.is_untouched();

    match receiver.send(&meta, &good).await? {
        Response::Snapshot(_) => {}
        other => panic!("{other:?}"),
    }
    let mut applied = receiver.node.store.applied();
    tokio::time::timeout(PATIENCE, applied.wait_for(|index| *index == 9)).await??;
    let state = receiver.node.store.state();
    assert_eq!((state.cluster, state.tokens.iter().count()), (Some(ClusterId(5)), 1));
    receiver.node.store.shutdown().await;

    // It is on disk as well, and nothing that was received is left beside it.
    let state_dir = dir.path().join("data/state");
    assert_eq!(StateMachine::open(Arc::new(LocalDisk), &state_dir)?.view().current().index, 9);
    assert_eq!(std::fs::read_dir(state_dir)?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_goes_on_where_its_link_broke_off() -> Result {
    let dir = tempfile::tempdir()?;
    let (meta, good) = snapshot_elsewhere(&dir.path().join("elsewhere")).await?;
    let receiver = Receiver::start(dir.path()).await?;
    let (bytes, half) = (good.len() as u64, good.len() / 2);

    let (mut link, from) = receiver.announce(&meta, bytes).await?;
    assert_eq!(from, 0);
    wire::send_raw(&mut link.stream, &good[..half]).await?;
    link.stream.shutdown().await?;
    // The other side has heard of the end, and keeps what it has, once it closes as well.
    let end = tokio::time::timeout(PATIENCE, wire::receive_raw(&mut link.stream)).await?;
    assert!(end.is_err(), "an answer to half a snapshot");

    // Another one is begun anew; the first is given up for it.
    let other =
        SnapshotMetaOf::<TypeConfig> { last_log_id: Some(LogId::new_term_index(1, 10)), ..meta.clone() };
    let (mut link, from) = receiver.announce(&other, bytes).await?;
    assert_eq!(from, 0);
    link.stream.shutdown().await?;
    assert!(tokio::time::timeout(PATIENCE, wire::receive_raw(&mut link.stream)).await?.is_err());

    let (mut link, from) = receiver.announce(&meta, bytes).await?;
    assert_eq!(from, 0);
    wire::send_raw(&mut link.stream, &good[..half]).await?;
    link.stream.shutdown().await?;
    assert!(tokio::time::timeout(PATIENCE, wire::receive_raw(&mut link.stream)).await?.is_err());
    let (mut link, from) = receiver.announce(&meta, bytes).await?;
    assert_eq!(from, half as u64);
    wire::send_raw(&mut link.stream, &good[half..]).await?;
    match tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await?? {
        Response::Snapshot(_) => {}
        other => panic!("{other:?}"),
    }
    let mut applied = receiver.node.store.applied();
    tokio::time::timeout(PATIENCE, applied.wait_for(|index| *index == 9)).await??;
    receiver.node.store.shutdown().await;
    Ok(())
}
