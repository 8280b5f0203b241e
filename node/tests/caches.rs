//! Caches of a repository, as the API and the command line list and remove them.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod cli_support;
mod support;

use cli_support::troupe;
use domain::{CacheEntry, Command, Reply, RepoName, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::Alone;

const MAIN: &str = "refs/heads/main";

/// Keeps a cache, as a job of this node does.
async fn keep(node: &Alone, repo: &str, scope: &str, key: &str) {
    let state = node.store().state();
    let (repo, _) = state.find_repo(&repo.parse::<RepoName>().unwrap()).unwrap();
    let entry = CacheEntry {
        scope: scope.to_owned(),
        key: key.to_owned(),
        version: [1; 32],
        size: 1234,
        digest: [2; 32],
        node: *state.nodes.first().unwrap().0,
        created_at: Timestamp(0),
        used_at: Timestamp(0),
    };
    let kept = node.store().propose(Command::PutCache { repo, entry, most_bytes: 1 << 20 }).await.unwrap();
    assert_eq!(kept.reply, Reply::Done);
}

fn keys(page: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(|one| (text(&one["scope"]), text(&one["key"]))).collect()
}

/// A node with caches of two repositories.
async fn begun() -> Alone {
    let node = Alone::start().await;
    let (store, mut applied) = (node.store().clone(), node.store().applied());
    applied.wait_for(|_| !store.state().nodes.is_empty()).await.unwrap();
    node.add_repo("team/app").await;
    node.add_repo("other").await;
    let request = "refs/pull/7/head";
    for (scope, key) in [(MAIN, "a-1"), (MAIN, "a-2:x, y"), (MAIN, "b"), (request, "a-1"), (request, "%_")] {
        keep(&node, "team/app", scope, key).await;
    }
    keep(&node, "other", MAIN, "a-1").await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_are_listed_page_by_page_and_removed_by_ref_and_beginning() {
    let node = begun().await;
    let all = "/v1/repos/team/app/caches";
    let (status, page) = node.get(all).await;
    assert_eq!((status, keys(&page).len(), &page["next"]), (StatusCode::OK, 5, &Value::Null));
    let first = &page["items"][0];
    assert_eq!((&first["scope"], &first["key"], &first["size"]), (&json!(MAIN), &json!("a-1"), &json!(1234)));
    assert_eq!((&first["node_name"], &first["available"]), (&json!("alone"), &json!(true)));
    assert_eq!((&first["sha256"], &first["version"]), (&json!("02".repeat(32)), &json!("01".repeat(32))));
    assert!(first["created_at"].as_u64().unwrap() > 0 && first["used_at"] == first["created_at"], "{first}");
    // One after the other, each once.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = node.get(&format!("{all}?limit=1{cursor}")).await;
        seen.extend(keys(&page));
        let Some(next) = page["next"].as_str() else { break };
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, keys(&page));
    for (query, count) in [
        ("key=a", 3),
        ("key=a-2", 1),
        ("key=%25", 1),
        ("scope=refs/heads/main", 3),
        ("scope=refs/heads/main&key=a", 2),
        ("scope=refs/heads", 0),
        ("key=A", 0),
    ] {
        assert_eq!(keys(&node.get(&format!("{all}?{query}")).await.1).len(), count, "{query}");
    }
    for (query, removed, left) in
        [("scope=refs/heads", 0, 5), ("scope=refs/pull/7/head&key=a", 1, 4), ("key=a", 2, 2), ("", 2, 0)]
    {
        let answer = node.delete(&format!("{all}?{query}")).await;
        assert_eq!(answer, (StatusCode::OK, json!({ "removed": removed })), "{query}");
        assert_eq!(keys(&node.get(all).await.1).len(), left, "{query}");
    }
    assert_eq!(keys(&node.get("/v1/repos/other/caches").await.1).len(), 1, "another repository's stay");
    for (query, field) in
        [("limit=0", "limit"), ("cursor=x", "cursor"), ("cursor=00:a:b", "cursor"), ("ref=x", "ref")]
    {
        let (status, problem) = node.get(&format!("{all}?{query}")).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{query}");
    }
    assert_eq!(
        node.delete(&format!("{all}?keys=a")).await.0,
        StatusCode::BAD_REQUEST,
        "none are removed by mistake"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_and_removes_them() {
    let node = begun().await;
    let (_, made) = node.post("/v1/tokens", json!({ "name": "cli", "right": "admin" })).await;
    let (addr, token) = (node.url(""), made["token"].as_str().unwrap().to_owned());
    let troupe = async |args: &[&str]| troupe(&[&addr], &token, args).await;
    let listed = troupe(&["cache", "list", "team/app", "--scope", MAIN, "--key", "a"]).await;
    let lines: Vec<_> =
        listed.text().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "SCOPE KEY BYTES NODE AGE USED", "{}", listed.stderr);
    assert!(lines[1].starts_with("refs/heads/main a-1 1234 alone "), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    let json = troupe(&["cache", "list", "team/app", "--limit", "2", "--json"]).await;
    assert_eq!(keys(&json.json()).len(), 2);
    let removed = troupe(&["cache", "remove", "team/app", "--key", "b"]).await;
    assert_eq!((removed.code, removed.text().as_str()), (0, "1 cache of team/app removed\n"));
    let removed = troupe(&["cache", "remove", "team/app", "--json"]).await;
    assert_eq!((removed.code, removed.json()), (0, json!({ "removed": 4 })));
    let none = troupe(&["cache", "list", "team/app"]).await;
    assert_eq!((none.code, none.text(), none.stderr), (0, String::new(), "troupe: no caches\n".to_owned()));
    assert_eq!(troupe(&["cache", "remove", "nobody"]).await.code, 3);
    node.stop().await;
}
