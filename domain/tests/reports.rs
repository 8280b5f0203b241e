//! Who may report what (row 46 of docs/bad-input.md), and clocks that are wrong (row 48).

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{
    AttemptId, AttemptReport, BootId, Capacity, ClusterState, Command, Condition, Entry, Fence, JobId,
    JobState, LogIndex, NewJob, NewRun, NodeFacts, NodeId, Outcome, Placement, Progress, Refusal, Reply,
    Resources, Retry, RunId, Snapshot, SpecBytes, Timestamp, plan,
};

const HOUR: u64 = 3_600_000;
const JOB: JobId = JobId { run: RunId(7), index: 0 };
const ATTEMPT: AttemptId = AttemptId { job: JOB, number: 1 };

#[derive(Default)]
struct Cluster {
    state: ClusterState,
    index: LogIndex,
}

impl Cluster {
    /// Two nodes and a job that is placed on the first; answers its fence.
    fn with_a_placed_job() -> (Self, Fence) {
        let mut cluster = Self::default();
        for node in 1..=2 {
            cluster.at(HOUR, register(node));
        }
        cluster.at(HOUR, submit());
        let placement = Placement { job: JOB, number: 1, node: NodeId(1) };
        let reply = cluster.at(HOUR, Command::Place { placements: vec![placement] });
        assert_eq!(reply, Reply::Placed { placed: 1, refused: Vec::new() });
        let fence = Fence(cluster.index);
        (cluster, fence)
    }

    fn at(&mut self, at: u64, command: Command) -> Reply {
        self.index += 1;
        self.state.apply(self.index, &Entry { at: Timestamp(at), command }).0
    }

    fn job(&self) -> JobState {
        self.state.jobs.get(&JOB).map(|job| job.state).expect("it is there")
    }
}

fn register(node: u64) -> Command {
    Command::RegisterNode(NodeFacts {
        node: NodeId(node),
        name: format!("n{node}").parse().expect("a good name"),
        boot: BootId(1),
        cluster_addr: String::new(),
        http_addr: String::new(),
        labels: Default::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 4 },
        version: "0.1.0".to_owned(),
    })
}

fn submit() -> Command {
    let job = NewJob {
        key: "job".to_owned(),
        needs: Vec::new(),
        condition: Condition::Success,
        labels: Default::default(),
        resources: Resources { cpu_millis: 100, memory_mib: 10 },
        priority: 0,
        retry: Retry::of_losses(3),
        ..NewJob::named("job")
    };
    let run = NewRun::of(JOB.run, "x", vec![job], vec![SpecBytes(Arc::from([1u8]))]);
    let (key, digest, sender) = (String::new(), [0; 32], "t".to_owned());
    Command::SubmitRun { key, digest, sender, run, max_open_jobs: 100 }
}

fn started(attempt: AttemptId, fence: Fence, node: u64) -> Command {
    let what = Progress::Started { at: Timestamp(HOUR) };
    Command::Report(AttemptReport { attempt, fence, node: NodeId(node), what })
}

#[test]
fn a_report_of_what_its_node_does_not_hold_changes_nothing() {
    let (mut cluster, fence) = Cluster::with_a_placed_job();
    let before = cluster.job();
    let unknown = AttemptId { job: JobId { run: RunId(8), index: 0 }, number: 1 };
    for (what, report) in [
        ("an earlier fence", started(ATTEMPT, Fence(fence.0 - 1), 1)),
        ("a later fence", started(ATTEMPT, Fence(fence.0 + 1), 1)),
        ("another node", started(ATTEMPT, fence, 2)),
        ("a node that is not known", started(ATTEMPT, fence, 9)),
        ("another attempt", started(AttemptId { number: 2, ..ATTEMPT }, fence, 1)),
        ("a job that is not known", started(unknown, fence, 1)),
    ] {
        let reply = cluster.at(HOUR, report);
        assert!(
            matches!(reply, Reply::Refused(Refusal::StaleFence { .. } | Refusal::NotFound { .. })),
            "{what}: {reply:?}"
        );
        assert_eq!(cluster.job(), before, "{what}");
    }
    assert_eq!(cluster.at(HOUR, started(ATTEMPT, fence, 1)), Reply::Done);
    assert_ne!(cluster.job(), before);
}

/// A leader whose clock is an hour ahead, and the next one, whose clock is right.
#[test]
fn time_never_goes_back_and_no_clock_starts_an_attempt_twice() {
    let (mut cluster, fence) = Cluster::with_a_placed_job();
    cluster.at(2 * HOUR, register(2));
    assert_eq!(cluster.state.now, Timestamp(2 * HOUR));
    for at in [HOUR, 0, 2 * HOUR - 1] {
        cluster.at(at, register(2));
        assert_eq!(cluster.state.now, Timestamp(2 * HOUR), "a clock that says {at}");
    }
    // What was placed stays placed, under its fence, whatever the time; and cannot be placed again.
    let again = Placement { job: JOB, number: 2, node: NodeId(2) };
    let reply = cluster.at(0, Command::Place { placements: vec![again] });
    assert!(matches!(reply, Reply::Placed { placed: 0, .. }), "{reply:?}");
    assert_eq!(cluster.at(0, started(ATTEMPT, fence, 1)), Reply::Done);
    cluster.at(3 * HOUR, register(1));
    assert_eq!(cluster.state.now, Timestamp(3 * HOUR));
}

#[test]
fn a_node_that_may_run_something_is_removed_only_once_it_is_lost() {
    let (mut cluster, _) = Cluster::with_a_placed_job();
    let remove = || Command::RemoveMember { node: NodeId(1), name: "n1".parse().expect("a good name") };
    let Reply::Refused(refusal) = cluster.at(HOUR, remove()) else { panic!("removed with what it holds") };
    assert!(refusal.to_string().contains("n1 is not lost and has 1 of the cluster's jobs"), "{refusal}");
    assert_eq!(cluster.job(), JobState::Placed);
    let lost = cluster.at(HOUR, Command::LoseNode { node: NodeId(1), boot: BootId(1) });
    assert_eq!(lost, Reply::Done);
    assert_eq!(cluster.job(), JobState::Queued);
    assert_eq!(cluster.at(HOUR, remove()), Reply::Done);
}

#[test]
fn what_was_lost_on_a_node_goes_to_another_and_back_only_if_there_is_none() {
    let (mut cluster, fence) = Cluster::with_a_placed_job();
    let what = Progress::Finished {
        outcome: Outcome::Lost,
        reason: "its disk is full".to_owned(),
        steps: Vec::new(),
        artifacts: Vec::new(),
        log_bytes: 0,
        outputs: vec![],
        annotations: vec![],
    };
    let report = AttemptReport { attempt: ATTEMPT, fence, node: NodeId(1), what };
    assert_eq!(cluster.at(HOUR, Command::Report(report)), Reply::Done);
    // The first would be chosen: all else is equal, and ties go by id.
    for (live, wanted) in [(BTreeSet::from([NodeId(1), NodeId(2)]), 2), (BTreeSet::from([NodeId(1)]), 1)] {
        let made = plan(&Snapshot { state: &cluster.state, candidates: &live, examine: 9 });
        let placement = Placement { job: JOB, number: 2, node: NodeId(wanted) };
        assert_eq!(made.placements, [placement], "{made}");
    }
}
