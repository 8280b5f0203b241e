//! `troupe workflow run` on the engine of this machine, with the image that scripts/base-image.sh makes. `TROUPE_NO_DOCKER=1` skips
//! these tests, visibly; without an engine they fail.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod run_support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use run_support::{Checkout, Done, done, read};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const FILE: &str = ".github/workflows/ci.yml";
const LABEL: [&str; 2] = ["--label", "ubuntu-latest=troupe/busybox:local"];

fn no_docker() -> bool {
    let skip = std::env::var_os("TROUPE_NO_DOCKER").is_some();
    if skip {
        println!("skipped: TROUPE_NO_DOCKER is set");
    }
    skip
}

fn run(there: &Checkout, more: &[&str]) -> Command {
    there.run(&[&[FILE], &LABEL[..], more].concat())
}

/// The run as it was printed.
fn view(done: &Done) -> Value {
    serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

/// Whether jobs succeeded, by their keys.
fn outcomes(view: &Value) -> Vec<(&str, &str)> {
    let jobs = view["jobs"].as_array().unwrap().iter().filter(|job| job["form"] != "group");
    jobs.map(|job| (job["key"].as_str().unwrap(), job["outcome"].as_str().unwrap())).collect()
}

/// The engine has nothing of the run's node any more.
fn assert_nothing_left(view: &Value) {
    let node = view["jobs"].as_array().unwrap().iter().find_map(|job| job["node"].as_str()).unwrap();
    assert_eq!(at_engine(node), ["", "", ""]);
}

/// Containers, networks and volumes of a node.
fn at_engine(node: &str) -> [String; 3] {
    let filter = format!("label=troupe.node={node}");
    [&["ps", "-aq"][..], &["network", "ls", "-q"], &["volume", "ls", "-q"]].map(|list| {
        let output = Command::new("docker").args(list).args(["--filter", &filter]).output().unwrap();
        assert!(output.status.success(), "docker {list:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}

/// The same command, which hears of a hangup even if whoever runs the tests does not, as under nohup.
fn hearing(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    env.current_dir(command.get_current_dir().unwrap());
    env.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    env.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    env
}

const ALL: &str = r#"
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    environment: anywhere
    outputs:
      word: ${{ steps.word.outputs.word }}
    steps:
      - uses: actions/checkout@v4
      - run: cat committed changed untracked; test ! -e ignored; test ! -e deleted
      - id: word
        run: echo word=sesame >> "$GITHUB_OUTPUT"
      - run: echo "it is $IT"; echo "$IT" > secret
        env: {IT: "${{ secrets.IT }}"}
      - run: mkdir dist; echo kept > dist/file; echo at ${{ vars.PLACE }}
      - uses: actions/upload-artifact@v4
        with: {name: things, path: dist}
  test:
    needs: build
    runs-on: ubuntu-latest
    strategy:
      matrix: {n: [1, 2]}
    services:
      beside: {image: "troupe/busybox:local", options: --entrypoint yes, volumes: ["data:/data"]}
    steps:
      - uses: actions/download-artifact@v4
        with: {name: things}
      - run: cat file; echo ${{ needs.build.outputs.word }} ${{ matrix.n }}
      - uses: actions/checkout@v4
        with: {ref: before}
      - run: cat changed
"#;

#[test]
fn a_run_has_the_working_tree_as_it_is_and_leaves_nothing_but_what_was_asked_for() {
    if no_docker() {
        return;
    }
    let there =
        Checkout::of(&[("committed", "1 as committed\n"), ("changed", "of before\n"), ("deleted", "")]);
    there.git(&["tag", "before"]);
    there.write(FILE, ALL);
    there.write(".gitignore", "ignored\n");
    there.commit("second");
    there.write("changed", "2 as changed\n");
    there.write("untracked", "3 as untracked\n");
    there.write("ignored", "");
    there.git(&["rm", "--quiet", "deleted"]);
    // Somebody else has pushed what cannot be beside a branch here, and the index is in two files.
    there.git(&["branch", "feature"]);
    there.git(&["update-ref", "refs/remotes/origin/feature/x", "before"]);
    there.git(&["update-index", "--split-index"]);
    let before = there.state();
    let artifacts = there.path("../artifacts");

    let into = artifacts.to_str().unwrap();
    let mut command = run(&there, &["--json", "--secret", "IT", "--var", "PLACE=home", "--artifacts", into]);
    command.env("IT", "hunter2hunter2");
    let done = done(command);
    let view = view(&done);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let all = [("build", "succeeded"), ("test (1)", "succeeded"), ("test (2)", "succeeded")];
    assert_eq!(outcomes(&view), all, "{}", done.stderr);
    for line in [
        "build    | 1 as committed",
        "build    | 2 as changed",
        "build    | 3 as untracked",
        "build    | it is ***",
        "build    | at home",
        "test (1) | kept",
        "test (1) | sesame 1",
        "test (2) | sesame 2",
        "test (2) | of before",
    ] {
        assert!(done.stderr.lines().any(|found| found == line), "{line:?} is missing:\n{}", done.stderr);
    }
    assert!(!done.stderr.contains("hunter2") && !done.stdout.contains("hunter2"), "{}", done.stderr);
    assert_eq!(read(artifacts.join("things/file")), "kept\n");
    assert_nothing_left(&view);
    there.assert_nothing_kept();
    assert_eq!(there.state(), before, "the checkout is as it was");
}

#[test]
fn a_run_that_fails_says_which_job_and_why_and_goes_however_deep_its_directories_are() {
    if no_docker() {
        return;
    }
    let ci = "on: workflow_dispatch\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: 'n=0; while [ $n -lt 1500 ]; do mkdir d; cd d; n=$((n+1)); done; exit 3'}]\n  b:\n    needs: a\n    \
              runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n";
    let there = Checkout::of(&[(FILE, ci)]);
    let done = done(run(&there, &[]));
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let row = |job: &str| {
        done.stdout.lines().find(|line| line.starts_with(&format!("{job}  "))).unwrap().to_owned()
    };
    assert!(row("a").contains("failed") && row("a").contains('3'), "{}", done.stdout);
    assert!(row("b").contains("skipped"), "{}", done.stdout);
    assert!(done.stdout.ends_with("run failed\n"), "{}", done.stdout);
    there.assert_nothing_kept();
}

#[test]
fn jobs_run_as_whom_the_configuration_says_and_what_they_check_out_is_theirs() {
    if no_docker() {
        return;
    }
    let ci = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      \
              - run: id -u; stat -c %u .github; touch made ~/made\n      - uses: docker://troupe/busybox:local\n        \
              with: {entrypoint: id, args: -g}\n";
    let there = Checkout::of(&[(FILE, ci)]);
    let mut command = run(&there, &[]);
    command.env("TROUPE_RUNNER__USER", "1234:4321");
    let done = done(command);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    let lines: Vec<_> = done.stdout.lines().filter(|line| line.starts_with("a | ")).collect();
    assert_eq!(lines, ["a | 1234", "a | 1234", "a | 4321"]);
    there.assert_nothing_kept();
}

#[test]
fn only_a_job_and_what_it_needs_can_be_asked_for_with_inputs() {
    if no_docker() {
        return;
    }
    let job = |id: &str, more: &str, script: &str| {
        format!("  {id}:\n    runs-on: ubuntu-latest\n{more}    steps: [{{run: \"{script}\"}}]\n")
    };
    let ci = [
        "on:\n  workflow_dispatch:\n    inputs:\n      who: {required: true}\njobs:\n".to_owned(),
        job("a", "", "echo first"),
        job("b", "    needs: a\n", "echo hello ${{ inputs.who }}"),
        job("c", "", "exit 1"),
    ];
    let there = Checkout::of(&[(FILE, &ci.concat())]);
    let done = done(run(&there, &["--json", "--job", "b", "--input", "who=world"]));
    let view = view(&done);
    assert_eq!(outcomes(&view), [("a", "succeeded"), ("b", "succeeded")], "{}", done.stderr);
    assert!(done.stderr.lines().any(|line| line == "b | hello world"), "{}", done.stderr);
}

#[test]
fn a_job_that_this_machine_cannot_take_is_said_and_ends_the_run_when_the_others_are_done() {
    if no_docker() {
        return;
    }
    let ci = "on: push\njobs:\n  a:\n    runs-on: [ubuntu-latest]\n    steps: [{run: echo from a}]\n  b:\n    runs-on: plan9\n    \
              steps: [{run: 'true'}]\n  c:\n    needs: b\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n  d:\n    \
              runs-on: ubuntu-latest\n    x-troupe: {resources: {memory: 4000Gi}}\n    steps: [{run: 'true'}]\n  e:\n    \
              runs-on: ubuntu-latest\n    needs: b\n    if: always()\n    steps: [{run: 'true'}]\n  f:\n    \
              runs-on: plan9\n    if: always()\n    steps: [{run: 'true'}]\n";
    let there = Checkout::of(&[(FILE, ci)]);
    let done = done(run(&there, &["--json"]));
    let view = view(&done);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let ended = ["succeeded", "cancelled", "cancelled", "cancelled", "succeeded", "cancelled"];
    let all: Vec<_> = ["a", "b", "c", "d", "e", "f"].into_iter().zip(ended).collect();
    assert_eq!(outcomes(&view), all, "{}", done.stderr);
    assert!(view["cannot_run_here"]["b"].as_str().unwrap().contains("--label plan9=IMAGE"), "{view}");
    assert!(view["cannot_run_here"]["d"].as_str().unwrap().contains("4096000 MiB"), "{view}");
}

#[test]
fn an_interrupt_cancels_the_run_and_leaves_nothing() {
    if no_docker() {
        return;
    }
    let ci = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    services:\n      \
              beside: {image: 'troupe/busybox:local', options: --entrypoint yes, volumes: ['data:/data']}\n    \
              steps:\n      - run: echo begun; sleep 600\n      - if: cancelled()\n        run: echo tidied\n  \
              b:\n    needs: a\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n  c:\n    needs: a\n    \
              if: cancelled()\n    runs-on: ubuntu-latest\n    steps: [{run: 'echo told of ${{ needs.a.result }}'}]\n";
    let there = Checkout::of(&[(FILE, ci)]);
    let mut child = run(&there, &["--json"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let (mut words, mut line) = (String::new(), String::new());
    while !line.contains("a | begun") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended before the job began:\n{words}");
        words.push_str(&line);
    }
    let kept: Vec<_> = std::fs::read_dir(there.temporary()).unwrap().map(|entry| entry.unwrap()).collect();
    let modes: Vec<_> =
        kept.iter().map(|entry| entry.metadata().unwrap().permissions().mode() & 0o777).collect();
    assert_eq!(modes, [0o700], "nobody else reads keys and sources: {kept:?}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    said.read_to_string(&mut words).unwrap();
    let done = Done { stderr: words, ..child.wait_with_output().unwrap().into() };
    let view = view(&done);
    let all = vec![("a", "cancelled"), ("b", "cancelled"), ("c", "succeeded")];
    assert_eq!((done.code, outcomes(&view)), (Some(1), all), "{}", done.stderr);
    for said in ["a | tidied", "c | told of cancelled"] {
        assert!(done.stderr.lines().any(|line| line == said), "{}", done.stderr);
    }
    assert_nothing_left(&view);
    there.assert_nothing_kept();
}

#[test]
fn a_second_interrupt_ends_it_at_once_and_leaves_nothing_either() {
    if no_docker() {
        return;
    }
    let ci = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container:\n      image: troupe/busybox:local\n      \
              options: --label test.mark=TEST\n    steps:\n      - run: trap '' TERM; echo begun; sleep 600\n      \
              - if: always()\n        run: sleep 600\n";
    let mark = format!("second-{}", std::process::id());
    let there = Checkout::of(&[(FILE, &ci.replace("TEST", &mark))]);
    let mut child = hearing(&run(&there, &[])).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (mut out, mut said) = (child.stdout.take().unwrap(), BufReader::new(child.stderr.take().unwrap()));
    let mut line = String::new();
    let mut lines = BufReader::new(&mut out);
    while !line.contains("a | begun") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended before the job began");
    }
    kill_process(pid, Signal::HUP).unwrap();
    while !line.contains("once more ends at once") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended at the first one");
    }
    kill_process(pid, Signal::QUIT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let filter = format!("label=test.mark={mark}");
    let left = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    there.assert_nothing_kept();
}

#[test]
fn what_a_run_left_that_was_killed_goes_when_the_next_one_begins() {
    if no_docker() {
        return;
    }
    const NEXT: &str = ".github/workflows/next.yml";
    let killed = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    services:\n      \
                  beside: {image: 'troupe/busybox:local', options: --entrypoint yes, volumes: ['data:/data']}\n    \
                  steps: [{run: echo begun; sleep 600}]\n";
    let next = "on: push\njobs:\n  b:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n";
    let there = Checkout::of(&[(FILE, killed), (NEXT, next)]);
    let begun = || {
        let mut child = run(&there, &[]).spawn().unwrap();
        let (mut lines, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        while !line.contains("| begun") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended before the job began");
        }
        (child, lines)
    };
    let kept = || {
        let all = std::fs::read_dir(there.temporary()).unwrap();
        all.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let node = |dir: &Path| read(dir.join("data/node-id")).trim().to_owned();
    let (mut dead, _unread) = begun();
    let left = kept().pop().unwrap();
    dead.kill().unwrap();
    dead.wait().unwrap();
    let dead = node(&left);
    assert!(at_engine(&dead).iter().all(|list| !list.is_empty()), "{:?}", at_engine(&dead));
    let (mut living, _unread) = begun();
    assert_eq!(at_engine(&dead), ["", "", ""]);
    let [kept_by_it] = kept().try_into().unwrap();

    let done = done(there.run(&[&[NEXT], &LABEL[..]].concat()));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(kept(), [&*kept_by_it], "it lives");
    let alive = node(&kept_by_it);
    assert!(at_engine(&alive).iter().all(|list| !list.is_empty()), "{:?}", at_engine(&alive));
    kill_process(Pid::from_child(&living), Signal::TERM).unwrap();
    assert_eq!(living.wait().unwrap().code(), Some(1));
    assert_eq!(at_engine(&alive), ["", "", ""]);
    there.assert_nothing_kept();
}
