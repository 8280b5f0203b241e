//! A node alone: from a submitted run to its end, through queue, gateway and runners. One node per test process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actors::artifacts::Blobs;
use actors::replica::{Leadership, NodeAddress};
use actors::root::{self, Handle, Parts};
use actors::runner::work::Finished;
use actors::runner::{Sources, reaper};
use actors::supervisor::Policy;
use actors::workspace::Mirrors;
use actors::{gateway, queue, runner};
use domain::{
    Access, Artifact, AttemptId, BootId, Capacity, Command, DeliveryId, DeliveryState, Event, EventKind,
    Fence, JobId, JobState, Labels, NodeFacts, NodeId, Outcome, RepoId, Resources, RunId, Sealed,
};
use support::{Bench, BenchWork, OneCopy, submit};

const ME: NodeId = NodeId(7);

fn parts(copy: &Arc<OneCopy>, bench: &Arc<Bench>, dir: &Path, boot: u64) -> Parts {
    let name: domain::NodeName = "n1".parse().unwrap();
    let boot = BootId(boot);
    let facts = NodeFacts {
        node: ME,
        name: name.clone(),
        boot,
        cluster_addr: "127.0.0.1:1".to_owned(),
        http_addr: "127.0.0.1:2".to_owned(),
        labels: ["linux"].into_iter().collect(),
        capacity: Capacity { resources: Resources { cpu_millis: 4000, memory_mib: 4000 }, slots: 2 },
        version: "test".to_owned(),
    };
    Parts {
        replica: Arc::clone(copy) as _,
        work: Arc::new(BenchWork(Arc::clone(bench))),
        sources: Sources { mirrors: Mirrors::new(dir.join("mirrors"), Duration::from_secs(5)) },
        wire: None,
        bulk: None,
        gateway: gateway::Options::new(ME, name, boot),
        queue: queue::Options { reconcile: Duration::from_millis(20), ..queue::Options::default() },
        runner: runner::Options {
            facts,
            attempts: dir.join("attempts"),
            heartbeat: Duration::from_millis(20),
            first_lease: Duration::from_secs(10),
            margin: Duration::from_millis(100),
            reaper: reaper::Options {
                every: Duration::from_millis(10),
                ..reaper::Options::new(Blobs::new(dir.join("blobs")))
            },
        },
        policy: Policy { backoff_min: Duration::from_millis(1), ..Policy::default() },
    }
}

async fn start(copy: &Arc<OneCopy>, bench: &Arc<Bench>, dir: &Path, boot: u64) -> Handle {
    root::start(parts(copy, bench, dir, boot)).await.unwrap()
}

async fn until_state(copy: &OneCopy, job: JobId, wanted: JobState) {
    copy.until(&format!("{job} is {wanted:?}"), |s| s.jobs.get(&job).is_some_and(|j| j.state == wanted))
        .await;
}

fn first(job: JobId) -> AttemptId {
    AttemptId { job, number: 1 }
}

#[tokio::test]
async fn a_submitted_run_is_placed_runs_and_finishes() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let jobs: Vec<_> = (1..=5).map(|n| submit(&copy, n, &[])).collect();
    for job in &jobs {
        until_state(&copy, *job, JobState::Running).await;
        bench.end(first(*job), Outcome::Succeeded);
        let state = copy
            .until("finished", |s| {
                s.jobs.get(job).is_some_and(|j| j.state == JobState::Finished(Outcome::Succeeded))
            })
            .await;
        assert_eq!(state.attempts.get(&first(*job)).map(|a| a.log_bytes), Some(7));
    }
    node.shutdown().await;
    assert_eq!(bench.cleaned.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_cancelled_run_ends_whether_it_runs_or_not() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    copy.apply(Command::CancelRun { run: job.run, force: false });
    until_state(&copy, job, JobState::Finished(Outcome::Cancelled)).await;
    node.shutdown().await;
}

#[tokio::test]
async fn an_end_that_cannot_be_taken_is_a_failure_and_not_another_try() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    // The state machine refuses it for what it says, whoever says it.
    bench.end(first(job), Outcome::Skipped);
    until_state(&copy, job, JobState::Finished(Outcome::Failed)).await;
    let state = copy.until("", |_| true).await;
    let attempt = state.attempts.get(&first(job)).unwrap();
    assert!(attempt.reason.contains("(skipped) could not be reported"), "{}", attempt.reason);
    assert_eq!((attempt.log_bytes, state.jobs.get(&job).unwrap().attempts), (7, 1));
    node.shutdown().await;
}

