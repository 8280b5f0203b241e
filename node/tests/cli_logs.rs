//! `troupe logs` against a server that breaks off, repeats itself and ends early: each byte is written once, in order.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod cli_support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cli_support::{JOB, RUN, StandIn, attempt, bytes, ok, problem, run, run_events, stream, troupe};
use serde_json::json;

/// Output that begins at `begin`, as the API sends it.
fn output(begin: usize, bytes: &[u8]) -> String {
    format!("event:output\ndata:{}\nid:{}\n\n", STANDARD.encode(bytes), begin + bytes.len())
}

const END: &str = "event:end\ndata:\n\n";

/// A job that is queued at first, whose first attempt is lost, and whose second fails.
fn two_attempts(line: &str, nth: usize) -> Vec<u8> {
    let log = |number: u16, from: u16| format!("GET /v1/attempts/{JOB}/{number}/log?follow=true&from={from}");
    if line == format!("GET /v1/runs/{RUN}") {
        ok(&run(&[("queued", 0)]))
    } else if line == format!("GET /v1/runs/{RUN}/events") {
        match nth {
            0 => run_events(&[run(&[("queued", 0)]), run(&[("placed", 1)])]),
            1 => run_events(&[run(&[("queued", 1)]), run(&[("running", 2)])]),
            _ => run_events(&[run(&[("failed", 2)])]),
        }
    } else if line == log(1, 0) {
        stream((output(0, b"hello ") + "event:output\ndata:aGFsZiBh").as_bytes(), false)
    } else if line == log(1, 6) {
        // Begins before what was asked for, as a server may that keeps pieces whole.
        let pieces = output(3, b"lo wor") + ": still here\n\n" + &output(9, b"ld\n\0\xff");
        stream((pieces + "event:error\ndata:the node is gone\n\n" + END).as_bytes(), true)
    } else if line == log(1, 14) {
        match nth {
            0 => problem(503, "output_unavailable", "the node is not back yet"),
            _ => stream(END.as_bytes(), true),
        }
    } else if line == log(2, 0) {
        stream((output(0, b"again\n") + END).as_bytes(), true)
    } else if line == format!("GET /v1/attempts/{JOB}/1") {
        // Looked at before the first connection, and after each.
        let outcome = (nth > 3).then_some("lost");
        ok(&attempt(1, outcome, if nth > 3 { 14 } else { 0 }))
    } else if line == format!("GET /v1/attempts/{JOB}/2") {
        ok(&attempt(2, Some("failed"), 6))
    } else {
        problem(404, "not_found", line)
    }
}

#[tokio::test]
async fn follows_over_broken_connections_into_the_next_attempt() {
    let server = StandIn::start(two_attempts).await;
    let done = server.troupe(&["logs", JOB, "--follow"]).await;
    assert_eq!(done.stdout, b"hello world\n\0\xffagain\n", "{}", done.stderr);
    assert_eq!(done.code, 1, "the job failed: {}", done.stderr);
    let resumed: Vec<_> = server.asked("/1/log").into_iter().map(|asked| asked.last_event_id).collect();
    let id = |text: &str| Some(text.to_owned());
    assert_eq!(resumed, [None, id("6"), id("14"), id("14")]);
    for part in ["trying again", "the node is gone", "was lost", "goes on with attempt 2"] {
        assert!(done.stderr.contains(part), "{part:?} in {}", done.stderr);
    }
}

#[tokio::test]
async fn json_has_attempt_offset_and_text_or_base64() {
    let server = StandIn::start(two_attempts).await;
    let done = server.troupe(&["--json", "logs", RUN, "-f"]).await;
    let pieces: Vec<serde_json::Value> =
        done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (one, two) = (format!("{JOB}/1"), format!("{JOB}/2"));
    let expected = json!([
        { "attempt": one, "offset": 0, "text": "hello " },
        { "attempt": one, "offset": 6, "text": "wor" },
        { "attempt": one, "offset": 9, "base64": STANDARD.encode(b"ld\n\0\xff") },
        { "attempt": two, "offset": 0, "text": "again\n" },
    ]);
    assert_eq!(serde_json::Value::from(pieces), expected);
    assert_eq!(done.code, 1);
}

#[tokio::test]
async fn a_stream_that_ends_before_its_attempt_is_taken_up_again() {
    let server = StandIn::start(|line, nth| match line.rsplit('/').next().unwrap() {
        "events" if nth == 0 => run_events(&[run(&[("running", 1)])]),
        // While the attempt runs, the first event is the run as it is, the second a change.
        "events" if nth == 1 => run_events(&[run(&[("running", 1)]), run(&[("succeeded", 1)])]),
        "events" => run_events(&[run(&[("succeeded", 1)])]),
        "1" if nth < 3 => ok(&attempt(1, None, 0)),
        "1" => ok(&attempt(1, Some("succeeded"), 4)),
        "log?follow=true&from=0" => stream((output(0, b"ab") + END).as_bytes(), true),
        "log?follow=true&from=2" => stream((output(2, b"cd") + END).as_bytes(), true),
        _ => ok(&run(&[("running", 1)])),
    })
    .await;
    let done = server.troupe(&["logs", JOB, "-f"]).await;
    assert_eq!((done.code, done.text().as_str()), (0, "abcd"), "{}", done.stderr);
}

