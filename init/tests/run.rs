//! Runs the real binary on the host, with a control directory of its own; the test gives the orders.
#![allow(clippy::unwrap_used)] // Helpers of a test: a panic is the failure that is wanted.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus};

use init::disk;
use init::permit::{self, Permit};
use init::wire::{FILES, Frame, FrameKind, MAX_FILE, Order, Outcome, Plan, Run, Work};

struct Bench {
    dir: tempfile::TempDir,
}

fn order(work: Work) -> Order {
    Order { step: 0, stopping: false, timeout_ms: 0, work }
}

fn run(script: &str) -> Run {
    let argv = ["sh", "-e", "{0}"].map(str::to_owned).to_vec();
    Run { argv, script: script.into(), ..Run::default() }
}

fn sh(script: &str) -> Order {
    order(Work::Run(run(script)))
}

/// Nothing comes after it.
fn last(script: &str) -> Order {
    order(Work::Run(Run { last: true, ..run(script) }))
}

fn finish(success: bool) -> Order {
    order(Work::Finish { success })
}

impl Bench {
    fn start(first: Order, timeout_ms: u64) -> (Self, Child) {
        Self::prepare(first, timeout_ms, None)
    }

    fn prepare(first: Order, timeout_ms: u64, permit: Option<Permit>) -> (Self, Child) {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().to_str().unwrap().to_owned();
        let plan = Plan { workspace, timeout_ms, grace_ms: 500, drain_ms: 200 };
        std::fs::write(dir.path().join("plan"), plan.encode()).unwrap();
        std::fs::write(dir.path().join(Order::file(1)), first.encode()).unwrap();
        for fifo in ["control", "bell"] {
            assert!(Command::new("mkfifo").arg(dir.path().join(fifo)).status().unwrap().success());
        }
        if let Some(permit) = permit {
            std::fs::write(dir.path().join(permit::FILE), permit.encode()).unwrap();
        }
        let child =
            Command::new(env!("CARGO_BIN_EXE_troupe-init")).arg("run").arg(dir.path()).spawn().unwrap();
        (Self { dir }, child)
    }

    /// Gives one order after the other, each when the one before it is over, and the last with the first already there.
    fn run(orders: Vec<Order>) -> (Vec<Frame>, ExitStatus) {
        let mut orders = orders.into_iter();
        let (bench, mut child) = Self::start(orders.next().unwrap(), 0);
        for (number, order) in (2..).zip(orders) {
            bench.until(&mut child, |frames| outcomes(frames).len() + 1 == number as usize);
            bench.give(number, &order);
        }
        let status = child.wait().unwrap();
        (bench.frames(), status)
    }

