//! Runs the real binary on the host, with a control directory of its own.
#![allow(clippy::unwrap_used)] // Helpers of a test: a panic is the failure that is wanted.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus};

use init::permit::{self, Permit};
use init::wire::{Condition, Frame, FrameKind, Outcome, Plan, Shell, Step, StepKind};

struct Bench {
    dir: tempfile::TempDir,
}

fn sh(script: &str) -> Step {
    let kind = StepKind::Run { shell: Shell::Sh, script: script.into(), cwd: String::new() };
    Step { kind, env: vec![], condition: Condition::Success, timeout_ms: 0, continue_on_error: false }
}

impl Bench {
    fn start(steps: Vec<Step>, timeout_ms: u64) -> (Self, Child) {
        Self::prepare(steps, timeout_ms, None)
    }

    fn prepare(steps: Vec<Step>, timeout_ms: u64, permit: Option<Permit>) -> (Self, Child) {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().to_str().unwrap().to_owned();
        let plan = Plan { workspace, timeout_ms, grace_ms: 500, drain_ms: 200, steps };
        std::fs::write(dir.path().join("plan"), plan.encode()).unwrap();
        assert!(Command::new("mkfifo").arg(dir.path().join("control")).status().unwrap().success());
        if let Some(permit) = permit {
            std::fs::write(dir.path().join(permit::FILE), permit.encode()).unwrap();
        }
        let child =
            Command::new(env!("CARGO_BIN_EXE_troupe-init")).arg("run").arg(dir.path()).spawn().unwrap();
        (Self { dir }, child)
    }

    fn run(steps: Vec<Step>, timeout_ms: u64) -> (Vec<Frame>, ExitStatus) {
        let (bench, mut child) = Self::start(steps, timeout_ms);
        let status = child.wait().unwrap();
        (bench.frames(), status)
    }

    fn frames(&self) -> Vec<Frame> {
        let bytes = std::fs::read(self.dir.path().join("spool")).unwrap_or_default();
        let (mut frames, mut used) = (Vec::new(), 0);
        while let Some((frame, len)) = Frame::decode(&bytes[used..]).unwrap() {
            frames.push(frame);
            used += len;
        }
        frames
    }

    /// Polls until the output of a step shows that it is under way.
    fn until(&self, child: &mut Child, holds: impl Fn(&[Frame]) -> bool) {
        while !holds(&self.frames()) {
            assert!(child.try_wait().unwrap().is_none(), "init ended early: {:?}", self.frames());
            std::thread::yield_now();
        }
    }

    fn say(&self, line: &str) {
        let mut fifo =
            OpenOptions::new().read(true).write(true).open(self.dir.path().join("control")).unwrap();
        fifo.write_all(line.as_bytes()).unwrap();
    }
}

fn outcomes(frames: &[Frame]) -> Vec<Outcome> {
    let outcome = |f: &Frame| match &f.kind {
        FrameKind::StepFinished { outcome, .. } | FrameKind::JobFinished { outcome, .. } => Some(*outcome),
        _ => None,
    };
    frames.iter().filter_map(outcome).collect()
}

fn stdout(frames: &[Frame]) -> Vec<u8> {
    let bytes = |f: &Frame| if let FrameKind::Stdout(b) = &f.kind { b.clone() } else { vec![] };
    frames.iter().flat_map(bytes).collect()
}

#[test]
fn steps_run_in_order_and_bytes_are_exact() {
    let (frames, status) = Bench::run(vec![sh("printf 'a\\000\\377b'"), sh("echo two")], 0);
    assert!(status.success());
    assert_eq!(stdout(&frames), b"a\x00\xffbtwo\n");
    assert_eq!(outcomes(&frames), [Outcome::Succeeded; 3]);
    assert!(frames.is_sorted_by_key(|f| if matches!(f.kind, FrameKind::JobFinished { .. }) {
        9
    } else {
        f.step
    }));
}

#[test]
fn after_a_failure_only_what_asked_for_it_runs() {
    let on = |condition, script| Step { condition, ..sh(script) };
    let steps = vec![
        Step { continue_on_error: true, ..sh("exit 3") },
        sh("exit 7"),
        sh("echo no"),
        on(Condition::Failure, "echo failure"),
        on(Condition::Always, "echo always"),
    ];
    let (frames, status) = Bench::run(steps, 0);
    assert_eq!(status.code(), Some(1));
    assert_eq!(stdout(&frames), b"failure\nalways\n");
    use Outcome::{Failed, Skipped, Succeeded};
    assert_eq!(outcomes(&frames), [Failed, Failed, Skipped, Succeeded, Succeeded, Failed]);
}

#[test]
fn a_cancel_ends_a_step_that_ignores_term_and_always_steps_run() {
    let steps = vec![
        sh("trap '' TERM; echo up; while :; do sleep 1; done"),
        sh("echo no"),
        Step { condition: Condition::Always, ..sh("echo always") },
    ];
    // The step's own grace is over when it is killed; the job's bound for `always` begins then.
    let (bench, mut child) = Bench::start(steps, 0);
    bench.until(&mut child, |f| stdout(f) == b"up\n");
    bench.say("cancel\n");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let frames = bench.frames();
    assert_eq!(
        outcomes(&frames),
        [Outcome::Cancelled, Outcome::Skipped, Outcome::Succeeded, Outcome::Cancelled]
    );
    let killed = |f: &Frame| matches!(f.kind, FrameKind::StepFinished { signal: Some(9), .. });
    assert!(frames.iter().any(killed));
}

