//! What a repository's workflows are given beside their files, through a real git server and real (plain) processes: variables,
//! environments that ask for a review, tries after a failure.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod support;

use fixtures::GitServer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Alone, SECRET, sign};

/// The run of a push to `main`, once this is so of it; nextest ends a test that waits for ever.
async fn run_until(node: &Alone, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut applied = node.store().applied();
    loop {
        let (_, runs) = node.get("/v1/runs").await;
        if let Some(id) = runs["items"][0]["id"].as_str() {
            let (_, run) = node.get(&format!("/v1/runs/{id}")).await;
            if wanted(&run) {
                return run;
            }
        }
        applied.changed().await.unwrap();
    }
}

async fn push(node: &Alone, commit: &str) {
    let body = json!({ "ref": "refs/heads/main", "after": commit, "repository": { "full_name": "demo" },
        "sender": { "login": "ann" } })
    .to_string();
    let answer = node.hook("demo", &body, commit, "push", Some(&sign(SECRET, &body))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

fn job<'a>(run: &'a Value, key: &str) -> &'a Value {
    run["jobs"].as_array().unwrap().iter().find(|job| job["key"] == key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_has_its_variables_is_tried_again_and_waits_for_its_environment() {
    let node = Alone::with(|config| config.node.slots = 2).await;
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark").display().to_string();
    let text = format!(
        r#"
on: push
run-name: for ${{{{ vars.TEAM }}}}
jobs:
  flaky:
    runs-on: linux
    x-troupe: {{ retry: {{ attempts: 2, backoff: 1s }} }}
    steps:
      - name: of ${{{{ vars.TEAM }}}}
        run: test -e {mark} || {{ touch {mark}; exit 3; }}
  deploy:
    needs: flaky
    runs-on: linux
    environment: {{ name: Live, url: 'https://${{{{ vars.TEAM }}}}.example.com/' }}
    steps: [{{ run: 'true' }}]
  publish:
    needs: flaky
    runs-on: linux
    environment: live
    steps: [{{ run: 'true' }}]
"#
    );
    let git = GitServer::start(&text).unwrap();
    let body = json!({ "clone_url": git.url(), "webhook_secret": SECRET, "labels": ["linux"] });
    assert_eq!(node.put("/v1/repos/demo", body).await.0, StatusCode::CREATED);
    let put = node.put("/v1/repos/demo/variables/TEAM", json!({ "value": "blue" })).await;
    assert_eq!(put, (StatusCode::CREATED, json!({ "name": "TEAM", "existed": false })));
    let put = node.put("/v1/repos/demo/environments/LIVE", json!({ "approval": true })).await;
    assert_eq!(put, (StatusCode::CREATED, json!({ "name": "LIVE", "existed": false })));
    push(&node, &git.head().unwrap()).await;

    let waits = |run: &Value| ["deploy", "publish"].iter().all(|key| job(run, key)["state"] == "held");
    let run = run_until(&node, |run| run["jobs"].is_array() && waits(run)).await;
    assert_eq!(run["title"], "for blue");
    let flaky = job(&run, "flaky");
    assert_eq!((&flaky["outcome"], &flaky["attempts"]), (&json!("succeeded"), &json!(2)));
    let id = flaky["id"].as_str().unwrap();
    let (_, attempts) = node.get(&format!("/v1/jobs/{id}/attempts")).await;
    let attempts = attempts["items"].as_array().unwrap();
    let ends: Vec<_> =
        attempts.iter().map(|one| (one["outcome"].clone(), one["steps"][0]["name"].clone())).collect();
    assert_eq!(ends, ["failed", "succeeded"].map(|outcome| (json!(outcome), json!("of blue"))));
    let waited = attempts[1]["placed_at"].as_u64().unwrap() - attempts[0]["finished_at"].as_u64().unwrap();
    assert!(waited >= 1000, "it was tried again after {waited} ms");

    let (deploy, publish) = (job(&run, "deploy"), job(&run, "publish"));
    assert_eq!(deploy["reason"], "it waits until somebody approves it for its environment");
    let at = |job: &Value, what: &str| format!("/v1/jobs/{}/{what}", job["id"].as_str().unwrap());
    assert_eq!(node.post(&at(deploy, "approve"), json!({})).await.0, StatusCode::ACCEPTED);
    assert_eq!(node.post(&at(publish, "reject"), json!({})).await.0, StatusCode::ACCEPTED);
    let (status, again) = node.post(&at(publish, "approve"), json!({})).await;
    assert_eq!((status, &again["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{again}");
    let run = run_until(&node, |run| run["outcome"].is_string()).await;
    assert_eq!(run["outcome"], "failed");
    let (deploy, publish) = (job(&run, "deploy"), job(&run, "publish"));
    assert_eq!((&deploy["outcome"], &deploy["approved_by"]), (&json!("succeeded"), &deploy["approved_by"]));
    assert!(deploy["approved_by"].as_str().unwrap().starts_with("token:"));
    let reason = publish["reason"].as_str().unwrap();
    assert!(reason.ends_with("did not approve it for the environment \"live\""), "{reason}");
    let told: Vec<_> = run["annotations"].as_array().unwrap().iter().map(|one| &one["message"]).collect();
    assert!(told.contains(&&json!("https://blue.example.com/")), "{told:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_environments_are_listed_changed_and_removed_and_bad_ones_named() {
    let node = Alone::start().await;
    node.add_repo("team/app").await;
    let at = |what: &str| format!("/v1/repos/team/app/{what}");
    for (path, body, field) in [
        ("variables/lower", json!({ "value": "x" }), "variable"),
        ("variables/GITHUB_X", json!({ "value": "x" }), "variable"),
        ("variables/A", json!({ "valeu": "x" }), "body"),
        ("environments/a%0Ab", json!({ "approval": true }), "name"),
        ("environments/live", json!({ "approval": 1 }), "body"),
    ] {
        let (status, answer) = node.put(&at(path), body).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{path}: {answer}");
    }
    for (value, status) in [("1", StatusCode::CREATED), ("two\nlines", StatusCode::OK)] {
        assert_eq!(node.put(&at("variables/A"), json!({ "value": value })).await.0, status);
    }
    for (name, approval, status) in
        [("Test env", false, StatusCode::CREATED), ("TEST ENV", true, StatusCode::OK)]
    {
        let path = at(&format!("environments/{}", name.replace(' ', "%20")));
        assert_eq!(node.put(&path, json!({ "approval": approval })).await.0, status);
    }
    let (_, variables) = node.get(&at("variables")).await;
    assert_eq!(variables["items"], json!([{ "name": "A", "value": "two\nlines" }]));
    let (_, environments) = node.get(&at("environments")).await;
    let found = &environments["items"];
    assert_eq!((found[0]["name"].as_str(), found[0]["approval"].as_bool()), (Some("TEST ENV"), Some(true)));
    assert_eq!(found.as_array().unwrap().len(), 1, "the same in capitals or not");
    for path in ["variables/A", "environments/test%20env"] {
        assert_eq!(node.delete(&at(path)).await.0, StatusCode::OK, "{path}");
        assert_eq!(node.delete(&at(path)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        node.post("/v1/jobs/01J9ZC3V5W6X7Y8Z9A0B1C2D3E.0/approve", json!({})).await.0,
        StatusCode::NOT_FOUND
    );
    node.stop().await;
}
