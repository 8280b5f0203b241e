//! What clients ask a store for, and how the answers are read.

use std::sync::Arc;

use domain::{
    Access, AttemptId, AttemptReport, BootId, Capacity, ClusterState, Command, Condition, Fence, JobId,
    Labels, NewJob, NewRun, NodeFacts, NodeId, Outcome, Placement, Progress, Reply, RepoId, Resources, RunId,
    Sealed, SpecBytes, Timestamp,
};
use raft_store::{Committed, ProposeError, Store};

use crate::history::JobState;

/// The worker that jobs are placed on: a node of the state that is none of the cluster's.
const WORKER: NodeId = NodeId(1);

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Makes the worker known.
    Register,
    /// Writes a register.
    Write { key: u64, value: u64 },
    /// Reads a register.
    ReadRegister { key: u64 },
    /// Submits a run under an idempotency key.
    Submit { key: u64, run: u64 },
    /// Which run is known under a key.
    ReadOnce { key: u64 },
    /// Places a job.
    Place { run: u64, number: u16 },
    /// Reports that an attempt runs.
    Start { run: u64, number: u16, fence: u64 },
    /// Reports that an attempt has ended.
    Finish { run: u64, number: u16, fence: u64 },
    /// Takes an attempt back.
    Unplace { run: u64, number: u16, fence: u64 },
    /// Reads a job.
    ReadJob { run: u64 },
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A register's value.
    Register(u64),
    /// A key's run.
    Once(u64),
    /// A job.
    Job(JobState),
}

/// How a request ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// A command was committed.
    Committed(Committed),
    /// It was read.
    Seen(Seen),
    /// It failed.
    Failed(ProposeError),
}

fn job(run: u64) -> JobId {
    JobId { run: RunId(u128::from(run)), index: 0 }
}

fn repo_name(key: u64) -> String {
    format!("r{key}")
}

impl Request {
    /// Does it.
    pub async fn perform(self, store: Store) -> Ended {
        let Some(command) = self.command() else {
            return match store.linearizable().await {
                Ok(_) => {
                    self.look(&store.state()).map_or(Ended::Failed(ProposeError::Unavailable), Ended::Seen)
                }
                Err(error) => Ended::Failed(error),
            };
        };
        match store.propose(command).await {
            Ok(committed) => Ended::Committed(committed),
            Err(error) => Ended::Failed(error),
        }
    }

    /// What a reader sees in a state.
    #[must_use]
    pub fn look(&self, state: &ClusterState) -> Option<Seen> {
        match *self {
            Self::ReadRegister { key } => {
                let repo = repo_name(key).parse().ok().and_then(|name| state.find_repo(&name));
                let value = repo.and_then(|(_, repo)| repo.clone_url.strip_prefix("v:")?.parse().ok());
                Some(Seen::Register(value.unwrap_or(0)))
            }
            Self::ReadOnce { key } => {
                let record = state.keys.get(&format!("submit:k{key}").into());
                let run = record.and_then(|record| match record.target {
                    domain::KeyTarget::Run(run) => Some(run.0 as u64),
                    domain::KeyTarget::Delivery(_) => None,
                });
                Some(Seen::Once(run.unwrap_or(0)))
            }
            Self::ReadJob { run } => {
                let job = state.jobs.get(&job(run))?;
                let phase = match job.state {
                    domain::JobState::Placed => 1,
                    domain::JobState::Running => 2,
                    domain::JobState::Finished(_) => 3,
                    _ => 0,
                };
                let fence = if phase == 0 { 0 } else { job.fence.0 };
                Some(Seen::Job(JobState { phase, attempts: job.attempts, fence }))
            }
            _ => None,
        }
    }

    fn command(&self) -> Option<Command> {
        let report = |run, number, fence, what| {
            let attempt = AttemptId { job: job(run), number };
            Command::Report(AttemptReport { attempt, fence: Fence(fence), node: WORKER, what })
        };
        Some(match *self {
            Self::Register => Command::RegisterNode(worker()?),
            Self::Write { key, value } => Command::PutRepo {
                id: RepoId(u128::from(value)),
                name: repo_name(key).parse().ok()?,
                clone_url: format!("v:{value}"),
                webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
                labels: Labels::default(),
                access: Access::default(),
                approve_forks: false,
                over: None,
            },
            Self::Submit { key, run } => Command::SubmitRun {
                key: format!("k{key}"),
                digest: [7; 32],
                sender: "client".to_owned(),
                run: new_run(run),
                max_open_jobs: u32::MAX,
            },
            Self::Place { run, number } => {
                Command::Place { placements: vec![Placement { job: job(run), number, node: WORKER }] }
            }
            Self::Start { run, number, fence } => {
                report(run, number, fence, Progress::Started { at: Timestamp(1) })
            }
            Self::Finish { run, number, fence } => {
                let (reason, steps, artifacts) = (String::new(), Vec::new(), Vec::new());
                let outcome = Outcome::Succeeded;
                report(
                    run,
                    number,
                    fence,
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
            Self::Unplace { run, number, fence } => Command::Unplace {
                attempt: AttemptId { job: job(run), number },
                fence: Fence(fence),
                reason: "taken back".to_owned(),
            },
            _ => return None,
        })
    }
}

/// The fence of an attempt, as a state has it.
#[must_use]
pub fn fence_of(state: &ClusterState, run: u64, number: u16) -> Option<u64> {
    state.attempts.get(&AttemptId { job: job(run), number }).map(|attempt| attempt.fence.0)
}

/// Whether a reply says that it was done.
#[must_use]
pub fn is_done(reply: &Reply) -> bool {
    match reply {
        Reply::Refused(_) => false,
        Reply::Placed { placed, .. } => *placed == 1,
        _ => true,
    }
}

fn worker() -> Option<NodeFacts> {
    Some(NodeFacts {
        node: WORKER,
        name: "worker".parse().ok()?,
        boot: BootId(1),
        cluster_addr: "worker:1".to_owned(),
        http_addr: "worker:2".to_owned(),
        labels: Labels::default(),
        capacity: Capacity {
            resources: Resources { cpu_millis: u32::MAX, memory_mib: u32::MAX },
            slots: u16::MAX,
        },
        version: "simulated".to_owned(),
    })
}

fn new_run(run: u64) -> NewRun {
    let job = NewJob {
        key: "job".to_owned(),
        needs: Vec::new(),
        condition: Condition::Success,
        labels: Labels::default(),
        resources: Resources::default(),
        priority: 0,
        retry: domain::Retry::of_losses(5),
        ..NewJob::named("job")
    };
    let spec = SpecBytes(Arc::from(&[run as u8; 200][..]));
    NewRun::of(RunId(u128::from(run)), &format!("run {run}"), vec![job], vec![spec])
}
