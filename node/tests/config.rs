//! The configuration: fresh reference, refused keys and values, overrides.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use std::path::{Path, PathBuf};

use node::config::{Config, reference};

fn reference_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/reference.toml")
}

fn load(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path)).map_err(|error| error.to_string())
}

#[test]
fn the_reference_is_fresh() {
    let stored = std::fs::read_to_string(reference_path()).unwrap_or_default();
    assert_eq!(stored, reference(), "run `troupe config reference > config/reference.toml`");
}

#[test]
fn the_reference_is_the_default() {
    assert_eq!(load(&reference()), Ok(Config::default()));
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = load("[http]\nlissten = \"127.0.0.1:1\"").unwrap_err();
    assert!(error.contains("lissten"), "{error}");
}

#[test]
fn a_value_out_of_range_is_refused_by_name() {
    for (text, field) in [
        ("[cluster]\nbootstrap_expect = 0", "cluster.bootstrap_expect"),
        ("[http]\nlisten = \"nowhere\"", "http.listen"),
        ("[node]\nname = \"Not A Name\"", "node.name"),
        ("[leases]\nnode_ms = 40000", "leases.node_ms"),
        ("[leases]\nnode_ms = 24001", "leases.node_ms"),
        ("[raft]\nelection_ms = 200", "raft.election_ms"),
        ("[runner]\nuser = \"me\"", "runner.user"),
        ("[http]\nmax_body_bytes = 1", "http.max_body_bytes"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(field), "{text}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/node.toml"))).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/node.toml"), "{error}");
}

#[test]
fn a_node_without_certificates_says_which_settings_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_troupe"))
        .arg("node")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{words}");
    assert!(words.contains("cluster.cert") && words.contains("troupe ca issue"), "{words}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
