//! Runs the real binary as the guard of a command, on the host.
#![allow(clippy::unwrap_used)] // Helpers of a test: a panic is the failure that is wanted.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use init::permit::{self, Permit};

fn permit(control: &Path, until_ms: u64) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(control.join(permit::FILE));
    file.unwrap().write_all_at(&Permit { until_ms, paused_ms: 0 }.encode(), 0).unwrap();
}

fn guard(control: &Path, argv: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_troupe-init"));
    command.arg("guard").arg(control).args(argv).stdout(Stdio::piped()).spawn().unwrap()
}

/// Its guard may do with it what it likes from then on.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_commands_end_is_its_guards() {
    let dir = tempfile::tempdir().unwrap();
    permit(dir.path(), u64::MAX);
    for (argv, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["/absent/program"], 127),
        (&["/"], 126),
        (&[], 2),
    ] {
        assert_eq!(guard(dir.path(), argv).wait().unwrap().code(), Some(code), "{argv:?}");
    }
}

#[test]
fn without_a_permit_nothing_begins_and_when_it_runs_out_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("began");
    let touch = ["touch", marker.to_str().unwrap()];
    assert_eq!(guard(dir.path(), &touch).wait().unwrap().code(), Some(2));
    permit(dir.path(), 1);
    assert_eq!(guard(dir.path(), &touch).wait().unwrap().code(), Some(permit::TOO_LATE));
    assert!(!marker.exists());
    permit(dir.path(), u64::MAX);
    let mut child = guard(dir.path(), &["sh", "-c", "echo runs; exec sleep 600"]);
    assert_eq!(first_line(&mut child), "runs\n");
    assert!(child.try_wait().unwrap().is_none());
    permit(dir.path(), 1);
    assert_eq!(child.wait().unwrap().code(), Some(permit::RAN_OUT));
}

#[test]
fn a_request_to_end_is_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    permit(dir.path(), u64::MAX);
    let mut child =
        guard(dir.path(), &["sh", "-c", "trap 'exit 9' TERM; echo runs; while true; do sleep 0.05; done"]);
    assert_eq!(first_line(&mut child), "runs\n");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(9));
}
