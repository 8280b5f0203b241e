//! `troupe artifacts`: only whole files appear, only in the folder, and nothing is overwritten by accident.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod cli_support;

use std::path::Path;

use cli_support::{JOB, StandIn, bytes, ok, problem, run, stream};
use serde_json::json;
use sha2::{Digest, Sha256};

/// A server whose attempt 2 kept these files, given as (path, kept, sent).
async fn keeping(files: &'static [(&'static str, &'static [u8], &'static [u8])]) -> StandIn {
    StandIn::start(move |line, _| {
        let list = format!("GET /v1/attempts/{JOB}/2/artifacts");
        let found = files.iter().find(|(path, ..)| {
            line.strip_prefix(&format!("{list}/")).is_some_and(|rest| rest == path.replace(' ', "%20"))
        });
        if let Some((_, _, sent)) = found {
            return bytes(sent);
        }
        if line == list {
            let entry = |(path, kept, _): &(&str, &[u8], &[u8])| {
                json!({ "path": path, "size": kept.len(), "sha256": hex::encode(Sha256::digest(kept)) })
            };
            return ok(&json!({ "items": files.iter().map(entry).collect::<Vec<_>>(), "next": null }));
        }
        if line.starts_with("GET /v1/runs/") {
            return ok(&run(&[("succeeded", 2)]));
        }
        problem(404, "not_found", line)
    })
    .await
}

/// All files below a folder with their bytes, by path.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

const GOOD: &[(&str, &[u8], &[u8])] =
    &[("a b.txt", b"alpha", b"alpha"), ("deep/down/c.bin", b"\0\xff", b"\0\xff")];

#[tokio::test]
async fn files_are_listed_and_brought_here() {
    let server = keeping(GOOD).await;
    let listed = server.troupe(&["artifacts", JOB]).await;
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    for part in ["a b.txt", "deep/down/c.bin", &hex::encode(Sha256::digest(b"alpha"))] {
        assert!(listed.text().contains(part), "{}", listed.text());
    }
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("new");
    let into_text = into.to_str().unwrap();
    let done = server.troupe(&["artifacts", JOB, "--download", into_text]).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let expected: Vec<_> = GOOD.iter().map(|(path, kept, _)| ((*path).to_owned(), kept.to_vec())).collect();
    assert_eq!(files(&into), expected);

    std::fs::write(into.join("a b.txt"), "mine").unwrap();
    let again = server.troupe(&["artifacts", JOB, "--download", into_text]).await;
    assert_eq!(again.code, 4, "{}", again.stderr);
    assert_eq!(std::fs::read(into.join("a b.txt")).unwrap(), b"mine");
    let forced =
        server.troupe(&["--json", "artifacts", JOB, "--download", into_text, "--force", "a b.txt"]).await;
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    assert_eq!(forced.json()["path"], "a b.txt");
    assert_eq!(files(&into), expected);
}

#[tokio::test]
async fn what_is_not_what_was_kept_is_not_written() {
    let server = keeping(&[
        ("other", b"alpha", b"aleph"),
        ("short", b"alpha", b"alph"),
        ("long", b"alpha", b"alphaa"),
    ])
    .await;
    for path in ["other", "short", "long"] {
        let dir = tempfile::tempdir().unwrap();
        let done = server.troupe(&["artifacts", JOB, "--download", dir.path().to_str().unwrap(), path]).await;
        assert_eq!(done.code, 6, "{path}: {}", done.stderr);
        assert!(done.stderr.contains("nothing was written"), "{}", done.stderr);
        assert_eq!(files(dir.path()), []);
    }
    let dir = tempfile::tempdir().unwrap();
    let unknown = server.troupe(&["artifacts", JOB, "--download", dir.path().to_str().unwrap(), "x"]).await;
    assert_eq!(unknown.code, 3, "{}", unknown.stderr);
}

#[tokio::test]
async fn nothing_is_written_outside_the_folder() {
    const EVIL: &[(&str, &[u8], &[u8])] = &[("fine", b"x", b"x"), ("../evil", b"x", b"x")];
    let server = keeping(EVIL).await;
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("in");
    let done = server.troupe(&["artifacts", JOB, "--download", into.to_str().unwrap()]).await;
    assert_eq!(done.code, 6, "{}", done.stderr);
    assert!(done.stderr.contains("../evil"), "{}", done.stderr);
    // Not even the good one: the list is checked before the first is fetched.
    assert_eq!(files(dir.path()), []);
    assert_eq!(server.asked("/artifacts/"), []);
}

#[tokio::test]
async fn a_download_that_breaks_leaves_nothing() {
    const BROKEN: &[(&str, &[u8], &[u8])] = &[("x/broken", b"half of it", b"")];
    let server = StandIn::start(|line, _| match line.rsplit('/').next().unwrap() {
        "artifacts" => {
            let (path, kept, _) = BROKEN[0];
            let sha256 = hex::encode(Sha256::digest(kept));
            ok(&json!({ "items": [{ "path": path, "size": kept.len(), "sha256": sha256 }], "next": null }))
        }
        "broken" => stream(b"half", false),
        _ => ok(&run(&[("succeeded", 2)])),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let done = server.troupe(&["artifacts", JOB, "--download", dir.path().to_str().unwrap()]).await;
    assert_eq!(done.code, 5, "{}", done.stderr);
    assert_eq!(files(dir.path()), []);
}
