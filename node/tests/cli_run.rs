//! `troupe workflow run` as far as it goes without a Docker engine: what is wrong is said before anything begins.

mod run_support;

use run_support::{Checkout, done};

const FILE: &str = ".github/workflows/ci.yml";
const CI: &str = "on:\n  push: {branches: [main]}\njobs:\n  a:\n    runs-on: x\n    steps: [{run: echo a}]\n";

#[test]
fn what_is_in_no_checkout_is_said_with_what_to_do() {
    let there = Checkout::bare();
    there.write(FILE, CI);
    let done = done(there.run(&[FILE]));
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(
        done.stderr.contains("is in no git checkout") && done.stderr.contains("git init"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_file_that_is_wrong_is_told_of_as_lint_does() {
    let there = Checkout::of(&[(FILE, "on: push\njobs:\n  a:\n    runs-on: x\n    stepz: []\n")]);
    let run = done(there.run(&[FILE]));
    let mut lint = std::process::Command::new(env!("CARGO_BIN_EXE_troupe"));
    lint.args(["workflow", "lint", FILE]).current_dir(there.path(""));
    let lint = done(lint);
    assert!(lint.stdout.contains("ci.yml:5:5"), "{}", lint.stdout);
    assert_eq!((run.code, run.stdout), (Some(2), lint.stdout));
}

#[test]
fn what_makes_no_run_says_why() {
    let there = Checkout::of(&[(FILE, CI)]);
    there.git(&["checkout", "--quiet", "-b", "other"]);
    let filtered = done(there.run(&[FILE]));
    assert_eq!(filtered.code, Some(3), "{}", filtered.stderr);
    assert!(filtered.stderr.contains("do not let refs/heads/other in"), "{}", filtered.stderr);
    let by_hand = done(there.run(&[FILE, "--input", "x=1"]));
    assert_eq!(by_hand.code, Some(3), "{}", by_hand.stderr);
    assert!(by_hand.stderr.contains("\"on\" has no workflow_dispatch"), "{}", by_hand.stderr);
}

#[test]
fn what_no_node_would_look_at_is_not_run() {
    let there = Checkout::of(&[(FILE, CI), (".troupe/workflows/own.yml", CI), ("ci.yml", CI)]);
    for (file, why) in [("ci.yml", "where no node looks for workflows"), (FILE, "and here .troupe/workflows")]
    {
        let done = done(there.run(&[file]));
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
}

#[test]
fn a_job_or_a_secret_that_is_not_there_is_named() {
    let there = Checkout::of(&[(FILE, CI)]);
    let job = done(there.run(&[FILE, "--job", "b"]));
    assert_eq!(job.code, Some(2), "{}", job.stderr);
    assert!(job.stderr.contains("has no job \"b\"; it has: a"), "{}", job.stderr);
    let secret = done(there.run(&[FILE, "--secret", "NOT_THERE_AT_ALL"]));
    assert_eq!(secret.code, Some(2), "{}", secret.stderr);
    assert!(secret.stderr.contains("NOT_THERE_AT_ALL has no value"), "{}", secret.stderr);
}

#[test]
fn without_an_engine_it_is_said_what_was_tried_and_what_to_do() {
    let there = Checkout::of(&[(FILE, CI)]);
    let mut command = there.run(&[FILE]);
    command.env("DOCKER_HOST", format!("unix://{}", there.temporary().join("no.sock").display()));
    let done = done(command);
    assert_eq!(done.code, Some(5), "{}", done.stderr);
    assert!(
        done.stderr.contains("cannot use the Docker engine") && done.stderr.contains("DOCKER_HOST"),
        "{}",
        done.stderr
    );
    there.assert_nothing_kept();
}
