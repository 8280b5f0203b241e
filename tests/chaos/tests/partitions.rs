//! Nodes that stand still, and wires that carry nothing, in one direction or both (row 49 of docs/bad-input.md): the majority
//! goes on, the minority acknowledges nothing that does not last, and afterwards all agree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use chaos::cluster::{Cluster, Plan};
use chaos::node::Node;
use chaos::submits::Submits;
use chaos::until;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

fn plan() -> Plan {
    Plan { wires: true, more: "leases = { leader_ms = 3000, node_ms = 2000 }\n".to_owned(), ..Plan::fake(3) }
}

/// Which of the others leads, in the words of both.
async fn another_leads(cluster: &Cluster, than: usize) -> usize {
    let (first, second) = cluster.others(than);
    until(format!("another than node-{} leads, as both others say", than + 1), async || {
        let seen = async |number: usize| -> Option<usize> {
            let seen = cluster.nodes[number].try_get("/v1/cluster").await?;
            cluster.by_id(seen["leader"].as_str()?)
        };
        let leaders = (seen(first).await?, seen(second).await?);
        (leaders.0 == leaders.1 && leaders.0 != than).then_some(leaders.0)
    })
    .await
}

/// Until all nodes name one leader.
async fn all_agree(cluster: &Cluster) {
    until("all nodes name one leader", async || {
        let mut leaders = Vec::new();
        for node in &cluster.nodes {
            leaders.push(node.try_get("/v1/cluster").await?["leader"].as_str()?.to_owned());
        }
        leaders.windows(2).all(|two| two[0] == two[1]).then_some(())
    })
    .await;
}

async fn is_lost(cluster: &Cluster, at: usize, node: &Node, wanted: bool) {
    until(format!("{} is lost: {wanted}", node.name), async || {
        let nodes = cluster.nodes[at].try_get("/v1/nodes").await?;
        let seen = nodes["items"].as_array()?.iter().find(|seen| seen["name"] == *node.name)?;
        (seen["lost"] == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_is_replaced_and_comes_back_as_a_follower() {
    let cluster = Cluster::planned(&plan()).await;
    let leader = cluster.leader().await;
    let (first, second) = cluster.others(leader);
    let all = Submits::start(&cluster.nodes);
    all.more(30).await;
    let before = all.end().await;

    cluster.nodes[leader].signal(Signal::STOP);
    let next = another_leads(&cluster, leader).await;
    let pair = Submits::start([&cluster.nodes[first], &cluster.nodes[second]]);
    pair.more(30).await;
    is_lost(&cluster, next, &cluster.nodes[leader], true).await;
    pair.more(30).await;
    cluster.nodes[leader].signal(Signal::CONT);
    // It finds out that it leads no more, and registers anew.
    is_lost(&cluster, next, &cluster.nodes[leader], false).await;
    all_agree(&cluster).await;
    pair.more(10).await;
    let during = pair.end().await;
    before.all_are_in(&cluster.nodes).await;
    during.all_are_in(&cluster.nodes).await;
    assert_eq!(before.failed, Vec::<String>::new());
}

/// Cuts a leader off in these directions, as (from it, to it), and mends that again.
async fn cut_off(from: bool, to: bool) {
    let cluster = Cluster::planned(&plan()).await;
    let leader = cluster.leader().await;
    let (first, second) = cluster.others(leader);
    let all = Submits::start(&cluster.nodes);
    all.more(30).await;

    let mut pairs = Vec::new();
    for other in [first, second] {
        pairs.extend(from.then_some((leader, other)));
        pairs.extend(to.then_some((other, leader)));
    }
    cluster.cut(&pairs);
    let next = another_leads(&cluster, leader).await;
    // Whoever asks the one that is cut off is not told that it was done.
    let job = json!({ "script": "true", "labels": ["no-such-node"] });
    let answer = cluster.nodes[leader].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let pair = Submits::start([&cluster.nodes[first], &cluster.nodes[second]]);
    pair.more(30).await;
    is_lost(&cluster, next, &cluster.nodes[leader], true).await;
    pair.more(30).await;

    cluster.heal();
    all_agree(&cluster).await;
    is_lost(&cluster, next, &cluster.nodes[leader], false).await;
    all.more(30).await;
    let seen = [all.end().await, pair.end().await];
    for seen in &seen {
        seen.all_are_in(&cluster.nodes).await;
    }
    println!("not acknowledged: {:?}", seen.iter().map(|seen| seen.failed.len()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_neither_hears_nor_is_heard_is_replaced_and_nothing_is_lost() {
    cut_off(true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_not_heard_is_replaced_and_nothing_is_lost() {
    cut_off(true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_does_not_hear_is_replaced_and_nothing_is_lost() {
    cut_off(false, true).await;
}

/// A follower that is cut off for long does not depose the leader when it is back: it asks first.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_comes_back_disturbs_nobody() {
    let cluster = Cluster::planned(&plan()).await;
    let leader = cluster.leader().await;
    let (away, stays) = cluster.others(leader);
    let term = cluster.nodes[leader].metric("troupe_raft_term").await.unwrap();
    let pair = Submits::start([&cluster.nodes[leader], &cluster.nodes[stays]]);
    cluster.cut(&[(away, leader), (leader, away), (away, stays), (stays, away)]);
    is_lost(&cluster, leader, &cluster.nodes[away], true).await;
    pair.more(30).await;
    cluster.heal();
    is_lost(&cluster, leader, &cluster.nodes[away], false).await;
    all_agree(&cluster).await;
    let seen = pair.end().await;
    assert_eq!(seen.failed, Vec::<String>::new());
    seen.all_are_in(&cluster.nodes).await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.nodes[leader].metric("troupe_raft_term").await, Some(term));
}
