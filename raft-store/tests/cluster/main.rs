//! Three stores in one process, over real links with mutual TLS on 127.0.0.1, durable on three directories.

mod members;
mod nodes;
mod recovery;

use std::collections::BTreeSet;

use domain::{Command, Reply, Right, TokenId};
use nodes::{Nodes, Result};
use raft_store::{ProposeError, TOKEN_FILE};
use sha2::{Digest, Sha256};

fn token(n: u128) -> Command {
    let name = format!("token {n}");
    Command::CreateToken { id: TokenId(n), name, hash: [n as u8; 32], right: Right::Read, expires_at: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_new_nodes_become_one_cluster_with_one_admin_token() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.start_all().await?;
    let leader = nodes.leader().await?;
    nodes.all_have(|state| state.cluster.is_some()).await?;
    let ids: BTreeSet<_> = nodes.stores().map(|store| store.state().cluster).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(nodes.store(leader).status().voters.len(), 3);
    let files: Vec<_> =
        (0..3).map(|n| nodes.data_dir(n).join(TOKEN_FILE)).filter(|path| path.exists()).collect();
    assert_eq!(files.len(), 1, "the token is on one node");
    let secret = std::fs::read_to_string(&files[0])?;
    let hash = Sha256::digest(secret.trim()).into();
    let state = nodes.store(leader).state();
    assert_eq!(state.find_token(&hash).map(|(_, token)| token.right), Some(Right::Admin));
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_proposed_anywhere_is_applied_everywhere_in_one_order() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.start_all().await?;
    let leader = nodes.leader().await?;
    nodes.all_have(|state| state.cluster.is_some()).await?;
    let mut indices = BTreeSet::new();
    for n in 0..3 {
        let store = nodes.store(n);
        let many = (0..200).map(|i| store.propose(token(n as u128 * 1000 + i + 10)));
        for committed in futures::future::join_all(many).await {
            let committed = committed?;
            assert_eq!(committed.reply, Reply::Done);
            assert!(indices.insert(committed.index), "two commands at index {}", committed.index);
        }
    }
    let last = *indices.last().ok_or("no command")?;
    for store in nodes.stores() {
        assert!(store.linearizable().await? >= last);
        assert!(store.state().tokens.len() >= 600);
    }
    nodes.hashes_agree().await?;
    let follower = (leader + 1) % 3;
    let index = nodes.store(follower).propose(token(9999)).await?.index;
    assert!(nodes.store(follower).linearizable().await? >= index);
    assert!(
        nodes.store(follower).state().tokens.contains(&TokenId(9999)),
        "a read does not see the write before it"
    );
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_goes_on_without_its_leader_and_the_leader_catches_up() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.start_all().await?;
    let first = nodes.leader().await?;
    nodes.all_have(|state| state.cluster.is_some()).await?;
    nodes.stop(first).await;
    let survivor = (first + 1) % 3;
    // Held until there is a leader, then committed: nobody has to try again.
    nodes.store(survivor).propose(token(77)).await?;
    let second = nodes.leader().await?;
    assert_ne!(second, first);
    nodes.start(first).await?;
    nodes.all_have(|state| state.tokens.contains(&TokenId(77))).await?;
    nodes.hashes_agree().await?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_all_were_restarted() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.start_all().await?;
    nodes.leader().await?;
    let committed = nodes.store(0).propose(token(5)).await?;
    nodes.stop_all().await;
    nodes.start_all().await?;
    nodes.leader().await?;
    // Also while the leader it knows is the one of before.
    assert!(nodes.store(1).linearizable().await? >= committed.index);
    nodes.all_have(|state| state.tokens.contains(&TokenId(5))).await?;
    nodes.hashes_agree().await?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_acknowledged() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.start_all().await?;
    nodes.leader().await?;
    nodes.all_have(|state| state.cluster.is_some()).await?;
    nodes.stop(0).await;
    nodes.stop(1).await;
    let error = nodes.store(2).propose(token(5)).await.err().ok_or("acknowledged without a quorum")?;
    assert!(matches!(error, ProposeError::Unavailable | ProposeError::Unknown), "{error}");
    assert!(!nodes.store(2).state().tokens.contains(&TokenId(5)));
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_nodes_than_expected_begin_no_cluster() -> Result {
    let mut nodes = Nodes::new(2, 3)?;
    nodes.start_all().await?;
    let error = nodes.store(0).propose(token(5)).await.err().ok_or("two of three began a cluster")?;
    assert_eq!(error, ProposeError::Unavailable);
    assert!(nodes.stores().all(|store| store.status().voters.is_empty()));
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_another_cluster_are_refused() -> Result {
    let mut one = Nodes::new(1, 1)?;
    one.start_all().await?;
    one.all_have(|state| state.cluster.is_some()).await?;
    // The same CA and a seed in the other cluster: its nodes must not begin a cluster with it.
    let mut other = Nodes::beside(&one, 1, 2)?;
    other.start_all().await?;
    let error =
        other.store(0).propose(token(5)).await.err().ok_or("a node of another cluster was taken in")?;
    assert_eq!(error, ProposeError::Unavailable);
    assert_eq!(one.store(0).status().voters.len(), 1);
    other.stop_all().await;
    one.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_over_the_limit_is_refused_before_it_is_proposed() -> Result {
    let mut nodes = Nodes::new(1, 1)?;
    nodes.start_all().await?;
    nodes.all_have(|state| state.cluster.is_some()).await?;
    let submit = |spec: usize, label: usize| {
        let labels = domain::Labels::from_iter(["x".repeat(label)]);
        let job = domain::NewJob { labels, ..domain::NewJob::named("big") };
        let specs = vec![domain::SpecBytes(vec![0; spec].into())];
        let run = domain::NewRun::of(domain::RunId(1), "", vec![job], specs);
        let (key, sender) = (String::new(), String::new());
        Command::SubmitRun { key, digest: [0; 32], sender, run, max_open_jobs: 10 }
    };
    // Whatever makes it large: what could be proposed but not sent would stop replication.
    for command in [submit(600 * 1024, 1), submit(1, 600 * 1024)] {
        let error = nodes.store(0).propose(command).await.err().ok_or("600 KiB were proposed")?;
        assert!(matches!(error, ProposeError::TooLarge { .. }), "{error}");
    }
    nodes.stop_all().await;
    Ok(())
}