#[tokio::test]
async fn a_panic_in_a_runner_costs_the_attempt_not_the_node() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    *bench.panics.lock().unwrap() = true;
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Finished(Outcome::Failed)).await;
    let reason = copy.until("", |_| true).await.attempts.get(&first(job)).unwrap().reason.to_string();
    assert_eq!(reason, "the runner panicked: work that panics");
    *bench.panics.lock().unwrap() = false;
    let next = submit(&copy, 2, &[]);
    until_state(&copy, next, JobState::Running).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_restarts_adopts_what_runs_and_removes_what_is_over() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let (kept, over) = (submit(&copy, 1, &[]), submit(&copy, 2, &[]));
    until_state(&copy, kept, JobState::Running).await;
    until_state(&copy, over, JobState::Running).await;
    node.shutdown().await;
    // The node was away for so long that it was lost, came back, and one job was cancelled in between.
    copy.apply(Command::CancelRun { run: over.run, force: false });
    copy.apply(Command::LoseNode { node: ME, boot: BootId(1) });
    let other = submit(&copy, 3, &[]);
    let node = start(&copy, &bench, dir.path(), 2).await;
    copy.until("its second attempt runs", |s| {
        s.jobs.get(&kept).is_some_and(|j| j.state == JobState::Running && j.attempts == 2)
    })
    .await;
    until_state(&copy, other, JobState::Running).await;
    assert!(bench.cleaned.lock().unwrap().contains(&first(kept)));
    node.shutdown().await;
    let node = start(&copy, &bench, dir.path(), 3).await;
    bench.end(AttemptId { job: kept, number: 2 }, Outcome::Succeeded);
    until_state(&copy, kept, JobState::Finished(Outcome::Succeeded)).await;
    assert_eq!(copy.until("", |_| true).await.jobs.get(&kept).unwrap().attempts, 2);
    node.shutdown().await;
}

#[tokio::test]
async fn a_result_waits_on_disk_while_nothing_can_be_proposed() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    copy.cut_off.send_replace(true);
    bench.end(first(job), Outcome::Succeeded);
    let result = dir.path().join(format!("attempts/{job}-1/result"));
    let kept = async {
        while !result.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, kept).await.unwrap();
    node.shutdown().await;
    copy.cut_off.send_replace(false);
    let node = start(&copy, &bench, dir.path(), 2).await;
    until_state(&copy, job, JobState::Finished(Outcome::Succeeded)).await;
    let gone = async {
        while result.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, gone).await.unwrap();
    node.shutdown().await;
}

/// What a file or directory is like that nobody touched for longer than the reaper waits.
fn age(path: &Path) {
    File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
}

/// A log as an attempt leaves it.
fn old_log(dir: &Path, attempt: AttemptId) -> std::path::PathBuf {
    let path = dir.join(format!("attempts/{}-{}", attempt.job, attempt.number));
    fs::create_dir_all(path.join("left/over")).unwrap();
    fs::write(path.join("log"), "frames").unwrap();
    age(&path.join("log"));
    age(&path);
    path
}

/// As many whole looks of the reaper as it takes that one of them began after this call.
async fn looked_again(copy: &OneCopy) {
    let mut asked = copy.asked.subscribe();
    let times = *asked.borrow();
    let looked = asked.wait_for(|now| *now >= times + 3);
    tokio::time::timeout(support::PATIENCE, looked).await.unwrap().unwrap();
}

async fn until_gone(path: &Path) {
    let gone = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn what_no_attempt_owns_is_removed_by_a_node_whose_state_is_recent() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("blobs")).unwrap();
    fs::write(dir.path().join("blobs/.tmphalf"), "half").unwrap();
    let node = start(&copy, &bench, dir.path(), 1).await;
    assert!(!dir.path().join("blobs/.tmphalf").exists());
    let blobs = Blobs::new(dir.path().join("blobs"));
    let (size, digest) = blobs.put(&b"kept"[..]).unwrap();
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    let artifacts = vec![Artifact { name: String::new(), path: "a".to_owned(), size, digest }];
    let finished = Finished { artifacts, ..Finished::bare(Outcome::Succeeded, "") };
    bench.begun.lock().unwrap()[&first(job)].1.send_replace(Some(finished));
    until_state(&copy, job, JobState::Finished(Outcome::Succeeded)).await;
    // What its runner still removes makes its directory young again.
    node.runners().empty().await;
    copy.cut_off.send_replace(true);
    let named = [old_log(dir.path(), first(job)), blobs.path(&digest)];
    age(&named[1]);
    let unknown = first(JobId { run: RunId(99), index: 0 });
    let nobodys = [old_log(dir.path(), unknown), blobs.path(&blobs.put(&b"nobody's"[..]).unwrap().1)];
    age(&nobodys[1]);
    let young = blobs.path(&blobs.put(&b"young"[..]).unwrap().1);
    let other = dir.path().join("attempts/lost+found");
    fs::create_dir(&other).unwrap();
    age(&other);
    looked_again(&copy).await;
    assert!(nobodys.iter().all(|path| path.exists()), "what a node does not know may be still to come");
    copy.cut_off.send_replace(false);
    for path in &nobodys {
        until_gone(path).await;
    }
    looked_again(&copy).await;
    assert!(named.iter().chain([&young, &other]).all(|path| path.exists()), "{named:?} {young:?} {other:?}");
    copy.apply(Command::ForgetRuns { runs: vec![job.run] });
    for path in &named {
        until_gone(path).await;
    }
    assert!(young.exists() && other.exists());
    node.shutdown().await;
}

