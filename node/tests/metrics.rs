//! What `/metrics` says satisfies Prometheus' own linter.

use std::io::Write;
use std::process::{Command, Stdio};

#[tokio::test]
async fn promtool_finds_nothing() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: promtool is not installed (Debian: prometheus)");
        return;
    }
    let handle = node::telemetry::metrics().unwrap();
    metrics::counter!(node::telemetry::HTTP_REQUESTS, "class" => "2xx").increment(1);
    metrics::counter!(node::telemetry::HTTP_REFUSED).increment(1);
    metrics::histogram!(node::telemetry::HTTP_SECONDS).record(0.01);
    metrics::counter!(node::telemetry::WEBHOOKS, "forge" => "github", "outcome" => "accepted").increment(1);
    let text = node::telemetry::render(&handle);
    for name in ["troupe_http_requests_total", "troupe_webhooks_total", "process_open_fds"] {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} in:\n{text}");
    }
    let mut lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}\n{text}");
}