#[tokio::test]
async fn what_is_missing_at_the_end_is_said_and_does_not_hold_up() {
    let server = StandIn::start(|line, _| match line.rsplit('/').next().unwrap() {
        "events" => run_events(&[run(&[("succeeded", 1)])]),
        "1" => ok(&attempt(1, Some("succeeded"), 10)),
        "log?follow=true&from=0" => stream((output(0, b"abcd") + END).as_bytes(), true),
        _ => ok(&run(&[("succeeded", 1)])),
    })
    .await;
    let done = server.troupe(&["logs", JOB, "-f"]).await;
    assert_eq!((done.code, done.text().as_str()), (0, "abcd"));
    assert!(done.stderr.contains("6 bytes of 10 cannot be had"), "{}", done.stderr);
}

#[tokio::test]
async fn a_gap_is_an_error_and_not_skipped() {
    let server = StandIn::start(|line, _| match line.rsplit('/').next().unwrap() {
        "events" => run_events(&[run(&[("running", 1)])]),
        "1" => ok(&attempt(1, None, 0)),
        "log?follow=true&from=0" => stream((output(0, b"ab") + &output(5, b"x")).as_bytes(), true),
        _ => ok(&run(&[("running", 1)])),
    })
    .await;
    let done = server.troupe(&["logs", JOB, "-f"]).await;
    assert_eq!((done.code, done.text().as_str()), (5, "ab"));
    assert!(done.stderr.contains("bytes 2 to 5 are missing"), "{}", done.stderr);
}

#[tokio::test]
async fn reading_goes_on_where_the_connection_broke() {
    let server = StandIn::start(|line, nth| match line.rsplit('/').next().unwrap() {
        "log?from=1" => stream(b"bc", false),
        "log?from=3" if nth == 0 => problem(503, "output_unavailable", "the node starts again"),
        "log?from=3" => bytes(b"def"),
        _ => ok(&run(&[("failed", 1)])),
    })
    .await;
    let done = server.troupe(&["logs", JOB, "--from", "1"]).await;
    assert_eq!((done.code, done.text().as_str()), (0, "bcdef"), "{}", done.stderr);
    assert!(done.stderr.contains("the node starts again"), "{}", done.stderr);
}

#[tokio::test]
async fn all_jobs_of_a_run_come_in_order() {
    let server = StandIn::start(|line, _| {
        let job = |index: u8| format!("GET /v1/attempts/{RUN}.{index}/1/log?from=0");
        match line {
            line if line == job(0) => bytes(b"zero\n"),
            line if line == job(2) => bytes(b"two\n"),
            _ => ok(&run(&[("succeeded", 1), ("skipped", 0), ("failed", 1)])),
        }
    })
    .await;
    let done = server.troupe(&["logs", RUN]).await;
    assert_eq!((done.code, done.text().as_str()), (0, "zero\ntwo\n"), "{}", done.stderr);
    let headers: Vec<_> = done.stderr.lines().filter(|line| line.starts_with("==>")).collect();
    assert_eq!(headers.len(), 3, "{}", done.stderr);
    assert!(headers[1].contains("job-1 (skipped)"), "{}", done.stderr);
    for args in [["logs", RUN, "--from", "3"], ["logs", RUN, "--attempt", "2"]] {
        let done = server.troupe(&args).await;
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
    }
}

#[tokio::test]
async fn what_is_not_there_has_its_exit_code() {
    let server = StandIn::start(|line, _| match line {
        line if line.ends_with(RUN) => ok(&run(&[("queued", 0)])),
        line if line.contains("/log") => problem(503, "output_unavailable", "no \u{1b}[31m link"),
        _ => problem(404, "not_found", "no such run"),
    })
    .await;
    let other = "01J9ZC3V5W6X7Y8Z9A0B1C2D3F";
    for (target, attempt, code) in [
        (JOB, None, 3),
        (other, None, 3),
        (JOB, Some("7"), 5),
        (&format!("{RUN}.1"), None, 3),
        ("x", None, 2),
    ] {
        let mut args = vec!["logs", target];
        args.extend(attempt.iter().flat_map(|number| ["--attempt", number]));
        let done = server.troupe(&args).await;
        assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
        assert!(!done.stderr.contains('\u{1b}'), "{:?}", done.stderr);
    }
}

#[tokio::test]
async fn an_address_that_is_down_is_passed_over() {
    let server = StandIn::start(two_attempts).await;
    // Bound and dropped: nothing listens there.
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let down = format!("http://{down}");
    let done = troupe(&[&down, &server.addr], "token", &["logs", JOB, "-f"]).await;
    assert_eq!((done.code, done.stdout.len()), (1, 20), "{}", done.stderr);
    let alone = troupe(&[&down], "token", &["logs", JOB, "-f"]).await;
    assert_eq!(alone.code, 5, "{}", alone.stderr);
    assert!(!alone.stderr.contains("trying again"), "the first request says at once that nobody is there");
}
