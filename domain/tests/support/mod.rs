//! A cluster of one node and one repository, whose state changes by commands and is checked after each.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use domain::invariants::check_state;
use domain::{
    Access, AttemptId, AttemptReport, BootId, Capacity, ClusterState, Command, DeliveryId, Entry, Event,
    EventKind, Fence, JobId, JobState, NewJob, NewRun, NodeFacts, NodeId, Outcome, Placement, Progress,
    Reply, RepoId, Resources, RunId, Sealed, SpecBytes, Timestamp, Triggers,
};

pub const NODE: NodeId = NodeId(1);
pub const REPO: RepoId = RepoId(1);

/// A state that changes by commands, with one node and one repository.
pub struct Cluster {
    pub state: ClusterState,
    pub index: u64,
    pub now: u64,
}

impl Cluster {
    pub fn new() -> Self {
        let mut cluster = Self { state: ClusterState::default(), index: 0, now: 1_000_000 };
        cluster.register(NODE, 9000);
        cluster.done(Command::PutRepo {
            id: REPO,
            name: "o/r".parse().expect("a good name"),
            clone_url: "https://example.com/o/r".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Default::default(),
            access: Access::default(),
            approve_forks: true,
            over: None,
        });
        cluster
    }

    pub fn register(&mut self, node: NodeId, cpu_millis: u32) {
        self.done(Command::RegisterNode(NodeFacts {
            node,
            name: format!("n{}", node.0).parse().expect("a good name"),
            boot: BootId(node.0),
            cluster_addr: "h:1".to_owned(),
            http_addr: "h:2".to_owned(),
            labels: Default::default(),
            capacity: Capacity { resources: Resources { cpu_millis, memory_mib: 9000 }, slots: 99 },
            version: "0.1.0".to_owned(),
        }));
    }

    pub fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let entry = Entry { at: Timestamp(self.now), command };
        let (reply, _) = self.state.apply(self.index, &entry);
        check_state(&self.state).expect("the invariants hold");
        reply
    }

    pub fn done(&mut self, command: Command) -> Reply {
        let reply = self.apply(command.clone());
        assert!(!matches!(reply, Reply::Refused(_)), "{command:?}: {reply:?}");
        reply
    }

    pub fn expand(&mut self, delivery: DeliveryId, runs: Vec<NewRun>, triggers: Option<Triggers>) {
        self.done(Command::AssignExpansion { delivery, node: NODE });
        let (fence, text) = (Fence(self.index), String::new);
        let git_ref = "refs/heads/main".to_owned();
        let commit = "c".to_owned();
        self.done(Command::ExpandDelivery {
            delivery,
            fence,
            commit,
            git_ref,
            payload: text(),
            runs,
            triggers,
            numbers_from: None,
            reason: String::new(),
        });
    }

    /// A delivery of an event, with these runs.
    pub fn event(&mut self, event: Event, runs: Vec<NewRun>, triggers: Option<Triggers>) {
        let id = DeliveryId(u128::from(self.index));
        let (key, only_path) = (format!("k{id}"), String::new());
        self.done(Command::AcceptDelivery {
            id,
            repo: REPO,
            key,
            digest: [self.index as u8; 32],
            event,
            only_path,
        });
        self.expand(id, runs, triggers);
    }

    pub fn push(&mut self, runs: Vec<NewRun>) {
        self.event(Event::of(EventKind::Push), runs, None);
    }

    pub fn place(&mut self, job: JobId) {
        let number = self.state.jobs.get(&job).map_or(0, |job| job.attempts) + 1;
        self.done(Command::Place { placements: vec![Placement { job, number, node: NODE }] });
    }

    /// Places it.
    pub fn start(&mut self, job: JobId) {
        self.place(job);
        self.report(job, Progress::Started { at: Timestamp(self.now) });
    }

    /// Places it, if that was not done.
    pub fn finish(&mut self, job: JobId, outcome: Outcome) {
        if self.state.jobs.get(&job).is_none_or(|job| job.state == JobState::Queued) {
            self.place(job);
        }
        self.report(job, Progress::finished(outcome, ""));
    }

    fn report(&mut self, id: JobId, what: Progress) {
        let job = self.state.jobs.get(&id).expect("it is there");
        let (attempt, fence) = (AttemptId { job: id, number: job.attempts }, job.fence);
        self.done(Command::Report(AttemptReport { attempt, fence, node: NODE, what }));
    }

    pub fn states(&self, run: u128) -> Vec<JobState> {
        self.state.jobs_of(RunId(run)).map(|(_, job)| job.state).collect()
    }

    pub fn outcome(&self, run: u128) -> Option<Outcome> {
        self.state.runs.get(&RunId(run)).expect("it is there").outcome
    }
}

pub fn job(run: u128, index: u16) -> JobId {
    JobId { run: RunId(run), index }
}

pub fn run(id: u128, jobs: Vec<NewJob>) -> NewRun {
    NewRun::of(RunId(id), "ci", jobs, vec![SpecBytes(Arc::from([1u8]))])
}
