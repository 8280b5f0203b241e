//! Ten thousand connections to the leader (row 10 of docs/bad-input.md): so many of each address, so many in all, and the others
//! are closed; who leads and what runs does not change, also when the node begins with few files that it may open.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use chaos::cluster::{Cluster, Plan};
use chaos::until;
use reqwest::{Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

/// In all, and of one address, unless it is configured otherwise.
const IN_ALL: usize = 8192;
const OF_ONE: usize = 1024;
/// Addresses that connect, and connections of each.
const ADDRESSES: u8 = 16;
const EACH: usize = 640;
/// Connections at one time that are not made yet.
const AT_ONCE: usize = 64;

/// Connections from this address, which say nothing; none of those that were closed before they came about.
async fn connect(to: SocketAddr, from: Ipv4Addr, count: usize) -> Vec<TcpStream> {
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        let some = (0..AT_ONCE.min(count - made.len())).map(async |_| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            socket.connect(to).await.unwrap()
        });
        made.extend(futures::future::join_all(some).await);
    }
    made
}

/// How many of them the node has closed, as far as this process has heard.
fn closed(connections: &[TcpStream]) -> usize {
    let is_closed = |connection: &&TcpStream| match connection.try_read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    connections.iter().filter(is_closed).count()
}

async fn refused(cluster: &Cluster, node: usize) -> f64 {
    cluster.nodes[node].metric("troupe_http_connections_refused_total").await.unwrap()
}

async fn term(cluster: &Cluster, node: usize) -> Value {
    let seen = cluster.nodes[node].get("/v1/cluster").await;
    json!([seen["leader"], seen["term"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_are_capped_and_disturb_neither_raft_nor_builds() {
    // Nodes inherit a low limit, as from a shell; this process needs a high one.
    let limit = getrlimit(Resource::Nofile);
    let wanted = usize::from(ADDRESSES) * EACH + 1000;
    if limit.maximum.is_some_and(|most| most < wanted as u64) {
        println!("skipped: {wanted} open files are needed, and {:?} are allowed", limit.maximum);
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(1024), ..limit }).unwrap();
    let mut cluster = Cluster::planned(&Plan::fake(3)).await;
    // Long enough that silence is not what ends these connections.
    for number in 0..3 {
        cluster.nodes[number].stop();
        cluster.nodes[number].environment.push(("TROUPE_HTTP__HEADER_TIMEOUT_MS", "60000".into()));
        cluster.start_node(number);
        cluster.settled().await;
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let leader = cluster.leader().await;
    let (follower, other) = cluster.others(leader);
    let before = term(&cluster, follower).await;
    let go = cluster.dir.path().join("go");
    let script = format!("until test -f {}; do sleep 0.05; done", go.display());
    let job = json!({ "script": script, "labels": [cluster.nodes[leader].name] });
    let answer = cluster.nodes[leader].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let run = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    until("the build runs", async || {
        let seen = cluster.nodes[follower].try_get(&format!("/v1/runs/{run}")).await?;
        (seen["jobs"][0]["state"] == "running").then_some(())
    })
    .await;

    let from = |number| Ipv4Addr::new(127, 1, 1, number);
    let to = |node: usize| SocketAddr::from((cluster.nodes[node].address, 7070));
    let of_one = connect(to(other), from(1), OF_ONE + 100).await;
    until("those past the cap of an address are closed", async || {
        (refused(&cluster, other).await >= 100.0).then_some(())
    })
    .await;
    until("exactly they", async || (closed(&of_one) == 100).then_some(())).await;
    let mut all = Vec::new();
    for number in 1..=ADDRESSES {
        all.extend(connect(to(leader), from(number), EACH).await);
    }
    let over = all.len() - IN_ALL;
    until("those past the cap in all are closed", async || {
        (refused(&cluster, leader).await >= over as f64).then_some(())
    })
    .await;
    // A request of this test may have had a place while they came.
    let held = until("they know it", async || {
        let held = all.len() - closed(&all);
        (held <= IN_ALL).then_some(held)
    })
    .await;
    assert!(held + 8 >= IN_ALL, "{held} are held");
    // Whoever asks another node changes things, through the leader; what runs there goes on, and so does the log.
    let job = json!({ "script": "echo well", "labels": [cluster.nodes[leader].name] });
    let answer = cluster.nodes[follower].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let second = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(cluster.finished(follower, &second).await["outcome"], "succeeded");
    std::fs::write(&go, "").unwrap();
    let ended = cluster.finished(follower, &run).await;
    assert_eq!(
        (&ended["outcome"], &ended["jobs"][0]["attempts"]),
        (&json!("succeeded"), &json!(1)),
        "{ended}"
    );
    assert_eq!(term(&cluster, follower).await, before, "the same leader in the same term");
    drop((all, of_one));
    until("places come back", async || cluster.nodes[leader].try_get("/v1/cluster").await).await;
}
