//! Runs as a person sees them: graphs of jobs, cancellation, losses, refusals that name the field.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::invariants::check_state;
use domain::{
    Access, AttemptId, AttemptReport, BootId, Capacity, ClusterState, Command, Condition, Entry, Fence,
    JobId, JobState, Labels, NewJob, NewRun, NodeFacts, NodeId, Outcome, Placement, Progress, Reason,
    Refusal, Reply, RepoId, Resources, Retry, RunId, Sealed, Snapshot, SpecBytes, Timestamp, plan,
};
use domain::{DeliveryId, Event, EventKind};

const NODE: NodeId = NodeId(1);
const RUN: RunId = RunId(9);

struct Cluster {
    state: ClusterState,
    index: u64,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self { state: ClusterState::default(), index: 0 };
        cluster.register("one", BootId(1));
        cluster.done(Command::PutRepo {
            id: RepoId(1),
            name: "o/r".parse().expect("a good name"),
            clone_url: "https://example.com/o/r".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Labels::default(),
            access: Access::default(),
            approve_forks: false,
            over: None,
        });
        cluster
    }

    fn register(&mut self, name: &str, boot: BootId) {
        let capacity = Capacity { resources: Resources { cpu_millis: 4000, memory_mib: 4096 }, slots: 4 };
        self.done(Command::RegisterNode(NodeFacts {
            node: NODE,
            name: name.parse().expect("a good name"),
            boot,
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: Labels::from_iter(["linux"]),
            capacity,
            version: String::new(),
        }));
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        self.state.apply(self.index, &Entry { at: Timestamp(self.index * 10), command }).0
    }

    fn done(&mut self, command: Command) {
        let reply = self.apply(command);
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    }

    /// A run of these jobs, made by a delivery.
    fn run(&mut self, jobs: Vec<NewJob>) {
        let event = Event {
            kind: EventKind::Push,
            git_ref: "refs/heads/main".to_owned(),
            commit: String::new(),
            before: String::new(),
            sender: "s".to_owned(),
            title: String::new(),
            ..Event::of(EventKind::Push)
        };
        let (id, key, only_path) = (DeliveryId(1), "github:1".to_owned(), String::new());
        self.done(Command::AcceptDelivery { id, repo: RepoId(1), key, digest: [0; 32], event, only_path });
        self.done(Command::AssignExpansion { delivery: id, node: NODE });
        let run = NewRun {
            path: "ci.yml".to_owned(),
            ..NewRun::of(RUN, "ci", jobs, vec![SpecBytes(vec![].into())])
        };
        let (fence, commit) = (Fence(self.index), "c".to_owned());
        self.done(Command::ExpandDelivery {
            delivery: id,
            fence,
            commit,
            git_ref: "refs/heads/main".to_owned(),
            payload: String::new(),
            runs: vec![run],
            triggers: None,
            numbers_from: None,
            reason: String::new(),
        });
    }

    fn place(&mut self, index: u16) {
        let job = JobId { run: RUN, index };
        let number = self.state.jobs.get(&job).map_or(0, |job| job.attempts) + 1;
        let reply = self.apply(Command::Place { placements: vec![Placement { job, number, node: NODE }] });
        assert!(matches!(reply, Reply::Placed { placed: 1, .. }), "{reply:?}");
    }

    fn finish(&mut self, index: u16, outcome: Outcome) -> Reply {
        let (reason, steps, artifacts) = (String::new(), vec![], vec![]);
        self.report(
            index,
            Progress::Finished {
                outcome,
                reason,
                steps,
                artifacts,
                log_bytes: 0,
                outputs: vec![],
                annotations: vec![],
            },
        )
    }

    fn report(&mut self, index: u16, what: Progress) -> Reply {
        let job = JobId { run: RUN, index };
        let record = self.state.jobs.get(&job).expect("the job is there");
        let attempt = AttemptId { job, number: record.attempts };
        self.apply(Command::Report(AttemptReport { attempt, fence: record.fence, node: NODE, what }))
    }

    fn states(&self) -> Vec<JobState> {
        self.state.jobs.iter().map(|(_, job)| job.state).collect()
    }

    fn outcome(&self) -> Option<Outcome> {
        self.state.runs.get(&RUN).and_then(|run| run.outcome)
    }
}

fn job(key: &str, needs: &[u16], condition: Condition) -> NewJob {
    NewJob {
        key: key.to_owned(),
        needs: needs.to_vec(),
        condition,
        labels: Labels::from_iter(["linux"]),
        resources: Resources { cpu_millis: 1000, memory_mib: 512 },
        priority: 0,
        retry: Retry::of_losses(2),
        ..NewJob::named(key)
    }
}

