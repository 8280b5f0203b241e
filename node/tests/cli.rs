//! The command line against a node alone, and what it shows of what others wrote.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod cli_support;
mod support;

use cli_support::{Done, RUN, StandIn, ok, problem, run, run_events, stream, troupe, troupe_with};
use serde_json::{Value, json};
use support::{Alone, SECRET};

/// A node, and a token made for the commands.
struct Shell {
    node: Alone,
    token: String,
}

impl Shell {
    async fn start() -> Self {
        let node = Alone::start().await;
        let (_, made) = node.post("/v1/tokens", json!({ "name": "cli", "right": "admin" })).await;
        let token = made["token"].as_str().unwrap().to_owned();
        Self { node, token }
    }

    async fn troupe(&self, args: &[&str]) -> Done {
        troupe(&[&self.node.url("")], &self.token, args).await
    }

    /// JSON of a command that goes well.
    async fn json(&self, args: &[&str]) -> Value {
        let done = self.troupe(&[&["--json"], args].concat()).await;
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        done.json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_submitted_listed_shown_and_cancelled() {
    let shell = Shell::start().await;
    let mut ids = Vec::new();
    for (args, input) in [
        (vec!["submit", "echo one", "--key", "k"], ""),
        (vec!["submit", "-", "--env", "A=b=c"], "echo two"),
        (vec!["submit", "--file", "-", "--name", "three"], "echo three"),
    ] {
        // No node has the label, so that nothing runs.
        let args = [&["--json"], args.as_slice(), &["--label", "nowhere"]].concat();
        let done = troupe_with(&[&shell.node.url("")], &shell.token, &args, input.as_bytes()).await;
        assert_eq!(done.code, 0, "{}", done.stderr);
        ids.push(done.json()["id"].as_str().unwrap().to_owned());
    }
    let again = shell.json(&["submit", "echo one", "--key", "k", "--label", "nowhere"]).await;
    assert_eq!((again["id"].as_str().unwrap(), &again["duplicate"]), (ids[0].as_str(), &json!(true)));

    let first = shell.troupe(&["runs", "--limit", "2"]).await;
    assert!(first.stderr.contains("more than these 2"), "{}", first.stderr);
    assert!(first.text().contains(&ids[2]) && !first.text().contains(&ids[0]), "{}", first.text());
    let all = shell.troupe(&["runs", "--limit", "3"]).await;
    assert_eq!(all.stderr, "");
    assert!(all.text().contains(&ids[0]));

    for (verb, doing, state) in [("pause", "pausing", "held"), ("resume", "resuming", "queued")] {
        let said = shell.json(&["run", verb, &ids[0]]).await;
        assert_eq!(said[doing], ids[0].as_str());
        let shown = shell.json(&["run", "show", &ids[0]]).await;
        let paused = verb == "pause";
        assert_eq!(
            (&shown["jobs"][0]["state"], shown["paused_at"].is_u64()),
            (&json!(state), paused),
            "{shown}"
        );
        assert_eq!(shown["jobs"][0]["reason"] == "its run is paused", paused, "{shown}");
    }
    let cancelled = shell.json(&["run", "cancel", &ids[0]]).await;
    assert_eq!(cancelled["cancelling"], ids[0].as_str());
    let shown = shell.troupe(&["--json", "run", "show", &ids[0], "--steps"]).await;
    assert_eq!((shown.code, &shown.json()["outcome"]), (1, &json!("cancelled")));
    assert_eq!(shown.json()["jobs"][0]["history"], json!([]));
    let watched = shell.troupe(&["run", "watch", &ids[0]]).await;
    assert_eq!((watched.code, watched.text().lines().count()), (1, 2), "{}", watched.text());
    assert!(watched.text().ends_with(&format!("run {} cancelled\n", ids[0])));

    let count = |list: &Value| list["items"].as_array().unwrap().len();
    assert_eq!(count(&shell.json(&["runs", "--outcome", "open"]).await), 2);
    assert_eq!(count(&shell.json(&["runs", "--repo", "other"]).await), 0);
    assert_eq!(count(&shell.json(&["jobs", "--state", "finished"]).await), 1);
    assert_eq!(shell.troupe(&["jobs", "--state", "nonsense"]).await.code, 2);
    let rerun = shell.json(&["run", "rerun", &ids[0]]).await;
    assert_ne!(rerun["id"], ids[0].as_str());
    shell.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_tokens_and_nodes_have_their_commands() {
    let shell = Shell::start().await;
    // The last is named as a request is.
    for name in ["demo/one", "demo/two", "last/dispatch"] {
        let added = shell.json(&["repo", "add", name, "https://example.com/x.git", "--secret", SECRET]).await;
        assert_eq!(added, json!({ "name": name, "existed": false }));
    }
    let listed = shell.troupe(&["repo", "list", "--limit", "1"]).await;
    assert!(listed.text().contains("demo/one") && listed.stderr.contains("more"), "{}", listed.text());
    let delivery = shell.json(&["dispatch", "demo/one", ".troupe/x.yml"]).await;
    let shown = shell.json(&["delivery", delivery["delivery"].as_str().unwrap()]).await;
    assert!(["pending", "expanding", "expanded"].contains(&shown["state"].as_str().unwrap()), "{shown}");
    assert_eq!(shell.json(&["repo", "remove", "demo/two"]).await["removed"], "demo/two");
    assert_eq!(shell.troupe(&["repo", "remove", "demo/two"]).await.code, 3);
    assert_eq!(shell.json(&["repo", "remove", "last/dispatch"]).await["removed"], "last/dispatch");

    let made = shell.json(&["token", "create", "reader"]).await;
    let reader = made["token"].as_str().unwrap();
    let addr = shell.node.url("");
    assert_eq!(troupe(&[&addr], reader, &["runs"]).await.code, 0);
    assert_eq!(troupe(&[&addr], reader, &["submit", "true"]).await.code, 4);
    let id = made["id"].as_str().unwrap();
    assert_eq!(shell.json(&["token", "revoke", id]).await["revoked"], id);
    assert_eq!(troupe(&[&addr], reader, &["runs"]).await.code, 4);
    let tokens = shell.json(&["token", "list"]).await;
    assert!(tokens["items"].as_array().unwrap().iter().all(|token| token["id"] != id), "{tokens}");

    assert_eq!(shell.troupe(&["nodes"]).await.code, 0);
    let drained = shell.troupe(&["drain", "no-such-node"]).await;
    assert_eq!(drained.code, 3, "{}", drained.stderr);
    assert_eq!(shell.troupe(&["drain", "No_Node!"]).await.code, 2, "neither a name nor an id");
    assert_eq!(shell.json(&["status"]).await["is_me"], true);
    shell.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_told_before_anyone_is_asked() {
    let nobody: &[&[&str]] = &[
        &["submit"],
        &["submit", "true", "--file", "x"],
        &["drain", "x", "--now", "--deadline", "5m"],
        &["drain", "x", "--off", "--now"],
        &["drain", "x", "--deadline", "soon"],
        &["runs", "--limit", "0"],
        &["run", "show", "not-an-id"],
        &["logs", "01J9ZC3V5W6X7Y8Z9A0B1C2D3E.x"],
        &["artifacts", "01J9ZC3V5W6X7Y8Z9A0B1C2D3E", "path-without-download"],
        &["submit", "--file", "/no/such/file"],
        &["workflow", "lint", "/no/such/file"],
    ];
    for args in nobody {
        // An address at which nobody listens: reaching for it would be code 5.
        let done = troupe(&["http://127.0.0.1:1"], "", args).await;
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
    }
}

#[tokio::test]
async fn lists_are_fetched_by_cursor_as_far_as_needed() {
    let server = StandIn::start(|line, _| {
        let items =
            |from: u32, count: u32| (from..from + count).map(|n| json!({ "id": n })).collect::<Vec<_>>();
        let (items, next) = match line {
            "GET /v1/jobs?limit=500" => (items(0, 500), json!("499")),
            "GET /v1/jobs?limit=200&cursor=499" => (items(500, 200), json!("699")),
            _ => return problem(400, "invalid", line),
        };
        ok(&json!({ "items": items, "next": next }))
    })
    .await;
    let done = server.troupe(&["--json", "jobs", "--limit", "700"]).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let ids: Vec<_> =
        done.json()["items"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..700).collect::<Vec<_>>());
    assert_eq!(done.json()["next"], "699");
    assert!(done.stderr.contains("more than these 700"), "{}", done.stderr);
}

#[tokio::test]
async fn text_of_others_never_steers_the_terminal() {
    let nasty = "x\u{1b}]0;owned\u{7}\u{202e}y";
    let server = StandIn::start(move |line, _| {
        let mut shown = run(&[("failed", 1)]);
        (shown["title"], shown["name"]) = (json!(nasty), json!(nasty));
        shown["jobs"][0]["key"] = json!(nasty);
        match line.rsplit('/').next().unwrap() {
            "runs?limit=50" => ok(&json!({ "items": [shown], "next": null })),
            "nodes" => ok(&json!({ "items": [], "next": null })),
            "events" => run_events(&[shown]),
            RUN => ok(&shown),
            _ => problem(400, "invalid", nasty),
        }
    })
    .await;
    for args in [vec!["runs"], vec!["run", "show", RUN], vec!["run", "watch", RUN], vec!["status"]] {
        let done = server.troupe(&args).await;
        let all = done.text() + &done.stderr;
        assert!(all.contains("x\u{fffd}") && all.contains('y'), "{args:?}: {all}");
        assert!(!all.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{args:?}: {all:?}");
    }
}

#[tokio::test]
async fn watching_outlives_its_connection() {
    let server = StandIn::start(|line, nth| match line.rsplit('/').next().unwrap() {
        "events" if nth == 0 => {
            let event = format!("event:run\ndata:{}\nid:3\n\nevent:run\ndata:{{", run(&[("running", 1)]));
            stream(event.as_bytes(), false)
        }
        "events" if nth == 1 => problem(503, "unavailable", "no leader"),
        "events" => run_events(&[run(&[("running", 1)]), run(&[("succeeded", 1)])]),
        _ => ok(&run(&[("queued", 0)])),
    })
    .await;
    let done = server.troupe(&["run", "watch", RUN]).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let expected = format!("{RUN}.0 job-0 running\n{RUN}.0 job-0 succeeded\nrun {RUN} succeeded\n");
    assert_eq!(done.text(), expected, "each change once");
    assert!(done.stderr.contains("no leader"), "{}", done.stderr);
}

#[tokio::test]
async fn lint_says_where_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (good, bad) = (path("good.yml"), path("bad.yml"));
    std::fs::write(&good, "on: push\njobs:\n  a:\n    runs-on: linux\n    steps:\n      - run: 'true'\n")
        .unwrap();
    let wrong =
        "on: push\njobs:\n  a:\n    runs-on: linux\n    nonsense: 1\n    steps:\n      - run: 'true'\n";
    std::fs::write(&bad, wrong).unwrap();
    let lint = async |files: &[&str], input: &str| {
        let args = [&["workflow", "lint"], files].concat();
        troupe_with(&[], "", &args, input.as_bytes()).await
    };
    let fine = lint(&[&good], "").await;
    assert_eq!((fine.code, fine.text().as_str()), (0, ""), "{}", fine.stderr);
    let found = lint(&[&good, &bad], "").await;
    assert_eq!(found.code, 2, "{}", found.stderr);
    assert!(found.text().starts_with(&format!("{bad}:5:5: ")), "{}", found.text());
    assert_eq!(found.text().lines().count(), 1);
    let piped = lint(&["-", "--json"], wrong).await;
    assert_eq!(piped.code, 2);
    let first = &piped.json()[0];
    assert_eq!((&first["file"], &first["line"], &first["column"]), (&json!("-"), &json!(5), &json!(5)));
    assert!(first["message"].as_str().unwrap().contains("nonsense"), "{first}");
}

#[tokio::test]
async fn a_plan_says_which_jobs_run_what_is_skipped_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let (file, event) = (dir.path().join("ci.yml"), dir.path().join("event.json"));
    let text = "on:\n  push:\n    branches: [main]\njobs:\n  build:\n    runs-on: ${{ vars.RUNNER || 'linux' }}\n    \
        strategy:\n      max-parallel: 1\n      matrix:\n        cc: [gcc, clang]\n    steps:\n      - run: make\n  \
        publish:\n    needs: build\n    if: vars.PUBLISH == 'yes'\n    runs-on: linux\n    steps:\n      - run: 'true'\n  docs:\n    if: vars.DOCS == 'yes'\n    \
        runs-on: linux\n    steps:\n      - run: 'true'\n";
    std::fs::write(&file, text).unwrap();
    std::fs::write(&event, r#"{"event": "push", "ref": "refs/heads/feature"}"#).unwrap();
    let (file, event) = (file.to_str().unwrap(), event.to_str().unwrap());
    let plan = async |more: &[&str]| {
        let args = [&["workflow", "plan", file], more].concat();
        troupe_with(&[], "", &args, b"").await
    };
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };

    let told = plan(&["--var", "RUNNER=big", "--var", "PUBLISH=yes"]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    let (told, text) = (rows(&told.text()), told.text());
    let expected: &[&[&str]] = &[
        &["build", "-", "-", "group,", "1", "at", "one", "time"],
        &["publish", "build", "-", "decided"],
        &["docs", "-", "-", "skipped:", "vars.DOCS"],
        &["build", "(gcc)", "-", "big", "runs"],
        &["build", "(clang)", "-", "big", "runs"],
    ];
    assert_eq!(told.len(), expected.len(), "{text}");
    for (row, expected) in told.iter().zip(expected) {
        assert!(row.iter().map(String::as_str).collect::<Vec<_>>().starts_with(expected), "{text}");
    }

    let bare = plan(&["--json"]).await;
    let bare = bare.json();
    assert_eq!(bare["run"], true);
    let of =
        |key: &str| bare["jobs"].as_array().unwrap().iter().find(|job| job["key"] == key).unwrap().clone();
    assert_eq!(of("build (gcc)")["labels"], json!(["linux"]), "a variable that is not there is nothing");
    assert_eq!(of("build (gcc)")["group"], "build");
    assert_eq!(of("publish")["needs"], json!(["build"]));
    assert_eq!(of("publish")["plan"], "decided when what it needs has ended: if vars.PUBLISH == 'yes'");
    assert_eq!(of("docs")["plan"], "skipped: vars.DOCS == 'yes' is false");

    let elsewhere = plan(&["--event", event]).await;
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.stderr);
    let why = format!("{file}: no run, because its filters for push do not let refs/heads/feature in\n");
    assert_eq!(elsewhere.text(), why);

    let wrong = plan(&["--var", "RUNNER"]).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("NAME=VALUE"), "{}", wrong.stderr);
}
