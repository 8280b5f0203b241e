//! What people read on the command line: reasons beside states, sentences beside ids, and no table where there is
//! nothing to show.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod cli_support;
mod support;

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cli_support::{JOB, RUN, StandIn, attempt, ok, problem, run, run_events, stream, troupe, troupe_with};
use serde_json::json;
use support::Alone;

const END: &str = "event:end\ndata:\n\n";

fn output(begin: usize, bytes: &[u8]) -> String {
    format!("event:output\ndata:{}\nid:{}\n\n", STANDARD.encode(bytes), begin + bytes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_says_why_and_what_is_made_prints_its_id_alone() {
    let node = Alone::start().await;
    let (_, made) = node.post("/v1/tokens", json!({ "name": "cli", "right": "admin" })).await;
    let (addr, token) = (node.url(""), made["token"].as_str().unwrap().to_owned());
    let troupe = async |args: &[&str]| {
        let done = troupe(&[&addr], &token, args).await;
        (done.code, done.text(), done.stderr)
    };
    let (code, id, said) = troupe(&["submit", "true", "--label", "gpu", "--key", "k"]).await;
    assert_eq!((code, id.trim_end().len(), said.as_str()), (0, 26, ""));
    let again = troupe(&["submit", "true", "--label", "gpu", "--key", "k"]).await;
    assert_eq!((again.0, &again.1), (0, &id));
    assert!(again.2.contains("used before"), "{}", again.2);

    let run = id.trim_end();
    let (code, shown, _) = troupe(&["run", "show", run]).await;
    assert_eq!(code, 0);
    for part in [format!("run:       {run}\n"), "outcome:   open\n".to_owned()] {
        assert!(shown.contains(&part), "{part:?} in {shown}");
    }
    let row = shown.lines().find(|line| line.starts_with(&format!("{run}.0  job"))).unwrap();
    assert!(row.ends_with("no live node has the labels gpu"), "{row}");
    // A node with the label is not enough while it has no room.
    let (_, small, _) = troupe(&["submit", "true"]).await;
    let (_, shown, _) = troupe(&["run", "show", small.trim_end()]).await;
    assert!(shown.contains("all nodes that could take it are full"), "{shown}");
    let (_, large, _) = troupe(&["submit", "true", "--cpu-millis", "256000"]).await;
    let (_, shown, _) = troupe(&["run", "show", large.trim_end()]).await;
    assert!(shown.contains("has 256000 thousandths of a cpu"), "{shown}");
    assert_eq!(troupe(&["drain", "alone"]).await.1, "alone takes no more jobs; those that it has go on\n");
    let (_, shown, _) = troupe(&["jobs", "--state", "queued"]).await;
    assert!(shown.contains("all nodes that could take it drain"), "{shown}");
    assert!(troupe(&["nodes"]).await.1.contains("drained"));
    let (_, status, _) = troupe(&["status"]).await;
    assert!(status.contains("leader:   alone\n") && status.contains("  leader  drained"), "{status}");

    let none = troupe(&["runs", "--repo", "nobody"]).await;
    assert_eq!(none, (0, String::new(), "troupe: no runs\n".to_owned()));
    let cancelled = troupe(&["run", "cancel", run]).await;
    assert_eq!((cancelled.0, cancelled.1), (0, format!("run {run} is being cancelled\n")));
    let over = troupe(&["artifacts", run]).await;
    assert_eq!(over.0, 3);
    assert!(!over.2.contains("waits for one"), "it is cancelled: {}", over.2);

    let (_, secret, said) =
        troupe(&["token", "create", "ci", "--right", "submit", "--expires-in", "2h"]).await;
    assert!(secret.starts_with("troupe_") && secret.lines().count() == 1, "{secret}");
    assert!(said.contains("shown only now"), "{said}");
    let (_, tokens, _) = troupe(&["token", "list"]).await;
    assert!(tokens.contains("in 1h59m") || tokens.contains("in 2h00m"), "{tokens}");
    node.stop().await;
}

#[tokio::test]
async fn an_attempt_whose_node_is_away_is_waited_for_until_it_is_lost() {
    let server = StandIn::start(|line, nth| match line.rsplit('/').next().unwrap() {
        "log?follow=true&from=0" if line.contains("/1/log") => match nth {
            0 => stream(output(0, b"begun\n").as_bytes(), false),
            _ => problem(503, "output_unavailable", "node-2 cannot be reached: connection refused"),
        },
        "log?follow=true&from=6" => {
            problem(503, "output_unavailable", "node-2 cannot be reached: connection refused")
        }
        "log?follow=true&from=0" => stream((output(0, b"again\n") + END).as_bytes(), true),
        // More often than a connection that breaks would be tried again: the cluster says when it is over.
        "1" if nth < 4 => ok(&attempt(1, None, 0)),
        "1" => ok(&attempt(1, Some("lost"), 0)),
        "2" => ok(&attempt(2, Some("succeeded"), 6)),
        "events" if nth == 0 => run_events(&[run(&[("running", 1)])]),
        "events" if nth == 1 => run_events(&[run(&[("running", 2)])]),
        "events" => run_events(&[run(&[("succeeded", 2)])]),
        _ => ok(&run(&[("running", 1)])),
    })
    .await;
    let done = server.troupe(&["logs", JOB, "-f"]).await;
    assert_eq!((done.code, done.text().as_str()), (0, "begun\nagain\n"), "{}", done.stderr);
    assert_eq!(done.stderr.matches("node-2 cannot be reached").count(), 1, "once: {}", done.stderr);
    assert!(done.stderr.contains("was lost"), "{}", done.stderr);
}

#[tokio::test]
async fn output_that_ends_badly_is_followed_by_the_reason() {
    let server = StandIn::start(|line, _| {
        let mut failed = run(&[("failed", 1)]);
        failed["jobs"][0]["reason"] = json!("step 1 exited with 3");
        match line.rsplit('/').next().unwrap() {
            "runs" => ok(&json!({ "id": RUN, "number": 1, "duplicate": false })),
            "events" => run_events(&[failed]),
            "1" => ok(&attempt(1, Some("failed"), 4)),
            "log?follow=true&from=0" => stream((output(0, b"out\n") + END).as_bytes(), true),
            _ => ok(&failed),
        }
    })
    .await;
    for args in [vec!["submit", "false", "--follow"], vec!["logs", JOB, "-f"]] {
        let done = server.troupe(&args).await;
        assert_eq!((done.code, done.text().as_str()), (1, "out\n"), "{args:?}: {}", done.stderr);
        let expected = format!("job {JOB} failed: step 1 exited with 3\n");
        assert!(done.stderr.ends_with(&expected), "{args:?}: {}", done.stderr);
    }
    let watched = server.troupe(&["run", "watch", RUN]).await;
    assert!(watched.text().contains("job-0 failed: step 1 exited with 3\n"), "{}", watched.text());
}

#[tokio::test]
async fn what_is_wrong_with_a_workflow_is_shown_line_by_line_wherever_its_run_is() {
    let server = StandIn::start(|line, _| {
        let mut broken = run(&[]);
        (broken["outcome"], broken["error"]) =
            (json!("failed"), json!("a.yml:1:2: bad\na.yml:3:4: w\u{1b}orse"));
        match line.rsplit('/').next().unwrap() {
            "events" => run_events(&[broken]),
            _ => ok(&broken),
        }
    })
    .await;
    for args in
        [vec!["run", "show", RUN], vec!["run", "watch", RUN], vec!["logs", RUN], vec!["logs", RUN, "-f"]]
    {
        let done = server.troupe(&args).await;
        let all = done.text() + &done.stderr;
        assert!(all.contains("a.yml:1:2: bad\n"), "{args:?}: {all}");
        assert!(all.lines().any(|line| line.trim_start() == "a.yml:3:4: w\u{fffd}orse"), "{args:?}: {all}");
    }
    let kept = server.troupe(&["artifacts", RUN]).await;
    assert_eq!((kept.code, kept.stderr.as_str()), (0, "troupe: no artifacts\n"));
}

#[tokio::test]
async fn artifacts_of_a_run_are_those_of_all_its_jobs() {
    let page = |paths: &[&str]| {
        let item = |path: &&str| json!({ "path": path, "size": 1, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" });
        ok(&json!({ "items": paths.iter().map(item).collect::<Vec<_>>(), "next": null }))
    };
    let server = StandIn::start(move |line, nth| {
        let job = |index: u8| format!("GET /v1/attempts/{RUN}.{index}/1/artifacts");
        match line {
            line if line == job(0) => page(&[]),
            line if line == job(1) => page(&["dist/x"]),
            // From the third look on, a second job kept something.
            line if line == job(3) => page(if nth < 2 { &[] } else { &["dist/x"] }),
            line if line.ends_with("/dist/x") => cli_support::bytes(b"x"),
            _ => ok(&run(&[("succeeded", 1), ("succeeded", 1), ("skipped", 0), ("succeeded", 1)])),
        }
    })
    .await;
    let listed = server.troupe(&["artifacts", RUN]).await;
    let row = |line: &str| line.starts_with(&format!("{RUN}.1 ")) && line.contains(" dist/x ");
    assert!(listed.text().lines().any(row), "{}", listed.text());
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().to_str().unwrap();
    let one = server.troupe(&["artifacts", RUN, "--download", into]).await;
    assert_eq!(
        (one.code, std::fs::read(dir.path().join("dist/x")).unwrap()),
        (0, b"x".to_vec()),
        "{}",
        one.stderr
    );
    let two = server.troupe(&["artifacts", RUN, "--download", into, "--force"]).await;
    assert_eq!(two.code, 2, "two jobs kept something: {}", two.stderr);
    let in_a_file = dir.path().join("dist/x");
    let in_a_file =
        server.troupe(&["artifacts", &format!("{RUN}.1"), "--download", in_a_file.to_str().unwrap()]).await;
    assert_eq!(in_a_file.code, 2, "{}", in_a_file.stderr);
    assert!(in_a_file.stderr.contains("cannot write in"), "{}", in_a_file.stderr);
}

#[tokio::test]
async fn addresses_tokens_and_pipes_that_are_wrong_are_told_in_words() {
    for (addrs, token, args, code, words) in [
        (&["http://a b"][..], "t", &["runs"][..], 2, "the address \"http://a b\" is not acceptable"),
        (&["ftp://a"], "t", &["runs"], 2, "http or https is expected"),
        (
            &["127.0.0.1:1", "http://127.0.0.1:2/"],
            "t",
            &["runs"],
            5,
            "http://127.0.0.1:1 (Connection refused",
        ),
        (&["http://127.0.0.1:1"], "two\nlines", &["runs"], 2, "the token is not acceptable"),
        (&[], "", &["ca", "issue", "No Such Name"], 2, "not acceptable"),
        (&[], "", &["submit", "true", "--timeout", "soon"], 2, "--timeout"),
        (&[], "", &["submit", "true", "--priority", "101"], 2, "-100..=100"),
    ] {
        let done = troupe(addrs, token, args).await;
        assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{words:?} in {}", done.stderr);
    }
    let server = StandIn::start(|_, _| problem(401, "unauthorized", "send Authorization")).await;
    let bare = troupe_with(&[&server.addr], "", &["runs"], b"").await;
    assert_eq!((bare.code, bare.stderr.contains("set TROUPE_TOKEN")), (4, true), "{}", bare.stderr);

    // Whoever reads completions may stop early: that is no panic.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_troupe"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(done.stderr).unwrap(), "");
}

#[tokio::test]
async fn what_may_be_asked_twice_is_asked_of_the_next_node_when_one_gives_no_answer() {
    let silent = StandIn::start(|_, _| Vec::new()).await;
    let server = StandIn::start(|line, _| match line {
        "POST /v1/runs" => ok(&json!({ "id": RUN, "number": 1, "duplicate": false })),
        line if line.starts_with("GET /v1/runs") => ok(&json!({ "items": [], "next": null })),
        _ => ok(&json!({ "cancelling": RUN })),
    })
    .await;
    let addrs = [silent.addr.as_str(), server.addr.as_str()];
    for args in [&["runs"][..], &["submit", "true"]] {
        let done = troupe(&addrs, "t", args).await;
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
    }
    // A change without a key is asked for once: it may have been made.
    let done = troupe(&addrs, "t", &["run", "cancel", RUN]).await;
    assert_eq!((done.code, server.asked("cancel").len()), (5, 0), "{}", done.stderr);
    assert!(done.stderr.contains("may or may not have been made"), "{}", done.stderr);
}