#[test]
fn a_failure_skips_what_needs_it_and_starts_what_waits_for_it() {
    use JobState::{Finished, Queued, Waiting};
    let mut cluster = Cluster::new();
    cluster.run(vec![
        job("build", &[], Condition::Success),
        job("test", &[0], Condition::Success),
        job("report", &[1], Condition::Failure),
        job("clean", &[1], Condition::Always),
    ]);
    assert_eq!(cluster.states(), [Queued, Waiting(1), Waiting(1), Waiting(1)]);
    cluster.place(0);
    assert_eq!(cluster.finish(0, Outcome::Failed), Reply::Done);
    let skipped = Finished(Outcome::Skipped);
    assert_eq!(cluster.states(), [Finished(Outcome::Failed), skipped, Queued, Queued]);
    for index in [2, 3] {
        cluster.place(index);
        cluster.finish(index, Outcome::Succeeded);
    }
    assert_eq!(cluster.outcome(), Some(Outcome::Failed));
}

#[test]
fn a_lost_node_queues_its_job_again_in_front_until_it_was_lost_too_often() {
    let mut cluster = Cluster::new();
    cluster.run(vec![job("first", &[], Condition::Success), job("second", &[], Condition::Success)]);
    cluster.place(1);
    cluster.done(Command::LoseNode { node: NODE, boot: BootId(1) });
    let front = cluster.state.queue.iter().next().map(|(key, ())| key.job.index);
    assert_eq!(front, Some(1), "the job of the lost node goes first");
    let late = cluster.finish(1, Outcome::Succeeded);
    assert!(matches!(late, Reply::Refused(_)), "{late:?}");
    cluster.register("one", BootId(2));
    cluster.place(1);
    cluster.done(Command::LoseNode { node: NODE, boot: BootId(2) });
    assert_eq!(cluster.states()[1], JobState::Finished(Outcome::Lost));
    let reasons: Vec<_> =
        cluster.state.attempts.iter().map(|(_, attempt)| attempt.reason.to_string()).collect();
    assert_eq!(reasons[0], "node one was lost");
    assert!(reasons[1].starts_with("lost 2 times") && reasons[1].ends_with(&reasons[0]), "{reasons:?}");
}

#[test]
fn losing_an_earlier_life_of_a_node_is_refused() {
    let mut cluster = Cluster::new();
    cluster.register("one", BootId(2));
    let reply = cluster.apply(Command::LoseNode { node: NODE, boot: BootId(1) });
    assert!(matches!(reply, Reply::Refused(Refusal::WrongState { .. })), "{reply:?}");
}

#[test]
fn a_cancelled_run_ends_when_its_running_job_says_so() {
    let mut cluster = Cluster::new();
    cluster.run(vec![job("build", &[], Condition::Success), job("clean", &[0], Condition::Always)]);
    cluster.place(0);
    cluster.done(Command::CancelRun { run: RUN, force: false });
    assert_eq!(cluster.states(), [JobState::Placed, JobState::Finished(Outcome::Cancelled)]);
    assert_eq!(cluster.state.holdings(NODE).map(|(_, cancel)| cancel).collect::<Vec<_>>(), [true]);
    assert_eq!(cluster.outcome(), None);
    cluster.finish(0, Outcome::Cancelled);
    assert_eq!(cluster.outcome(), Some(Outcome::Cancelled));
    let again = cluster.apply(Command::CancelRun { run: RUN, force: false });
    assert!(matches!(again, Reply::Refused(Refusal::WrongState { .. })), "{again:?}");
}

#[test]
fn a_node_under_a_known_name_with_another_id_is_refused() {
    let mut cluster = Cluster::new();
    let reply = cluster.apply(Command::RegisterNode(NodeFacts {
        node: NodeId(2),
        name: "one".parse().expect("a good name"),
        boot: BootId(1),
        cluster_addr: String::new(),
        http_addr: String::new(),
        labels: Labels::default(),
        capacity: Capacity::default(),
        version: String::new(),
    }));
    assert!(matches!(reply, Reply::Refused(Refusal::NameTaken { .. })), "{reply:?}");
}

