//! A majority is lost for good: what one node has becomes a new cluster.

use std::path::Path;

use domain::{Timestamp, TokenId};
use raft_store::NodeAddress;
use raft_store::recovery::{RecoverError, Recovery};

use crate::nodes::{Nodes, Result};
use crate::token;

const AT: Timestamp = Timestamp(1);

fn copy(from: &Path, to: &Path) -> Result {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Three nodes that have `count` tokens and are stopped.
async fn stopped(count: u128) -> Result<Nodes> {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.start_all().await?;
    nodes.all_have(|state| state.cluster.is_some()).await?;
    for n in 0..count {
        nodes.store(0).propose(token(100 + n)).await?.accepted()?;
    }
    nodes.all_have(|state| state.tokens.len() as u128 == count + 1).await?;
    nodes.stop_all().await;
    Ok(nodes)
}

async fn recover(nodes: &Nodes, n: usize) -> Result<domain::ClusterId> {
    let recovery = Recovery::look(&nodes.data_dir(n)).await?;
    assert_eq!(recovery.node(), nodes.id(n)?);
    let found = recovery.found();
    assert_eq!(found.members.iter().filter(|(_, _, votes)| *votes).count(), 3);
    let me = NodeAddress { name: format!("n{n}"), cluster_addr: nodes.addr(n).to_owned() };
    let old = found.cluster;
    let new = recovery.carry_out(me, AT).await?;
    assert_ne!(old, new);
    Ok(new)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_survivor_goes_on_alone_with_all_it_has_and_takes_new_nodes_in() -> Result {
    let mut nodes = stopped(5).await?;
    let looked = Recovery::look(&nodes.data_dir(0)).await?.found().clone();
    let cluster = recover(&nodes, 0).await?;
    nodes.start(0).await?;
    nodes.leader().await?;
    let store = nodes.store(0);
    nodes.sees(0, "itself the only voter", |store| store.status().voters.len() == 1).await?;
    assert_eq!((store.state().cluster, store.state().tokens.len()), (Some(cluster), 6));
    assert_eq!(looked.members.len() - 1, store.state().removed.len());
    assert!(store.status().last_log > looked.last_log);
    store.propose(token(1)).await?.accepted()?;
    for name in ["second", "third"] {
        let n = nodes.admit(name).await?;
        nodes.start(n).await?;
    }
    nodes.sees(0, "three voters", |store| store.status().voters.len() == 3).await?;
    nodes.all_have(|state| state.tokens.contains(&TokenId(1))).await?;
    nodes.hashes_agree().await?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_cluster_and_the_new_one_have_nothing_to_do_with_each_other() -> Result {
    let mut nodes = stopped(1).await?;
    let new = recover(&nodes, 0).await?;
    // The others come back after all: they are the old cluster, and a majority of it.
    nodes.start_all().await?;
    nodes.sees(0, "itself lead", |store| store.leadership().borrow().is_me).await?;
    nodes.store(0).propose(token(1)).await?.accepted()?;
    nodes.sees(1, "a leader of the old", |store| store.leadership().borrow().leader.is_some()).await?;
    nodes.store(1).propose(token(2)).await?.accepted()?;
    nodes.sees(2, "what the old accepts", |store| store.state().tokens.contains(&TokenId(2))).await?;
    assert_eq!(nodes.store(0).state().cluster, Some(new));
    assert_ne!(nodes.store(1).state().cluster, Some(new));
    assert!(!nodes.store(0).state().tokens.contains(&TokenId(2)));
    assert!(!nodes.store(1).state().tokens.contains(&TokenId(1)));
    assert_eq!(nodes.store(0).status().voters, [nodes.id(0)?]);
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_after_its_moment_it_has_happened_and_repeated_it_happens_again() -> Result {
    let mut nodes = stopped(3).await?;
    let log = nodes.data_dir(0).join("log");
    let before = nodes.data_dir(0).with_file_name("log-before");
    copy(&log, &before)?;
    let first = recover(&nodes, 0).await?;
    // The process died before the log was purged.
    std::fs::remove_dir_all(&log)?;
    copy(&before, &log)?;
    nodes.start(0).await?;
    nodes.sees(0, "itself lead", |store| store.leadership().borrow().is_me).await?;
    assert_eq!((nodes.store(0).state().cluster, nodes.store(0).state().tokens.len()), (Some(first), 4));
    nodes.store(0).propose(token(1)).await?.accepted()?;
    nodes.stop(0).await;

    let again = Recovery::look(&nodes.data_dir(0)).await?;
    assert_eq!((again.found().cluster, again.found().members.len()), (first, 1));
    let me = NodeAddress { name: "n0".to_owned(), cluster_addr: nodes.addr(0).to_owned() };
    let second = again.carry_out(me, AT).await?;
    nodes.start(0).await?;
    nodes.sees(0, "itself lead", |store| store.leadership().borrow().is_me).await?;
    assert_eq!((nodes.store(0).state().cluster, nodes.store(0).state().tokens.len()), (Some(second), 5));
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn what_is_no_members_data_is_not_recovered() -> Result {
    let dir = tempfile::tempdir()?;
    for (file, missing) in [("", "no node id"), ("node-id", "no log"), ("log", "are empty")] {
        match file {
            "" => {}
            "node-id" => std::fs::write(dir.path().join(file), "00000000000000aa\n")?,
            dir_name => std::fs::create_dir(dir.path().join(dir_name))?,
        }
        match Recovery::look(dir.path()).await {
            Err(RecoverError::Nothing { why, .. }) => assert!(why.contains(missing), "{why}"),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}