#[tokio::test]
async fn what_could_not_be_removed_at_an_attempts_end_is_removed_later() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    let left = first(JobId { run: RunId(99), index: 0 });
    bench.begun.lock().unwrap().insert(left, (Fence(1), tokio::sync::watch::channel(None).0));
    let cleaned = async {
        while !bench.cleaned.lock().unwrap().contains(&left) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, cleaned).await.unwrap();
    looked_again(&copy).await;
    assert!(!bench.cleaned.lock().unwrap().contains(&first(job)), "what runs stays");
    bench.end(first(job), Outcome::Succeeded);
    until_state(&copy, job, JobState::Finished(Outcome::Succeeded)).await;
    node.shutdown().await;
}

#[tokio::test]
async fn attempts_are_killed_when_the_lease_cannot_be_renewed() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let mut parts = parts(&copy, &bench, dir.path(), 1);
    parts.queue.lease = Duration::from_millis(600);
    parts.runner.first_lease = parts.queue.lease;
    let node = root::start(parts).await.unwrap();
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    copy.leadership.send_replace(Leadership { term: 2, leader: None, is_me: false });
    copy.until("ended as lost and queued again", |s| s.jobs.get(&job).is_some_and(|j| j.losses >= 1)).await;
    copy.leadership.send_replace(Leadership {
        term: 3,
        leader: Some((ME.0, NodeAddress::default())),
        is_me: true,
    });
    copy.until("runs again", |s| {
        s.jobs.get(&job).is_some_and(|j| j.state == JobState::Running && j.attempts >= 2)
    })
    .await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_delivery_that_cannot_be_expanded_waits_and_says_why() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let (repo, id) = (RepoId(1), DeliveryId(1));
    let name = "a/b".parse().unwrap();
    let clone_url = "https://127.0.0.1:1/a/b.git".to_owned();
    copy.apply(Command::PutRepo {
        id: repo,
        name,
        clone_url,
        webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
        labels: Labels::default(),
        access: Access::default(),
        approve_forks: false,
        over: None,
    });
    let event = Event {
        kind: EventKind::Push,
        git_ref: "refs/heads/main".to_owned(),
        commit: "0".repeat(40),
        before: String::new(),
        sender: "t".to_owned(),
        title: String::new(),
        ..Event::of(EventKind::Push)
    };
    let only_path = String::new();
    copy.apply(Command::AcceptDelivery { id, repo, key: "k".to_owned(), digest: [0; 32], event, only_path });
    let waits =
        |state: &DeliveryState| matches!(state, DeliveryState::Pending { reason, .. } if !reason.is_empty());
    copy.until("deferred with a reason", |s| s.deliveries.get(&id).is_some_and(|d| waits(&d.state))).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_leaves_takes_nothing_new_and_waits_for_what_runs() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    let late = async {
        copy.until("leaves", |s| s.nodes.get(&ME).is_some_and(|n| n.drains())).await;
        let late = submit(&copy, 2, &[]);
        bench.end(first(job), Outcome::Succeeded);
        late
    };
    let (left, late) = tokio::join!(tokio::time::timeout(support::PATIENCE, node.leave(false)), late);
    left.unwrap().unwrap();
    until_state(&copy, job, JobState::Finished(Outcome::Succeeded)).await;
    until_state(&copy, late, JobState::Queued).await;
    node.shutdown().await;
    // The next life takes jobs again.
    let node = start(&copy, &bench, dir.path(), 2).await;
    until_state(&copy, late, JobState::Running).await;
    node.shutdown().await;
}

#[tokio::test]
async fn what_runs_when_the_time_to_drain_is_over_is_queued_again_and_not_counted_as_a_loss() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let (job, cancelled) = (submit(&copy, 1, &[]), submit(&copy, 2, &[]));
    until_state(&copy, job, JobState::Running).await;
    until_state(&copy, cancelled, JobState::Running).await;
    let until = Some(copy.until("", |_| true).await.now);
    // Both at once: who asked for an end has it.
    copy.apply(Command::CancelRun { run: cancelled.run, force: false });
    copy.apply(Command::SetDrain { node: ME, drain: true, until, life: None });
    until_state(&copy, job, JobState::Queued).await;
    until_state(&copy, cancelled, JobState::Finished(Outcome::Cancelled)).await;
    let state = copy.until("", |_| true).await;
    let (record, attempt) = (state.jobs.get(&job).unwrap(), state.attempts.get(&first(job)).unwrap());
    assert_eq!((record.losses, &*attempt.reason), (0, "its node drains"));
    assert_eq!(attempt.outcome, Some(Outcome::Lost));
    copy.apply(Command::SetDrain { node: ME, drain: false, until: None, life: None });
    until_state(&copy, job, JobState::Running).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_without_a_cluster_leaves_what_runs_as_it_is() {
    let (copy, bench, dir) = (OneCopy::led_by(ME), Arc::<Bench>::default(), tempfile::tempdir().unwrap());
    let node = start(&copy, &bench, dir.path(), 1).await;
    let job = submit(&copy, 1, &[]);
    until_state(&copy, job, JobState::Running).await;
    copy.cut_off.send_replace(true);
    assert!(node.leave(true).await.is_err());
    node.shutdown().await;
    assert!(bench.begun.lock().unwrap().contains_key(&first(job)));
}