#[test]
fn a_kill_ends_the_step_and_init_at_once_and_nothing_more_is_written() {
    let steps = vec![
        sh("trap '' TERM; sleep 1000 & echo $!; echo up; while :; do sleep 1; done"),
        Step { condition: Condition::Always, ..sh("echo always") },
    ];
    let (bench, mut child) = Bench::start(steps, 0);
    bench.until(&mut child, |f| stdout(f).ends_with(b"up\n"));
    let sleeper = String::from_utf8(stdout(&bench.frames())).unwrap();
    let sleeper = sleeper.lines().next().unwrap().to_owned();
    bench.say("kill\n");
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(outcomes(&bench.frames()).is_empty(), "{:?}", bench.frames());
    // The whole group: one that is dead and not reaped yet has no command line any more.
    let runs = || std::fs::read(format!("/proc/{sleeper}/cmdline")).is_ok_and(|line| !line.is_empty());
    while runs() {
        std::thread::yield_now();
    }
}

#[test]
fn a_kill_ends_a_wait_for_the_node() {
    let (bench, mut child) = Bench::start(vec![Step { kind: StepKind::Host, ..sh("") }], 0);
    bench.until(&mut child, |f| f.iter().any(|f| f.kind == FrameKind::HostWanted));
    bench.say("kill\n");
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(outcomes(&bench.frames()).is_empty());
}

#[test]
fn sigterm_is_a_cancel() {
    let (bench, mut child) = Bench::start(vec![sh("echo up; sleep 1000")], 0);
    bench.until(&mut child, |f| stdout(f) == b"up\n");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    child.wait().unwrap();
    assert_eq!(outcomes(&bench.frames()), [Outcome::Cancelled; 2]);
}

#[test]
fn limits_of_step_and_job_are_time_outs() {
    let (frames, _) = Bench::run(vec![Step { timeout_ms: 50, ..sh("sleep 1000") }], 0);
    assert_eq!(outcomes(&frames), [Outcome::TimedOut; 2]);
    let (frames, _) = Bench::run(vec![sh("sleep 1000")], 50);
    assert_eq!(outcomes(&frames), [Outcome::TimedOut; 2]);
}

#[test]
fn a_process_that_keeps_the_pipe_open_does_not_hold_up_the_job() {
    let (frames, status) = Bench::run(vec![sh("sleep 20 & echo one"), sh("echo two")], 0);
    assert!(status.success());
    assert_eq!(stdout(&frames), b"one\ntwo\n");
}

#[test]
fn a_host_step_waits_for_the_nodes_answer() {
    let (bench, mut child) = Bench::start(vec![Step { kind: StepKind::Host, ..sh("") }, sh("echo then")], 0);
    bench.until(&mut child, |f| f.iter().any(|f| f.kind == FrameKind::HostWanted));
    bench.say("nonsense\nhost 0 0\n");
    assert!(child.wait().unwrap().success());
    assert_eq!(stdout(&bench.frames()), b"then\n");
}

/// Milliseconds since this machine started.
fn now() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    (seconds * 1000.0) as u64
}

impl Bench {
    /// A job with a permit from its start.
    fn start_permitted(steps: Vec<Step>, timeout_ms: u64, permit: Permit) -> (Self, Child) {
        Self::prepare(steps, timeout_ms, Some(permit))
    }

    /// As the node does: in place.
    fn permit(&self, permit: Permit) {
        let file = OpenOptions::new().write(true).open(self.dir.path().join(permit::FILE)).unwrap();
        file.write_all_at(&permit.encode(), 0).unwrap();
    }
}

#[test]
fn a_job_whose_permit_runs_out_ends_by_itself_and_not_before() {
    let until_ms = now() + 1000;
    let steps = vec![sh("trap '' TERM; echo up; while :; do sleep 1; done")];
    let (bench, mut child) = Bench::start_permitted(steps, 0, Permit { until_ms, paused_ms: 0 });
    bench.until(&mut child, |f| stdout(f) == b"up\n");
    // Renewed before it ran out.
    let renewed = until_ms + 1500;
    bench.permit(Permit { until_ms: renewed, paused_ms: 0 });
    assert_eq!(child.wait().unwrap().code(), Some(permit::RAN_OUT));
    assert!(now() >= renewed, "it ended before its permit");
    assert!(outcomes(&bench.frames()).is_empty(), "nothing more is written");
}

#[test]
fn a_job_without_a_permit_left_does_not_begin() {
    let (bench, mut child) =
        Bench::start_permitted(vec![sh("sleep 1000")], 0, Permit { until_ms: 1, paused_ms: 0 });
    assert_eq!(child.wait().unwrap().code(), Some(permit::TOO_LATE));
    assert!(outcomes(&bench.frames()).is_empty());
}

#[test]
fn limits_do_not_count_how_long_the_job_was_paused() {
    let until_ms = now() + 600_000;
    let steps = vec![sh("echo up; read line < go; echo went")];
    let (bench, mut child) = Bench::start_permitted(steps, 700, Permit { until_ms, paused_ms: 0 });
    let go = bench.dir.path().join("go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    bench.until(&mut child, |f| stdout(f) == b"up\n");
    // As if it had been frozen for this hour, of which it is told before it wakes.
    bench.permit(Permit { until_ms, paused_ms: 3_600_000 });
    let past_its_limit = now() + 1000;
    while now() < past_its_limit {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {:?}", bench.frames());
        std::thread::yield_now();
    }
    std::fs::write(&go, "\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(outcomes(&bench.frames()), [Outcome::Succeeded; 2]);
}
