//! Machines that join with a token, are wiped, removed, and die; seen from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chaos::cluster::{Cluster, Plan};
use chaos::node::Node;
use chaos::until;
use reqwest::Method;
use serde_json::{Value, json};

/// Members by name with their roles, sorted.
type Roles = Vec<(String, String)>;

/// A cluster in which the first node signs certificates of those who join.
async fn cluster(size: usize) -> Cluster {
    Cluster::planned(&Plan { signs: true, ..Plan::fake(size) }).await
}

/// A token with which the machine of this name may join.
fn token(node: &Node, name: &str) -> String {
    node.cli(&["token", "create", name, "--right", "join"]).well()
}

async fn roles(node: &Node) -> Option<Roles> {
    let members = node.try_get("/v1/cluster/members").await?;
    let text = |member: &Value, field: &str| member[field].as_str().map(str::to_owned);
    let one = |member: &Value| Some((text(member, "name")?, text(member, "role")?));
    let mut roles = members["items"].as_array()?.iter().map(one).collect::<Option<Roles>>()?;
    roles.sort();
    Some(roles)
}

async fn until_roles(node: &Node, what: &str, wanted: impl Fn(&Roles) -> bool) {
    until(what, async || roles(node).await.filter(|roles| wanted(roles)).map(drop)).await;
}

/// A node that does not lead and whose place can be taken, and another: the first node signs, and stays.
async fn two(cluster: &Cluster) -> (usize, usize) {
    let leader = cluster.leader().await;
    let gone = if leader == 1 { 2 } else { 1 };
    (gone, 3 - gone - leader)
}

/// Waits until the member with the id that this node has now votes.
async fn until_votes(node: &Node, voter: &Node) {
    until(format!("{} votes", voter.name), async || {
        let members = node.try_get("/v1/cluster/members").await?;
        let id = voter.id()?;
        let member = members["items"].as_array()?.iter().find(|member| member["id"] == id)?.clone();
        (member["role"] == "voter").then_some(())
    })
    .await;
}

/// How many vote, the leader among them.
fn voters(roles: &Roles) -> usize {
    roles.iter().filter(|(_, role)| role == "voter" || role == "leader").count()
}

fn role_of<'a>(roles: &'a Roles, name: &str) -> Option<&'a str> {
    roles.iter().find(|(member, _)| member == name).map(|(_, role)| role.as_str())
}

/// Submits a job for one node at another and waits for its end there.
async fn runs_a_job(cluster: &Cluster, ask: usize, node: usize) {
    let job = json!({ "script": "echo done", "labels": [cluster.nodes[node].name] });
    let run = until("a submit is accepted", async || {
        let answer = cluster.nodes[ask].request(Method::POST, "/v1/runs").json(&job).send().await.ok()?;
        let body = answer.json::<Value>().await.ok()?;
        Some(body["id"].as_str()?.to_owned())
    })
    .await;
    let ended = cluster.finished(ask, &run).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    assert_eq!(ended["jobs"][0]["node"].as_str(), cluster.nodes[node].id().as_deref());
}

