//! What a node of an older release does not know is not brought into the log, whoever proposes it: neither by a store that
//! knows of the node, nor by a leader that is asked by one that does not.

use domain::{BootId, Capacity, ClusterState, Command, NodeFacts, NodeId, Release, Reply, Resources};

use super::alone::{Alone, ME, Result, caller};
use super::*;
use crate::ProposeError;
use crate::wire::Proposed;

fn register(version: &str) -> Command {
    Command::RegisterNode(NodeFacts {
        node: NodeId(ME),
        name: "me".parse().expect("a good name"),
        boot: BootId(1),
        cluster_addr: String::new(),
        http_addr: String::new(),
        labels: Default::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 0, memory_mib: 0 }, slots: 0 },
        version: version.to_owned(),
    })
}

fn drain() -> Command {
    Command::SetDrain { node: NodeId(ME), drain: true, until: None, life: None }
}

#[tokio::test]
async fn a_command_waits_until_every_node_is_of_a_release_that_knows_it() -> Result {
    let dir = tempfile::tempdir()?;
    let node = Alone::start(dir.path(), 1).await?;
    let store = &node.store;
    let mut applied = store.applied();
    let begun = |state: &ClusterState| state.cluster.is_some();
    tokio::time::timeout(PATIENCE, applied.wait_for(|_| begun(&store.state()))).await??;

    assert_eq!(store.propose(register("0.0.9")).await?.reply, Reply::Done);
    let old = Release { major: 0, minor: 0 };
    let refused = ProposeError::NotYet { needed: Release::FIRST, release: old };
    let error = store.propose(drain()).await.err().ok_or("it was proposed")?;
    assert_eq!(error, refused);
    assert!(
        error.to_string().starts_with("this needs release 0.1 on every node, and one has 0.0"),
        "{error}"
    );

    // As from a follower that has not heard of the old node: the rest of its batch goes on, each with its own answer.
    let follower = caller(dir.path(), node.mine.clone(), ME)?;
    let mut link = follower.open(&node.addr, Some((ME, "me"))).await?;
    let batch = vec![drain(), register("0.0.9"), drain()].into_iter().map(std::sync::Arc::new).collect();
    wire::send(&mut link.stream, &Request::Propose(batch)).await?;
    let answer = tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream)).await??;
    let Response::Proposed(answers) = answer else { return Err(format!("{answer:?}").into()) };
    assert!(
        matches!(
            &answers[..],
            [
                Proposed::NotYet { .. },
                Proposed::Committed { reply: Reply::Done, .. },
                Proposed::NotYet { .. }
            ]
        ),
        "{answers:?}"
    );
    assert!(store.state().nodes.get(&NodeId(ME)).is_some_and(|node| !node.drain));

    store.propose(register("0.1.0")).await?;
    assert_eq!(store.propose(drain()).await?.reply, Reply::Done);
    store.shutdown().await;
    Ok(())
}
