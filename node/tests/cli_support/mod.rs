//! The `troupe` binary as a child process, and a server that answers it as a test says.

#![allow(dead_code, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use std::collections::HashMap;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A run's id, and its first job's.
pub const RUN: &str = "01J9ZC3V5W6X7Y8Z9A0B1C2D3E";
pub const JOB: &str = "01J9ZC3V5W6X7Y8Z9A0B1C2D3E.0";

/// What a command did.
pub struct Done {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Done {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Runs `troupe` to its end.
pub async fn troupe(addrs: &[&str], token: &str, args: &[&str]) -> Done {
    troupe_with(addrs, token, args, b"").await
}

/// Runs `troupe` to its end with bytes on its standard input.
pub async fn troupe_with(addrs: &[&str], token: &str, args: &[&str], input: &[u8]) -> Done {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_troupe"))
        .args(args)
        .env("TROUPE_ADDR", addrs.join(","))
        .env("TROUPE_TOKEN", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing closes its end, which is no failure.
    drop(stdin.write_all(input).await);
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    Done { code: status.code().unwrap_or_else(|| panic!("{status}: {stderr}")), stdout, stderr }
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Method, path and query.
    pub line: String,
    pub last_event_id: Option<String>,
}

/// A server on an address of its own: one request per connection.
pub struct StandIn {
    pub addr: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl StandIn {
    /// Answers each request with the bytes that `answer` gives for its method, path and query, and for how often the
    /// same was asked before.
    pub async fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, counts) = (asked.clone(), Mutex::new(HashMap::<String, usize>::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = head(&mut stream).await else { continue };
                let nth = {
                    let mut counts = counts.lock().unwrap();
                    let count = counts.entry(request.line.clone()).or_default();
                    *count += 1;
                    *count - 1
                };
                log.lock().unwrap().push(request.clone());
                drop(stream.write_all(&answer(&request.line, nth)).await);
                drop(stream.shutdown().await);
            }
        });
        Self { addr, asked, _tasks: tasks }
    }

    /// Runs `troupe` against this server.
    pub async fn troupe(&self, args: &[&str]) -> Done {
        troupe(&[&self.addr], "token", args).await
    }

    /// The requests so far whose line contains `part`.
    pub fn asked(&self, part: &str) -> Vec<Asked> {
        let all = self.asked.lock().unwrap();
        all.iter().filter(|asked| asked.line.contains(part)).cloned().collect()
    }
}

async fn head(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(size) => bytes.extend_from_slice(&part[..size]),
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let line = text.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let id = text.lines().find_map(|line| line.strip_prefix("last-event-id: ")).map(str::to_owned);
    Some(Asked { line, last_event_id: id })
}

fn response(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// JSON.
pub fn ok(value: &Value) -> Vec<u8> {
    response("200 OK", "application/json", value.to_string().as_bytes())
}

/// Bytes.
pub fn bytes(body: &[u8]) -> Vec<u8> {
    response("200 OK", "application/octet-stream", body)
}

/// An error of the API.
pub fn problem(status: u16, code: &str, detail: &str) -> Vec<u8> {
    let body = json!({ "status": status, "code": code, "detail": detail });
    response(&format!("{status} X"), "application/problem+json", body.to_string().as_bytes())
}

/// A stream that ends in order, or breaks off after the bytes.
pub fn stream(body: &[u8], whole: bool) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let size = format!("{:x}\r\n", body.len());
    let end: &[u8] = if whole { b"\r\n0\r\n\r\n" } else { b"" };
    [head.as_bytes(), size.as_bytes(), body, end].concat()
}

/// A run with its jobs, each as (state or outcome, attempts); finished when all are.
pub fn run(jobs: &[(&str, u16)]) -> Value {
    let outcomes = ["succeeded", "failed", "lost", "skipped", "cancelled"];
    let jobs: Vec<_> = jobs
        .iter()
        .enumerate()
        .map(|(index, (what, attempts))| {
            let ended = outcomes.contains(what);
            json!({ "id": format!("{RUN}.{index}"), "key": format!("job-{index}"), "attempts": attempts,
                "state": if ended { "finished" } else { what }, "outcome": ended.then_some(what),
                "node": null, "cancel_requested": false, "priority": 0, "labels": [], "queued_at": 1,
                "placed_at": null, "started_at": null, "finished_at": null })
        })
        .collect();
    let ended = jobs.iter().all(|job| !job["outcome"].is_null());
    let good = jobs.iter().all(|job| job["outcome"] == "succeeded");
    json!({ "id": RUN, "number": 1, "repo": null, "name": "x", "path": "", "event": "ad_hoc", "git_ref": "",
        "commit": "", "title": "", "sender": "", "delivery": null, "rerun_of": null, "error": null,
        "outcome": ended.then_some(if good { "succeeded" } else { "failed" }),
        "created_at": 1, "finished_at": null, "jobs": jobs })
}

/// A stream of a run's states.
pub fn run_events(runs: &[Value]) -> Vec<u8> {
    let text: String = runs.iter().map(|run| format!("event:run\ndata:{run}\nid:7\n\n")).collect();
    stream(text.as_bytes(), true)
}

/// An attempt of the first job.
pub fn attempt(number: u16, outcome: Option<&str>, log_bytes: u64) -> Value {
    json!({ "id": format!("{JOB}/{number}"), "node": "0000000000000001", "fence": 1, "placed_at": 1,
        "started_at": 1, "finished_at": null, "outcome": outcome, "reason": "the node went away", "steps": [],
        "artifacts": [], "log_bytes": log_bytes })
}
