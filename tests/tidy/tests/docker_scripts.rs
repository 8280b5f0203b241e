//! The scripts that every test with real containers stands on: an engine that answers, and a base image that works.
//!
//! Needs a Docker engine, or the right to start one (root), as `scripts/test.sh` does.

use std::process::Command;
use tidy::tree;

/// Runs a command in the root of the repository; gives what it wrote to both outputs, and fails with it.
fn run(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(tree::root());
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let words =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {}\n{words}", output.status);
    words
}

fn in_container(script: &str) -> String {
    run(
        "docker",
        &["run", "--rm", "--network=none", "--cap-drop=ALL", "troupe/busybox:local", "sh", "-ec", script],
    )
}

#[test]
fn the_engine_is_used_when_it_is_there() {
    run("scripts/docker-up.sh", &[]);
    let again = run("scripts/docker-up.sh", &[]);
    assert!(again.contains("using the engine there is"), "{again}");
}

#[test]
fn the_base_image_has_a_shell_tools_and_a_writable_tmp() {
    run("scripts/docker-up.sh", &[]);
    run("scripts/base-image.sh", &["busybox"]);
    let again = run("scripts/base-image.sh", &["busybox"]);
    assert!(again.contains("is there"), "{again}");

    assert_eq!(in_container("seq 3 | grep 2 | sed s/2/two/"), "two\n");
    assert_eq!(in_container("id -un; test -x /bin/tar; /usr/bin/env true"), "root\n");
    assert_eq!(in_container("stat -c %a /tmp; echo x >/tmp/y; cat /tmp/y"), "1777\nx\n");
}

#[test]
fn an_unknown_image_is_refused_by_name() {
    run("scripts/docker-up.sh", &[]);
    let mut command = Command::new("scripts/base-image.sh");
    let output = command.arg("windows").current_dir(tree::root()).output().unwrap_or_else(|e| panic!("{e}"));
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("unknown image 'windows'") && words.contains("to do:"), "{words}");
}
