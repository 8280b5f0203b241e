//! Nodes that drain: until when, what that costs the jobs that they have, and what the next life of a node takes over.

use std::sync::Arc;

use domain::{
    AttemptId, AttemptReport, BootId, Capacity, ClusterState, Command, Condition, Entry, Fence, JobId,
    JobState, LogIndex, NewJob, NewRun, NodeFacts, NodeId, Outcome, Placement, Progress, Refusal, Reply,
    Resources, Retry, RunId, SpecBytes, Timestamp,
};

const NODE: NodeId = NodeId(1);
const JOB: JobId = JobId { run: RunId(7), index: 0 };
const DEADLINE: Timestamp = Timestamp(1000);

#[derive(Default)]
struct Cluster {
    state: ClusterState,
    index: LogIndex,
}

impl Cluster {
    /// One node, and a job that may be lost twice.
    fn new() -> Self {
        let mut cluster = Self::default();
        cluster.done(1, register(1));
        let job = NewJob {
            key: "job".to_owned(),
            needs: Vec::new(),
            condition: Condition::Success,
            labels: Default::default(),
            resources: Resources { cpu_millis: 100, memory_mib: 10 },
            priority: 0,
            retry: Retry::of_losses(2),
            ..NewJob::named("job")
        };
        let run = NewRun::of(JOB.run, "x", vec![job], vec![SpecBytes(Arc::from([1u8]))]);
        let (key, digest, sender) = (String::new(), [0; 32], "t".to_owned());
        cluster.at(1, Command::SubmitRun { key, digest, sender, run, max_open_jobs: 100 });
        cluster
    }

    fn at(&mut self, at: u64, command: Command) -> Reply {
        self.index += 1;
        let (reply, _) = self.state.apply(self.index, &Entry { at: Timestamp(at), command });
        domain::invariants::check_state(&self.state).expect("the invariants hold");
        reply
    }

    fn done(&mut self, at: u64, command: Command) {
        assert_eq!(self.at(at, command.clone()), Reply::Done, "{command:?}");
    }

    /// Whether the job could be placed.
    fn place(&mut self, at: u64) -> bool {
        let number = self.state.jobs.get(&JOB).map_or(0, |job| job.attempts) + 1;
        let placements = vec![Placement { job: JOB, number, node: NODE }];
        matches!(self.at(at, Command::Place { placements }), Reply::Placed { placed: 1, .. })
    }

    /// Its node says that the job's attempt is lost.
    fn lose(&mut self, at: u64) {
        let job = self.state.jobs.get(&JOB).expect("it is there");
        let attempt = AttemptId { job: JOB, number: job.attempts };
        let what = Progress::Finished {
            outcome: Outcome::Lost,
            reason: "its node drains".to_owned(),
            steps: Vec::new(),
            artifacts: Vec::new(),
            log_bytes: 0,
            outputs: vec![],
            annotations: vec![],
        };
        let report = AttemptReport { attempt, fence: Fence(job.fence.0), node: NODE, what };
        self.done(at, Command::Report(report));
    }

    /// State and losses of the job.
    fn job(&self) -> (JobState, u16) {
        self.state.jobs.get(&JOB).map(|job| (job.state, job.losses)).expect("it is there")
    }
}

fn register(boot: u64) -> Command {
    Command::RegisterNode(NodeFacts {
        node: NODE,
        name: "n1".parse().expect("a good name"),
        boot: BootId(boot),
        cluster_addr: String::new(),
        http_addr: String::new(),
        labels: Default::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 4 },
        version: "0.1.0".to_owned(),
    })
}

fn drain(drain: bool, until: Option<Timestamp>) -> Command {
    Command::SetDrain { node: NODE, drain, until, life: None }
}

fn leave(boot: u64, until: Option<Timestamp>) -> Command {
    Command::SetDrain { node: NODE, drain: true, until, life: Some(BootId(boot)) }
}

#[test]
fn what_is_lost_after_the_deadline_costs_no_attempt_and_before_it_does() {
    let mut cluster = Cluster::new();
    for round in 1..=5 {
        assert!(cluster.place(round));
        cluster.done(round, drain(true, Some(Timestamp(round))));
        assert!(!cluster.place(round), "it drains");
        cluster.lose(round);
        assert_eq!(cluster.job(), (JobState::Queued, 0), "round {round}");
        cluster.done(round, drain(false, None));
    }
    assert!(cluster.place(10));
    cluster.done(10, drain(true, Some(DEADLINE)));
    cluster.lose(DEADLINE.0 - 1);
    assert_eq!(cluster.job(), (JobState::Queued, 1), "it was lost for another reason than the deadline");
    cluster.done(DEADLINE.0, drain(false, None));
    assert!(cluster.place(DEADLINE.0 + 1));
    cluster.lose(DEADLINE.0 + 1);
    assert_eq!(cluster.job(), (JobState::Finished(Outcome::Lost), 2), "a deadline ends with its drain");
}

#[test]
fn a_node_that_is_lost_while_it_drains_loses_its_jobs_as_its_deadline_says() {
    for (at, losses) in [(DEADLINE.0 - 1, 1), (DEADLINE.0, 0)] {
        let mut cluster = Cluster::new();
        assert!(cluster.place(10));
        cluster.done(10, drain(true, Some(DEADLINE)));
        cluster.done(at, Command::LoseNode { node: NODE, boot: BootId(1) });
        assert_eq!(cluster.job(), (JobState::Queued, losses));
    }
}

#[test]
fn what_a_stop_asked_for_is_over_with_the_life_that_stopped_and_the_rest_is_not() {
    let mut cluster = Cluster::new();
    assert!(cluster.place(2));
    cluster.done(3, leave(1, Some(Timestamp(3))));
    cluster.lose(3);
    assert_eq!(cluster.job(), (JobState::Queued, 0));
    // A heart that begins anew registers the same life again.
    cluster.done(4, register(1));
    assert!(!cluster.place(4), "it still leaves");
    cluster.done(5, register(2));
    assert!(cluster.place(5), "the next life takes jobs");
    // Somebody drains it, and it stops as well: the former is not forgotten.
    cluster.done(6, drain(true, Some(DEADLINE)));
    cluster.done(7, leave(2, None));
    cluster.lose(8);
    assert_eq!(cluster.job(), (JobState::Queued, 1), "neither deadline is over");
    cluster.done(9, register(3));
    assert!(!cluster.place(9));
    assert_eq!(cluster.state.nodes.get(&NODE).and_then(|node| node.drain_until), Some(DEADLINE));
    cluster.done(10, drain(false, None));
    assert!(cluster.place(10));
}

#[test]
fn drains_that_make_no_sense_are_refused() {
    let mut cluster = Cluster::new();
    let reply = cluster.at(2, drain(false, Some(DEADLINE)));
    assert!(
        matches!(&reply, Reply::Refused(Refusal::Invalid { field, .. }) if field == "deadline_seconds"),
        "{reply:?}"
    );
    let reply = cluster.at(2, leave(9, None));
    assert!(matches!(reply, Reply::Refused(Refusal::WrongState { .. })), "{reply:?}");
    assert!(cluster.place(3), "nothing was changed");
}