#[test]
fn a_bad_graph_becomes_a_failed_run_that_names_the_field() {
    for (jobs, field) in [
        (vec![job("a", &[1], Condition::Success), job("b", &[0], Condition::Success)], "jobs.a.needs"),
        (vec![job("a", &[7], Condition::Success)], "jobs.a.needs"),
        (vec![job("a", &[], Condition::Success), job("a", &[], Condition::Success)], "jobs.a.key"),
        (vec![NewJob { priority: 101, ..job("a", &[], Condition::Success) }], "jobs.a.priority"),
        (
            vec![NewJob { retry: Retry::of_losses(0), ..job("a", &[], Condition::Success) }],
            "jobs.a.retry.attempts",
        ),
    ] {
        let mut cluster = Cluster::new();
        cluster.run(jobs);
        let run = cluster.state.runs.get(&RUN).expect("the run is there");
        assert_eq!((run.outcome, run.jobs), (Some(Outcome::Failed), 0));
        assert!(
            run.error.as_deref().is_some_and(|error| error.contains(field)),
            "{:?} without {field}",
            run.error
        );
    }
}

#[test]
fn the_plan_says_why_not() {
    let mut cluster = Cluster::new();
    let large = Resources { cpu_millis: 9000, memory_mib: 1 };
    cluster.run(vec![
        NewJob { labels: Labels::from_iter(["gpu"]), ..job("gpu", &[], Condition::Success) },
        NewJob { resources: large, ..job("large", &[], Condition::Success) },
        NewJob { priority: 5, ..job("usual", &[], Condition::Success) },
    ]);
    let live = BTreeSet::from([NODE]);
    let made = plan(&Snapshot { state: &cluster.state, candidates: &live, examine: 100 });
    assert_eq!(made.placements.iter().map(|p| p.job.index).collect::<Vec<_>>(), [2]);
    let reasons: Vec<_> = made.unplaced.iter().map(|(job, reason)| (job.index, reason.clone())).collect();
    let wanted = Labels::from_iter(["gpu"]);
    assert_eq!(reasons, [(0, Reason::NoLabels { wanted }), (1, Reason::TooLarge { wanted: large })]);
    cluster.done(Command::SetDrain { node: NODE, drain: true, until: None, life: None });
    let made = plan(&Snapshot { state: &cluster.state, candidates: &live, examine: 100 });
    assert!(made.placements.is_empty() && made.to_string().contains("drain"), "{made}");
    let made = plan(&Snapshot { state: &cluster.state, candidates: &BTreeSet::new(), examine: 1 });
    assert_eq!(made.unplaced.iter().map(|(_, reason)| reason.clone()).collect::<Vec<_>>(), [Reason::NoNode]);
}

#[test]
fn a_paused_run_is_not_placed_and_goes_on_where_it_was() {
    use JobState::{Finished, Held, Placed, Queued, Waiting};
    let mut cluster = Cluster::new();
    let always = |key, needs| job(key, needs, Condition::Always);
    cluster.run(vec![always("a", &[]), always("b", &[]), always("c", &[0])]);
    cluster.place(0);
    let pause = Command::PauseRun { run: RUN, sender: "ada".to_owned() };
    cluster.done(pause.clone());
    cluster.done(pause.clone());
    assert_eq!(cluster.states(), [Placed, Held, Waiting(1)]);
    for at in [5, 9] {
        cluster.report(0, Progress::Paused { at: Timestamp(at) });
    }
    let since: Vec<_> = cluster.state.paused_attempts.iter().map(|(_, at)| *at).collect();
    assert_eq!(since, [Timestamp(5)]);
    // What ends though its run is paused, ends; what needs it is held as well, and so is what was lost.
    cluster.finish(0, Outcome::Succeeded);
    assert!(cluster.state.paused_attempts.is_empty());
    assert_eq!(cluster.states(), [Finished(Outcome::Succeeded), Held, Held]);
    for _ in 0..2 {
        cluster.done(Command::ResumeRun { run: RUN });
    }
    assert_eq!(cluster.states(), [Finished(Outcome::Succeeded), Queued, Queued]);
    cluster.place(1);
    cluster.done(pause.clone());
    cluster.report(1, Progress::Paused { at: Timestamp(9) });
    cluster.done(Command::LoseNode { node: NODE, boot: BootId(1) });
    assert!(cluster.state.paused_attempts.is_empty());
    assert_eq!(cluster.states(), [Finished(Outcome::Succeeded), Held, Held]);
    // A cancel ends it, paused or not, and a run that is finished can neither be paused nor resumed.
    cluster.done(Command::CancelRun { run: RUN, force: false });
    assert!(cluster.state.paused_runs.is_empty());
    assert_eq!(cluster.outcome(), Some(Outcome::Cancelled));
    for command in [pause, Command::ResumeRun { run: RUN }] {
        assert!(matches!(cluster.apply(command), Reply::Refused(Refusal::WrongState { .. })));
    }
    let unknown = Command::PauseRun { run: RunId(77), sender: String::new() };
    assert!(matches!(cluster.apply(unknown), Reply::Refused(Refusal::NotFound { .. })));
    check_state(&cluster.state).expect("all hold");
}