    fn give(&self, number: u32, order: &Order) {
        std::fs::write(self.dir.path().join(Order::file(number)), order.encode()).unwrap();
        self.say(&format!("order {number}\n"));
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

    /// Polls until the spool shows what is waited for.
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

/// Of all orders that are over.
fn outcomes(frames: &[Frame]) -> Vec<Outcome> {
    let outcome = |f: &Frame| match &f.kind {
        FrameKind::OrderOver { outcome, .. } => Some(*outcome),
        _ => None,
    };
    frames.iter().filter_map(outcome).collect()
}

fn stdout(frames: &[Frame]) -> Vec<u8> {
    let bytes = |f: &Frame| if let FrameKind::Stdout(b) = &f.kind { b.clone() } else { vec![] };
    frames.iter().flat_map(bytes).collect()
}

fn file(frames: &[Frame], wanted: &str) -> Vec<u8> {
    let bytes = |f: &Frame| match &f.kind {
        FrameKind::File { file, bytes } if FILES[usize::from(*file)].0 == wanted => bytes.clone(),
        _ => vec![],
    };
    frames.iter().flat_map(bytes).collect()
}

fn stops(frames: &[Frame]) -> Vec<Outcome> {
    let stop = |f: &Frame| if let FrameKind::Stopping { outcome } = f.kind { Some(outcome) } else { None };
    frames.iter().filter_map(stop).collect()
}

#[test]
fn orders_are_carried_out_in_turn_and_bytes_are_exact() {
    let (frames, status) =
        Bench::run(vec![sh("printf 'a\\000\\377b'"), sh("echo two; exit 3"), finish(true)]);
    assert!(status.success());
    assert_eq!(stdout(&frames), b"a\x00\xffbtwo\n");
    assert_eq!(outcomes(&frames), [Outcome::Succeeded, Outcome::Failed]);
    let (_, status) = Bench::run(vec![sh("true"), finish(false)]);
    assert_eq!(status.code(), Some(1));
}

#[test]
fn the_last_order_is_the_end_without_another_word_of_the_node() {
    let (frames, status) = Bench::run(vec![last("echo one")]);
    assert!(status.success());
    assert_eq!(outcomes(&frames), [Outcome::Succeeded]);
    let (_, status) = Bench::run(vec![last("exit 7")]);
    assert_eq!(status.code(), Some(1));
}

#[test]
fn an_order_is_taken_once_and_what_it_wrote_is_told_before_its_end() {
    let both = Run {
        files: true,
        path: vec!["/first".into(), "/then".into()],
        env: vec![
            ("A".into(), "1".into()),
            ("A".into(), "2".into()),
            ("PATH".into(), "/bin:/usr/bin".into()),
        ],
        ..run("echo a=b >> $GITHUB_OUTPUT; rm $GITHUB_STATE; echo $A $PATH; cat $0 | head -c 4")
    };
    let (bench, mut child) = Bench::start(order(Work::Run(both)), 0);
    bench.until(&mut child, |frames| outcomes(frames).len() == 1);
    assert!(!bench.dir.path().join(Order::file(1)).exists(), "it may hold secrets");
    bench.say("order 1\norder 1\n");
    bench.give(2, &finish(true));
    assert!(child.wait().unwrap().success());
    let frames = bench.frames();
    assert_eq!(outcomes(&frames).len(), 1, "{frames:?}");
    assert_eq!(stdout(&frames), b"2 /then:/first:/bin:/usr/bin\necho");
    assert_eq!(file(&frames, "output"), b"a=b\n");
    assert!(matches!(frames.last().unwrap().kind, FrameKind::OrderOver { bad_files: 0, .. }));
}

#[test]
fn files_that_are_too_large_or_no_files_are_named() {
    let wanted = Run {
        files: true,
        ..run(
            "head -c 1048577 /dev/zero > $GITHUB_ENV; rm $GITHUB_PATH; mkfifo $GITHUB_PATH; head -c 1048576 /dev/zero > $GITHUB_STATE",
        )
    };
    let (frames, _) = Bench::run(vec![order(Work::Run(wanted)), finish(true)]);
    assert!(
        matches!(frames.last().unwrap().kind, FrameKind::OrderOver { bad_files: 0b110, .. }),
        "{:?}",
        frames.last()
    );
    assert_eq!(file(&frames, "state").len(), MAX_FILE);
    assert!(file(&frames, "env").is_empty());
}

#[test]
fn a_shell_is_found_and_one_that_is_not_there_is_said() {
    let argv = |argv: &[&str]| argv.iter().map(|word| (*word).to_owned()).collect();
    let default = Run { argv: Vec::new(), ..run("echo hello") };
    let none = Run { argv: argv(&["no-such-shell", "{0}"]), ..run("") };
    let (frames, _) = Bench::run(vec![order(Work::Run(default)), order(Work::Run(none)), finish(true)]);
    assert_eq!(stdout(&frames), b"hello\n");
    assert_eq!(outcomes(&frames), [Outcome::Succeeded, Outcome::Failed]);
    let said = |f: &Frame| matches!(&f.kind, FrameKind::Stderr(b) if String::from_utf8_lossy(b).contains("no-such-shell"));
    assert!(frames.iter().any(said), "{frames:?}");
}

#[test]
fn a_cancel_ends_a_step_that_ignores_term_and_only_what_knows_of_it_is_carried_out() {
    let (bench, mut child) = Bench::start(sh("trap '' TERM; echo up; while :; do sleep 1; done"), 0);
    bench.until(&mut child, |f| stdout(f) == b"up\n");
    bench.say("cancel\n");
    bench.until(&mut child, |f| outcomes(f).len() == 1);
    bench.give(2, &sh("echo no"));
    bench.until(&mut child, |f| outcomes(f).len() == 2);
    bench.give(3, &Order { stopping: true, ..sh("echo always") });
    bench.until(&mut child, |f| outcomes(f).len() == 3);
    bench.give(4, &finish(false));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let frames = bench.frames();
    assert_eq!(outcomes(&frames), [Outcome::Cancelled, Outcome::Skipped, Outcome::Succeeded]);
    assert_eq!((stops(&frames), stdout(&frames)), (vec![Outcome::Cancelled], b"up\nalways\n".to_vec()));
    assert!(frames.iter().any(|f| matches!(f.kind, FrameKind::OrderOver { signal: Some(9), .. })));
}

#[test]
fn a_cancel_between_orders_is_told() {
    let (bench, mut child) = Bench::start(sh("true"), 0);
    bench.until(&mut child, |f| outcomes(f).len() == 1);
    bench.say("cancel\n");
    bench.until(&mut child, |f| stops(f) == [Outcome::Cancelled]);
    bench.give(2, &finish(false));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_kill_ends_the_step_and_init_at_once_and_nothing_more_is_written() {
    let script = "trap '' TERM; sleep 1000 & echo $!; echo up; while :; do sleep 1; done";
    let (bench, mut child) = Bench::start(sh(script), 0);
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

fn started(frames: &[Frame]) -> bool {
    frames.iter().any(|f| matches!(f.kind, FrameKind::OrderStarted { .. }))
}

#[test]
fn a_kill_ends_a_wait_for_the_node() {
    let (bench, mut child) = Bench::start(order(Work::Host), 0);
    bench.until(&mut child, started);
    bench.say("kill\n");
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(outcomes(&bench.frames()).is_empty());
}

#[test]
fn sigterm_is_a_cancel() {
    let (bench, mut child) = Bench::start(last("echo up; sleep 1000"), 0);
    bench.until(&mut child, |f| stdout(f) == b"up\n");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    child.wait().unwrap();
    assert_eq!(outcomes(&bench.frames()), [Outcome::Cancelled]);
    assert_eq!(stops(&bench.frames()), [Outcome::Cancelled]);
}

#[test]
fn limits_of_an_order_and_of_the_job_are_time_outs() {
    let (frames, _) = Bench::run(vec![Order { timeout_ms: 50, ..last("sleep 1000") }]);
    assert_eq!((outcomes(&frames), stops(&frames)), (vec![Outcome::TimedOut], vec![]));
    let (bench, mut child) = Bench::start(last("sleep 1000"), 50);
    child.wait().unwrap();
    assert_eq!(outcomes(&bench.frames()), [Outcome::TimedOut]);
    assert_eq!(stops(&bench.frames()), [Outcome::TimedOut]);
}

#[test]
fn a_process_that_keeps_the_pipe_open_does_not_hold_up_the_job() {
    let (frames, status) = Bench::run(vec![sh("sleep 20 & echo one"), last("echo two")]);
    assert!(status.success());
    assert_eq!(stdout(&frames), b"one\ntwo\n");
}

#[test]
fn what_the_node_does_itself_ends_with_its_answer() {
    let (bench, mut child) = Bench::start(order(Work::Host), 0);
    bench.until(&mut child, started);
    bench.say("nonsense\nhost 7 0\nhost 1 0\n");
    bench.until(&mut child, |f| outcomes(f) == [Outcome::Succeeded]);
    bench.give(2, &last("echo then"));
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
    fn start_permitted(first: Order, timeout_ms: u64, permit: Permit) -> (Self, Child) {
        Self::prepare(first, timeout_ms, Some(permit))
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
    let first = sh("trap '' TERM; echo up; while :; do sleep 1; done");
    let (bench, mut child) = Bench::start_permitted(first, 0, Permit { until_ms, paused_ms: 0 });
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
        Bench::start_permitted(sh("sleep 1000"), 0, Permit { until_ms: 1, paused_ms: 0 });
    assert_eq!(child.wait().unwrap().code(), Some(permit::TOO_LATE));
    assert!(outcomes(&bench.frames()).is_empty());
}

#[test]
fn limits_do_not_count_how_long_the_job_was_paused() {
    let until_ms = now() + 600_000;
    let first = last("until [ -p go ]; do sleep 0.01; done; echo up; read line < go; echo went");
    let (bench, mut child) = Bench::start_permitted(first, 700, Permit { until_ms, paused_ms: 0 });
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
    assert_eq!(outcomes(&bench.frames()), [Outcome::Succeeded]);
}

#[test]
fn an_init_that_cannot_write_for_want_of_disk_says_so_by_its_exit_code() {
    let (frames, status) = Bench::run(vec![sh("ln -s /dev/full script-2"), sh("echo never")]);
    assert_eq!(status.code(), Some(disk::FAILED));
    assert_eq!(outcomes(&frames), [Outcome::Succeeded]);
}