/// The machine has nothing any more but its configuration.
fn wipe(node: &Node) {
    fs::remove_dir_all(node.data()).unwrap();
    fs::remove_dir_all(node.dir.join("pki")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_join_with_a_token_get_a_certificate_and_vote() {
    let mut cluster = cluster(1).await;
    let (second, third) = (cluster.machine(), cluster.machine());
    for joining in [second, third] {
        let token = token(&cluster.nodes[0], &cluster.nodes[joining].name);
        cluster.nodes[joining].join(&token);
        until_roles(&cluster.nodes[0], "it is a member", |roles| roles.len() == joining + 1).await;
    }
    until_roles(&cluster.nodes[0], "three vote", |roles| voters(roles) == 3).await;
    cluster.settled().await;
    for joined in [second, third] {
        let node = &cluster.nodes[joined];
        let key = node.dir.join(format!("pki/{}-key.pem", node.name));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!node.data().join("join").exists(), "nothing is left of the request");
        runs_a_job(&cluster, 0, joined).await;
    }
    // Started again it is the same node, whatever token it is given.
    let id = cluster.nodes[second].id();
    cluster.nodes[second].stop();
    let unused = token(&cluster.nodes[0], "node-2");
    cluster.nodes[second].join(&unused);
    cluster.settled().await;
    assert_eq!(cluster.nodes[second].id(), id);
    let table = cluster.nodes[third].cli(&["cluster", "members"]).well();
    assert!(table.lines().count() == 4 && table.contains("leader"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_found_nobody_to_sign_is_repeated_with_the_same_token() {
    let mut cluster = cluster(3).await;
    let machine = cluster.machine();
    let token = token(&cluster.nodes[0], "node-4");
    // A member without the CA's key is asked, and the one that has it is away.
    let token = format!("{}.{}:7071", upto_addresses(&token), cluster.nodes[1].address);
    cluster.nodes[0].kill();
    until("the others have a leader", async || {
        let leader = cluster.nodes[1].try_get("/v1/cluster").await?["leader"].as_str()?.to_owned();
        (Some(leader) != cluster.nodes[0].id()).then_some(())
    })
    .await;
    cluster.nodes[machine].join(&token);
    assert_eq!(cluster.nodes[machine].ended().await, 5, "{}", cluster.nodes[machine].last_words());
    let words = cluster.nodes[machine].last_words();
    assert!(words.contains("set cluster.ca_key on one"), "{words}");

    cluster.nodes[0].start();
    until("the first node is back", async || cluster.nodes[0].try_get("/readyz").await).await;
    cluster.nodes[machine].join(&token);
    cluster.settled().await;
    runs_a_job(&cluster, 0, machine).await;
}

/// A token without its addresses.
fn upto_addresses(token: &str) -> String {
    token.splitn(4, '.').take(3).collect::<Vec<_>>().join(".")
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_used_ended_revoked_foreign_or_garbage_let_nobody_in() {
    let (mut cluster, other) = (cluster(1).await, cluster(1).await);
    let (first, late) = (cluster.machine(), cluster.machine());
    let used = token(&cluster.nodes[0], "first");
    cluster.nodes[first].join(&used);
    until_roles(&cluster.nodes[0], "it is a member", |roles| roles.len() == 2).await;

    let short = ["token", "create", "short", "--right", "join", "--expires-in", "1s"];
    let short = cluster.nodes[0].cli(&short).well();
    let revoked = token(&cluster.nodes[0], "revoked");
    let list = cluster.nodes[0].get("/v1/tokens").await;
    let of =
        |name: &str| list["items"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone();
    assert_eq!(of("first")["used_by"].as_str(), cluster.nodes[first].id().as_deref());
    let id = of("revoked")["id"].as_str().unwrap().to_owned();
    assert_eq!(cluster.nodes[0].cli(&["token", "revoke", &id]).code, 0);
    let ends = of("short")["expires_at"].as_u64().unwrap();
    until("it has ended", async || (chaos::now_millis() > ends).then_some(())).await;

    // The other cluster's token with this cluster's address: there is another CA behind it.
    let foreign = token(&other.nodes[0], "foreign");
    let foreign = format!("{}.{}:7071", upto_addresses(&foreign), cluster.nodes[0].address);
    let mut guessed = used.clone();
    guessed.replace_range(12..28, "0123456789abcdef");
    for (token, code, words) in [
        (used.as_str(), 4, "used already"),
        (&short, 4, "expired"),
        (&revoked, 4, "this token is not known"),
        (&foreign, 5, "CA"),
        (&guessed, 4, "this token is not known"),
        (&used[..used.len() / 2], 2, "this is no join token"),
    ] {
        cluster.nodes[late].join(token);
        let ended = cluster.nodes[late].ended().await;
        let said = cluster.nodes[late].last_words();
        assert_eq!(ended, code, "{said}");
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!cluster.nodes[late].dir.join("pki/node-3.pem").exists());
    // What did not go well before is no obstacle.
    let good = token(&cluster.nodes[0], "good");
    cluster.nodes[late].join(&good);
    until_roles(&cluster.nodes[0], "three vote", |roles| voters(roles) == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_refused_with_what_to_do_and_comes_back_as_a_new_one() {
    let mut cluster = cluster(3).await;
    let (wiped, other) = two(&cluster).await;
    let name = cluster.nodes[wiped].name.clone();
    let old = cluster.nodes[wiped].id().unwrap();
    cluster.nodes[wiped].kill();
    fs::remove_dir_all(cluster.nodes[wiped].data()).unwrap();
    cluster.nodes[wiped].start();
    let said = |node: &Node| {
        let log = fs::read_to_string(node.log_file()).unwrap();
        log.lines()
            .filter(|line| line.contains("ERROR") && line.contains(&format!("troupe cluster remove {name}")))
            .count()
    };
    until("the wiped node says what to do", async || (said(&cluster.nodes[wiped]) > 0).then_some(())).await;
    // It asks again and again, and says so once.
    let probed =
        |node: &Node| fs::read_to_string(node.log_file()).unwrap().matches("raft link refused").count();
    until("it was refused often", async || {
        (cluster.nodes.iter().map(probed).sum::<usize>() > 10).then_some(())
    })
    .await;
    assert_eq!(said(&cluster.nodes[wiped]), 1, "{}", cluster.nodes[wiped].last_words());

    // With a token it is no better: its name is another node's.
    cluster.nodes[wiped].kill();
    let token = token(&cluster.nodes[other], &name);
    wipe(&cluster.nodes[wiped]);
    cluster.nodes[wiped].join(&token);
    assert_eq!(cluster.nodes[wiped].ended().await, 4);
    assert!(cluster.nodes[wiped].last_words().contains("must be removed first"));

    let removed = cluster.nodes[other].cli(&["cluster", "remove", &name]).well();
    assert!(removed.contains(&old), "{removed}");
    cluster.nodes[wiped].join(&token);
    until_votes(&cluster.nodes[other], &cluster.nodes[wiped]).await;
    assert_ne!(cluster.nodes[wiped].id().unwrap(), old);
    cluster.settled().await;
    runs_a_job(&cluster, other, wiped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_ends_by_itself_and_joins_again_only_as_a_new_one() {
    let mut cluster = cluster(3).await;
    let (gone, other) = two(&cluster).await;
    let (name, old) = (cluster.nodes[gone].name.clone(), cluster.nodes[gone].id().unwrap());
    let removed = cluster.nodes[other].cli(&["cluster", "remove", &old, "--json"]).well();
    assert_eq!(serde_json::from_str::<Value>(&removed).unwrap()["name"], json!(name));
    assert_eq!(cluster.nodes[gone].ended().await, 7);
    assert!(cluster.nodes[gone].last_words().contains("was removed from its cluster"));
    // Started again it says the same.
    cluster.nodes[gone].start();
    assert_eq!(cluster.nodes[gone].ended().await, 7);
    until_roles(&cluster.nodes[other], "two are left", |roles| roles.len() == 2).await;
    let nodes = cluster.nodes[other].get("/v1/nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);

    let again = token(&cluster.nodes[other], &name);
    cluster.nodes[gone].join(&again);
    assert_eq!(cluster.nodes[gone].ended().await, 4);
    assert!(cluster.nodes[gone].last_words().contains("is there already"));
    wipe(&cluster.nodes[gone]);
    cluster.nodes[gone].join(&again);
    until_votes(&cluster.nodes[other], &cluster.nodes[gone]).await;
    assert_ne!(cluster.nodes[gone].id().unwrap(), old);
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_leaves_nothing_with_its_engine() {
    let leases = "leases = { leader_ms = 3000, node_ms = 2000 }\n".to_owned();
    let mut cluster = Cluster::planned(&Plan { more: leases, wires: true, ..Plan::docker(3) }).await;
    let (gone, other) = two(&cluster).await;
    let (leader, id) = (3 - gone - other, cluster.nodes[gone].id().unwrap());
    let job = json!({ "script": "sleep 600", "labels": [cluster.nodes[gone].name] });
    drop(cluster.nodes[other].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap());
    until("the job runs", async || {
        (!cluster.docker().running(std::slice::from_ref(&id)).is_empty()).then_some(())
    })
    .await;
    assert_eq!(cluster.docker().networks(&id).len(), 1);
    // It ends the job when its lease is over, and has nobody to tell.
    cluster.cut(&[(gone, leader), (leader, gone), (gone, other), (other, gone)]);
    until("it is lost, and removed", async || {
        (cluster.nodes[other].cli(&["cluster", "remove", &id]).code == 0).then_some(())
    })
    .await;
    cluster.heal();
    assert_eq!(cluster.nodes[gone].ended().await, 7);
    assert!(cluster.docker().networks(&id).is_empty() && cluster.docker().containers(&id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_job_is_removed_when_it_is_lost_and_not_before() {
    let leases = "leases = { leader_ms = 3000, node_ms = 2000 }\n".to_owned();
    let mut cluster = Cluster::planned(&Plan { more: leases, ..Plan::fake(3) }).await;
    let (gone, other) = two(&cluster).await;
    let first = cluster.dir.path().join("first");
    let script =
        format!("if mkdir {0}; then echo $$ > {0}/pid; exec sleep 600; fi; echo again", first.display());
    // All but one drain, so that it is known where the job runs first.
    let drained = [cluster.leader().await, other];
    for node in drained {
        drop(cluster.nodes[other].cli(&["drain", &cluster.nodes[node].name]).well());
    }
    let job = json!({ "script": script, "labels": ["linux"] });
    let answer = cluster.nodes[other].request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    let run = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let pid = until("the job runs", async || {
        fs::read_to_string(first.join("pid")).ok()?.strip_suffix('\n')?.parse().ok()
    })
    .await;
    for node in drained {
        drop(cluster.nodes[other].cli(&["drain", "--off", &cluster.nodes[node].name]).well());
    }

    let name = cluster.nodes[gone].name.clone();
    let refused = cluster.nodes[other].cli(&["cluster", "remove", &name]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("has 1 of the cluster's jobs (drain it and wait"), "{}", refused.err);
    cluster.nodes[gone].kill();
    until("it is lost, and removed", async || {
        (cluster.nodes[other].cli(&["cluster", "remove", &name]).code == 0).then_some(())
    })
    .await;
    let ended = cluster.finished(other, &run).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    let attempts = cluster.nodes[other].get(&format!("/v1/jobs/{run}.0/attempts")).await;
    let attempts = attempts["items"].as_array().unwrap().clone();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt["outcome"].as_str()).collect();
    assert_eq!(outcomes, [Some("lost"), Some("succeeded")], "{attempts:?}");
    assert_eq!(attempts[0]["node"].as_str(), cluster.nodes[gone].id().as_deref());
    // The node was killed without being told, and could end nothing: its process has ended by itself with the lease.
    let pid: u32 = pid;
    until("its process is gone", async || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_voters_place_is_taken_by_a_spare_and_the_rest_bears_another_loss() {
    let plan = Plan { signs: true, cluster: ", dead_after_ms = 3000".to_owned(), ..Plan::fake(3) };
    let mut cluster = Cluster::planned(&plan).await;
    let spare = cluster.machine();
    let of_spare = token(&cluster.nodes[0], "node-4");
    cluster.nodes[spare].join(&of_spare);
    until_roles(&cluster.nodes[0], "a spare", |roles| role_of(roles, "node-4") == Some("learner")).await;
    cluster.settled().await;
    let leader = cluster.leader().await;
    let mut others = (0..3).filter(|n| *n != leader);
    let (dead, second) = (others.next().unwrap(), others.next().unwrap());
    cluster.nodes[dead].kill();
    let dead_name = cluster.nodes[dead].name.clone();
    until_roles(&cluster.nodes[leader], "the spare votes in its place", |roles| {
        voters(roles) == 3
            && role_of(roles, "node-4") == Some("voter")
            && role_of(roles, &dead_name) == Some("learner")
    })
    .await;
    // Two of the three that began are away: without the change no majority would be left.
    cluster.nodes[second].kill();
    runs_a_job(&cluster, leader, spare).await;
    // Who was dead comes back as a learner and is of use.
    cluster.nodes[dead].start();
    runs_a_job(&cluster, leader, dead).await;
}
