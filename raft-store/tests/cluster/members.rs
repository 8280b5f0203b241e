//! Nodes that join, vote, move, hand over, are removed, and die.

use std::time::Duration;

use domain::{NodeId, TokenId};
use raft_store::{MembersError, Role, Store, Voting};

use crate::nodes::{Nodes, Result};
use crate::token;

fn voters(store: &Store) -> usize {
    store.status().voters.len()
}

async fn begun(nodes: &mut Nodes) -> Result {
    nodes.start_all().await?;
    nodes.all_have(|state| state.cluster.is_some()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_were_let_in_become_voters_two_at_a_time() -> Result {
    let mut nodes = Nodes::new(1, 1)?;
    begun(&mut nodes).await?;
    let second = nodes.admit("second").await?;
    let admitted = nodes.store(0).members().await;
    assert!(admitted.iter().any(|member| member.name == "second"), "{admitted:?}");
    nodes.start(second).await?;
    nodes.sees(0, "a learner", |store| store.status().learners.len() == 1).await?;
    let third = nodes.admit("third").await?;
    nodes.start(third).await?;
    nodes.sees(0, "three voters", |store| voters(store) == 3).await?;
    let fourth = nodes.admit("fourth").await?;
    nodes.start(fourth).await?;
    nodes.sees(0, "a learner", |store| store.status().learners.len() == 1).await?;
    // A learner takes part: it forwards, and has everything.
    nodes.sees(fourth, "who leads", |store| store.leadership().borrow().leader.is_some()).await?;
    nodes.store(fourth).linearizable().await?;
    nodes.store(fourth).propose(token(77)).await?.accepted()?;
    nodes.all_have(|state| state.tokens.contains(&TokenId(77))).await?;
    let members = nodes.store(fourth).members().await;
    let roles: Vec<_> = members.iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Leader, Role::Voter, Role::Voter, Role::Learner], "{members:?}");
    assert!(members.iter().all(|member| member.behind.is_some()), "{members:?}");
    nodes.hashes_agree().await?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_asked_to_and_elsewhere_before_a_stop() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    begun(&mut nodes).await?;
    let first = nodes.leader().await?;
    let (second, third) = ((first + 1) % 3, (first + 2) % 3);
    // Asked of a node that neither leads nor is to lead.
    let to = nodes.id(second)?;
    assert_eq!(nodes.store(third).transfer_leader(Some(to)).await?, to);
    nodes.sees(second, "itself lead", |store| store.leadership().borrow().is_me).await?;
    let nobody = nodes.store(first).transfer_leader(Some(NodeId(5))).await;
    assert_eq!(nobody, Err(MembersError::NotFound { node: NodeId(5) }));
    nodes.store(second).hand_over().await;
    assert!(!nodes.store(second).leadership().borrow().is_me);
    nodes.stop(second).await;
    nodes.store(first).propose(token(8)).await?.accepted()?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_knows_it_also_when_it_was_away_and_when_it_led() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    begun(&mut nodes).await?;
    let leader = nodes.leader().await?;
    let (other, away) = ((leader + 1) % 3, (leader + 2) % 3);
    let spare = nodes.admit("spare").await?;
    nodes.start(spare).await?;
    nodes.sees(leader, "the spare learner", |store| store.status().learners.len() == 1).await?;

    nodes.stop(away).await;
    let (gone, led) = (nodes.id(away)?, nodes.id(leader)?);
    // The spare takes its place once it has been there for a while.
    nodes.store(other).remove_member(gone).await?;
    let without = |id: NodeId| {
        move |store: &Store| {
            let status = store.status();
            !status.voters.contains(&id) && !status.learners.contains(&id)
        }
    };
    nodes.sees(other, "one member fewer", without(gone)).await?;
    nodes.start(away).await?;
    let removed = tokio::time::timeout(Duration::from_secs(60), nodes.store(away).removed()).await?;
    assert_eq!(removed.node, gone);
    nodes.stop(away).await;

    nodes.sees(other, "the spare vote", |store| voters(store) == 3).await?;
    nodes.store(leader).remove_member(led).await?;
    let removed = tokio::time::timeout(Duration::from_secs(60), nodes.store(leader).removed()).await?;
    assert_eq!(removed.node, led);
    nodes.sees(other, "two members", without(led)).await?;
    assert_eq!(voters(nodes.store(other)), 2);
    nodes.stop(leader).await;
    nodes.store(spare).propose(token(9)).await?.accepted()?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_would_cost_the_majority_is_refused() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    begun(&mut nodes).await?;
    let leader = nodes.leader().await?;
    let (other, away) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes.stop(away).await;
    let id = nodes.id(other)?;
    let refused = loop {
        // Until the leader has noticed.
        let silent = nodes.store(leader).members().await;
        let away = nodes.id(away)?;
        if silent.iter().any(|m| m.id == away && m.silent > Some(Duration::from_secs(1))) {
            break nodes.store(leader).remove_member(id).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let Err(MembersError::Refused { why, .. }) = refused else { return Err(format!("{refused:?}").into()) };
    assert!(why.contains(&format!("bring n{away} back")), "{why}");
    assert!(nodes.store(leader).state().removed.is_empty());
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_voters_place_is_taken_by_a_learner_and_it_comes_back_as_one() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    nodes.voting = Voting { dead_after: Duration::from_secs(2), ..Voting::default() };
    begun(&mut nodes).await?;
    let leader = nodes.leader().await?;
    let spare = nodes.admit("spare").await?;
    nodes.start(spare).await?;
    nodes.sees(leader, "the spare learner", |store| store.status().learners.len() == 1).await?;
    let dead = (leader + 1) % 3;
    let (dead_id, spare_id) = (nodes.id(dead)?, nodes.id(spare)?);
    nodes.stop(dead).await;
    nodes
        .sees(leader, "the spare in the dead one's place", |store| {
            let voters = store.status().voters;
            voters.contains(&spare_id) && !voters.contains(&dead_id) && voters.len() == 3
        })
        .await?;
    nodes.store(leader).propose(token(5)).await?.accepted()?;
    nodes.start(dead).await?;
    nodes.all_have(|state| state.tokens.contains(&TokenId(5))).await?;
    nodes.sees(dead, "itself a learner", |store| store.status().learners == [dead_id]).await?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_elsewhere_is_found() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    begun(&mut nodes).await?;
    let leader = nodes.leader().await?;
    let moving = (leader + 1) % 3;
    nodes.stop(moving).await;
    nodes.move_away(moving)?;
    nodes.store(leader).propose(token(6)).await?.accepted()?;
    nodes.start(moving).await?;
    nodes.all_have(|state| state.tokens.contains(&TokenId(6))).await?;
    let id = nodes.id(moving)?;
    let addr = nodes.addr(moving).to_owned();
    // It is in the membership, too: who did not hear it from the node itself finds it there.
    let other = (leader + 2) % 3;
    nodes.sees(leader, "it caught up", |store| store.status().lag.iter().all(|(_, lag)| *lag == 0)).await?;
    nodes.store(leader).transfer_leader(Some(id)).await?;
    nodes
        .sees(other, "the new address in the membership", |store| {
            let leader = store.leadership().borrow().leader.clone();
            leader.is_some_and(|(leader, address)| leader == id.0 && address.cluster_addr == addr)
        })
        .await?;
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_comes_back_elsewhere_says_so_in_the_membership() -> Result {
    let mut nodes = Nodes::new(1, 1)?;
    begun(&mut nodes).await?;
    nodes.stop(0).await;
    nodes.move_away(0)?;
    nodes.start(0).await?;
    let (id, addr) = (nodes.id(0)?.0, nodes.addr(0).to_owned());
    nodes
        .sees(0, "its new address in the membership", |store| {
            let leader = store.leadership().borrow().leader.clone();
            leader.is_some_and(|(leader, address)| leader == id && address.cluster_addr == addr)
        })
        .await?;
    nodes.stop_all().await;
    Ok(())
}

/// Everything in a node's directory but these.
fn lose(dir: &std::path::Path, keep: &[&str]) -> Result {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if keep.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_log_does_not_vote_again_under_its_id() -> Result {
    let mut nodes = Nodes::new(3, 3)?;
    begun(&mut nodes).await?;
    let leader = nodes.leader().await?;
    let (other, wiped) = ((leader + 1) % 3, (leader + 2) % 3);
    let id = nodes.id(wiped)?;
    // The mark comes a little after the log.
    let mark = nodes.data_dir(wiped).join("member");
    nodes.sees(wiped, "its log", |_| mark.exists()).await?;
    nodes.stop(wiped).await;
    // Where it can see that it had a log, it does not start.
    lose(&nodes.data_dir(wiped), &["node-id", "member"])?;
    let refused = nodes.start(wiped).await.err().ok_or("it started")?.to_string();
    assert!(refused.contains("may not vote again") && refused.contains("troupe cluster remove"), "{refused}");

    // Where only its id came back, as from a copy, it takes nothing from the cluster, and the cluster goes on without it.
    lose(&nodes.data_dir(wiped), &["node-id"])?;
    nodes.start(wiped).await?;
    nodes.store(other).propose(token(1)).await?.accepted()?;
    loop {
        let members = nodes.store(leader).members().await;
        if members.iter().any(|member| member.id == id && member.silent > Some(Duration::from_secs(2))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = nodes.store(wiped).status();
    assert_eq!((status.last_log, status.leadership.term), (0, 0), "{status:?}");
    assert!(nodes.store(wiped).state().cluster.is_none());
    nodes.stop_all().await;
    Ok(())
}
