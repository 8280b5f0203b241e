//! The world of a simulated history: two replicas of the state, nodes that hold attempts, a leader's view, a network that
//! keeps reports back and doubles them.

mod drains;
mod groups;
mod guests;
mod holds;

use std::collections::{BTreeMap, BTreeSet};

use domain::invariants::{check_state, check_step};
use std::sync::Arc;

use domain::{
    Access, AttemptId, AttemptReport, BootId, Capacity, ClusterId, ClusterState, Command, Condition,
    DeliveryId, DeliveryState, Effect, Entry, Event, EventKind, Fence, JobId, Labels, NewJob, NewRun,
    NodeFacts, NodeId, Outcome, Placement, Progress, Refusal, Reply, RepoId, Resources, RunId, Sealed,
    Snapshot, SpecBytes, Timestamp, TokenId, plan,
};

use crate::moves::{Kind, Move};
use crate::seen::Seen;

const NODES: u64 = 3;
const REPO: RepoId = RepoId(1);

/// Two replicas and what is around them.
pub struct World {
    state: ClusterState,
    replica: ClusterState,
    index: u64,
    clock: u64,
    minted: u128,
    boots: BTreeMap<NodeId, BootId>,
    live: BTreeSet<NodeId>,
    /// What the nodes believe they run, whatever the state says by now.
    running: BTreeMap<AttemptId, (NodeId, Fence)>,
    /// Reports under way.
    network: Vec<AttemptReport>,
    /// Reports that arrived, to be repeated.
    arrived: Vec<AttemptReport>,
    pub seen: Seen,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            state: ClusterState::default(),
            replica: ClusterState::default(),
            index: 0,
            clock: 1_000_000,
            minted: 100,
            boots: BTreeMap::new(),
            live: BTreeSet::new(),
            running: BTreeMap::new(),
            network: Vec::new(),
            arrived: Vec::new(),
            seen: Seen::default(),
        };
        let init = Command::InitCluster { cluster: ClusterId(1), token: TokenId(1), token_hash: [1; 32] };
        let repo = Command::PutRepo {
            id: REPO,
            name: "o/r".parse().expect("a good name"),
            clone_url: "https://example.com/o/r".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Labels::default(),
            access: Access::default(),
            approve_forks: true,
            over: None,
        };
        for command in [init, repo] {
            world.apply(command).expect("the world begins well");
        }
        for node in 1..=NODES {
            world.register(NodeId(node)).expect("nodes register");
        }
        world
    }

    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Applies on both replicas and checks every invariant.
    fn apply(&mut self, command: Command) -> Result<Reply, String> {
        self.index += 1;
        let entry = Entry { at: Timestamp(self.clock), command };
        let before = self.state.clone();
        let (reply, effects) = self.state.apply(self.index, &entry);
        let (other_reply, other_effects) = self.replica.apply(self.index, &entry);
        if (&reply, &effects) != (&other_reply, &other_effects) || self.state.hash() != self.replica.hash() {
            return Err(format!("replicas differ after {:?}", entry.command));
        }
        let check = check_state(&self.state).and_then(|()| check_step(&before, &self.state));
        check.map_err(|violation| format!("{violation} after {:?}", entry.command))?;
        for effect in effects {
            match effect {
                Effect::JobFinished { job, outcome } => {
                    self.seen.finished[outcome as usize] += 1;
                    let told = before.runs.get(&job.run).is_some_and(|run| run.cancel_requested);
                    self.seen.lasted += u64::from(told && outcome == Outcome::Succeeded);
                }
                Effect::AttemptPaused { paused: true, .. } => self.seen.stood_still += 1,
                _ => {}
            }
        }
        if self.index.is_multiple_of(50) {
            self.reload_replica()?;
        }
        Ok(reply)
    }

    /// The replica goes through its encoded form, as a snapshot does.
    fn reload_replica(&mut self) -> Result<(), String> {
        let text = serde_json::to_string(&self.replica).map_err(|e| e.to_string())?;
        self.replica = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        if self.replica.hash() == self.state.hash() {
            Ok(())
        } else {
            Err("a restored state has another hash".into())
        }
    }

    pub fn play(&mut self, one: Move) -> Result<(), String> {
        self.clock += 1 + one.b % 50;
        match one.kind {
            Kind::Submit => self.submit(one).map(drop),
            Kind::SubmitAgain => {
                let first = self.submit(one)?;
                let again = self.submit(one)?;
                self.seen.duplicates += 1;
                same_run(&first, &again)
            }
            Kind::Deliver => self.deliver(one),
            Kind::Assign => self.assign(one),
            Kind::Expand | Kind::Defer => self.expand(one),
            Kind::Plan => self.plan(),
            Kind::PlaceWildly => self.place_wildly(one),
            Kind::Start | Kind::Finish => self.send_report(one),
            Kind::DeliverReport => self.deliver_report(one),
            Kind::RepeatReport => match pick(&self.arrived, one.a).cloned() {
                Some(report) => self.report(report).map(drop),
                None => Ok(()),
            },
            Kind::WrongFence => self.wrong_fence(one),
            Kind::Unplace => self.unplace(one),
            Kind::Lose => self.lose(NodeId(1 + one.a % NODES)),
            Kind::Return => self.register(NodeId(1 + one.a % NODES)),
            Kind::Drain => self.drain(one),
            Kind::NewLeader => {
                // A new leader grants every node that is not lost a fresh lease.
                self.live =
                    self.state.nodes.iter().filter(|(_, node)| !node.lost).map(|(id, _)| *id).collect();
                Ok(())
            }
            Kind::Cancel => match self.any_run(one.a) {
                Some(run) => self.apply(Command::CancelRun { run, force: one.b.is_multiple_of(3) }).map(drop),
                None => Ok(()),
            },
            Kind::Pause => self.pause(one),
            Kind::Resume => match self.any_run(one.a) {
                Some(run) => self.apply(Command::ResumeRun { run }).map(drop),
                None => Ok(()),
            },
            Kind::Rerun => self.rerun(one),
            Kind::Forget => self.forget(one),
            Kind::ClockBack => {
                self.clock = self.clock.saturating_sub(one.a % 5000);
                Ok(())
            }
            Kind::LongWait => {
                self.clock += 25 * 3600 * 1000;
                Ok(())
            }
            Kind::Admit => self.admit(one),
            Kind::Decide => self.decide(one),
            Kind::Approve => self.approve(one),
            Kind::RemoveGuest => self.remove_guest(one),
            Kind::EndBackoff => self.end_backoff(one),
            Kind::Review => self.review(one),
            Kind::Environment => self.change_environment(one),
        }
    }

    fn mint(&mut self) -> u128 {
        self.minted += 1;
        self.minted
    }

    fn register(&mut self, node: NodeId) -> Result<(), String> {
        self.register_as(node, &format!("n{}", node.0))
    }

    fn register_as(&mut self, node: NodeId, name: &str) -> Result<(), String> {
        match self.apply_registration(node, name)? {
            Reply::Done => {
                self.live.insert(node);
                Ok(())
            }
            other => Err(format!("registering {node} as {name} was answered {other:?}")),
        }
    }

    fn apply_registration(&mut self, node: NodeId, name: &str) -> Result<Reply, String> {
        let boot = BootId(self.index);
        self.boots.insert(node, boot);
        let facts = NodeFacts {
            node,
            name: name.parse().map_err(|e| format!("{e}"))?,
            boot,
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: Labels::from_iter(if node.0 == 1 { vec!["linux", "big"] } else { vec!["linux"] }),
            capacity: Capacity { resources: Resources { cpu_millis: 2000, memory_mib: 2048 }, slots: 3 },
            version: String::new(),
        };
        self.apply(Command::RegisterNode(facts))
    }

    fn lose(&mut self, node: NodeId) -> Result<(), String> {
        let Some(boot) = self.boots.get(&node).copied() else { return Ok(()) };
        self.live.remove(&node);
        let before = self.state.held_jobs(node).count() as u64;
        self.apply(Command::LoseNode { node, boot })?;
        self.seen.requeued += before;
        Ok(())
    }

    fn new_run(&mut self, one: Move, most: u64) -> NewRun {
        let id = RunId(self.mint());
        let jobs = (0..1 + one.a % most).map(|index| new_job(one, index as u16)).collect();
        NewRun::of(id, "run", jobs, vec![SpecBytes(Arc::from([1u8]))])
    }

    fn submit(&mut self, one: Move) -> Result<Reply, String> {
        let run = self.new_run(one, 1);
        let key = format!("key{}", one.a % 1_000_000);
        self.apply(Command::SubmitRun {
            key,
            digest: [one.a as u8; 32],
            sender: "someone".to_owned(),
            run,
            max_open_jobs: 1000,
        })
    }

    fn deliver(&mut self, one: Move) -> Result<(), String> {
        let id = DeliveryId(self.mint());
        let digest = [(one.a % 40) as u8; 32];
        let known = self.state.keys.iter().any(|(_, record)| record.digest == digest);
        let from_fork = one.b.is_multiple_of(6);
        let event = Event { sender: "someone".to_owned(), from_fork, ..Event::of(EventKind::Push) };
        let command = Command::AcceptDelivery {
            id,
            repo: REPO,
            key: String::new(),
            digest,
            event,
            only_path: String::new(),
        };
        match self.apply(command)? {
            Reply::Delivery { duplicate, .. } if duplicate && !known => {
                Err("a new delivery taken for a known one".into())
            }
            Reply::Delivery { .. } => Ok(()),
            other => Err(format!("a delivery was answered {other:?}")),
        }
    }

    fn assign(&mut self, one: Move) -> Result<(), String> {
        let pending: Vec<_> = self.state.pending_deliveries.iter().map(|(id, ())| *id).collect();
        match pick(&pending, one.a) {
            Some(delivery) => {
                let node = NodeId(1 + one.b % NODES);
                self.apply(Command::AssignExpansion { delivery: *delivery, node }).map(drop)
            }
            None => Ok(()),
        }
    }

    fn expand(&mut self, one: Move) -> Result<(), String> {
        let expanding: Vec<_> = self
            .state
            .deliveries
            .iter()
            .filter_map(|(id, delivery)| match delivery.state {
                DeliveryState::Expanding { fence, .. } => Some((*id, fence)),
                _ => None,
            })
            .collect();
        let Some((delivery, fence)) = pick(&expanding, one.a).copied() else { return Ok(()) };
        if matches!(one.kind, Kind::Defer) {
            let not_before = Timestamp(self.clock + 100);
            let reason = "the git server is down".to_owned();
            return self.apply(Command::DeferDelivery { delivery, fence, reason, not_before }).map(drop);
        }
        let mut run = self.new_run(one, 6);
        groups::enrich(&mut run, one);
        let runs = vec![run];
        let commit = "c".to_owned();
        self.apply(Command::ExpandDelivery {
            delivery,
            fence,
            commit,
            git_ref: "refs/heads/main".to_owned(),
            payload: String::new(),
            runs,
            triggers: None,
            numbers_from: None,
            reason: String::new(),
        })
        .map(drop)
    }

    fn plan(&mut self) -> Result<(), String> {
        let made = plan(&Snapshot { state: &self.state, candidates: &self.live, examine: 1000 });
        let planned = made.placements.len() as u32;
        match self.place(made.placements)? {
            // Nothing came between plan and apply, so nothing may be refused.
            (placed, _) if placed == planned => Ok(()),
            (placed, refused) => {
                Err(format!("{placed} of {planned} planned placements were taken: {refused:?}"))
            }
        }
    }

    fn place(&mut self, placements: Vec<Placement>) -> Result<(u32, Vec<(JobId, Refusal)>), String> {
        let fence = Fence(self.index + 1);
        match self.apply(Command::Place { placements: placements.clone() })? {
            Reply::Placed { placed, refused } => {
                for p in placements.iter().filter(|p| refused.iter().all(|(job, _)| *job != p.job)) {
                    self.running.insert(AttemptId { job: p.job, number: p.number }, (p.node, fence));
                }
                self.seen.placed += u64::from(placed);
                self.seen.refused_placements += refused.len() as u64;
                Ok((placed, refused))
            }
            other => Err(format!("placing was answered {other:?}")),
        }
    }

    fn place_wildly(&mut self, one: Move) -> Result<(), String> {
        let jobs: Vec<_> = self.state.jobs.iter().map(|(id, _)| *id).collect();
        let Some(job) = pick(&jobs, one.a).copied() else { return Ok(()) };
        let number = 1 + (one.b % 3) as u16;
        self.place(vec![Placement { job, number, node: NodeId(1 + one.b % (NODES + 1)) }]).map(drop)
    }

    fn send_report(&mut self, one: Move) -> Result<(), String> {
        let running: Vec<_> = self.running.iter().map(|(id, at)| (*id, *at)).collect();
        let Some((attempt, (node, fence))) = pick(&running, one.a).copied() else { return Ok(()) };
        let what = if matches!(one.kind, Kind::Start) {
            match one.b % 4 {
                0 => Progress::Paused { at: Timestamp(self.clock) },
                1 => Progress::Resumed,
                _ => Progress::Started { at: Timestamp(self.clock) },
            }
        } else {
            let outcomes =
                [Outcome::Succeeded, Outcome::Succeeded, Outcome::Failed, Outcome::TimedOut, Outcome::Lost];
            let outcome = outcomes[(one.b % 5) as usize];
            Progress::Finished {
                outcome,
                reason: "x".repeat(3000),
                steps: vec![],
                artifacts: vec![],
                log_bytes: one.b,
                outputs: vec![],
                annotations: vec![],
            }
        };
        self.network.push(AttemptReport { attempt, fence, node, what });
        Ok(())
    }

    /// Reports arrive in any order.
    fn deliver_report(&mut self, one: Move) -> Result<(), String> {
        if self.network.is_empty() {
            return Ok(());
        }
        let report = self.network.swap_remove((one.a % self.network.len() as u64) as usize);
        self.report(report).map(drop)
    }

    fn report(&mut self, report: AttemptReport) -> Result<Reply, String> {
        let before = self.state.clone();
        let present = before.jobs.get(&report.attempt.job).map(|job| job.fence);
        let reply = self.apply(Command::Report(report.clone()))?;
        self.excused(&before, &report)?;
        if present.is_some_and(|fence| fence != report.fence) {
            self.seen.stale_reports += 1;
            if !matches!(reply, Reply::Refused(Refusal::StaleFence { .. })) {
                return Err(format!("a stale report was answered {reply:?}"));
            }
        }
        self.arrived.push(report);
        Ok(reply)
    }

    fn wrong_fence(&mut self, one: Move) -> Result<(), String> {
        let running: Vec<_> = self.running.iter().map(|(id, at)| (*id, *at)).collect();
        let Some((attempt, (node, fence))) = pick(&running, one.a).copied() else { return Ok(()) };
        let fence = Fence(fence.0 + 1 + one.b % 3);
        let before = self.state.jobs.get(&attempt.job).cloned();
        let what = Progress::Started { at: Timestamp(self.clock) };
        if before.as_ref().is_some_and(|job| job.fence == fence) {
            return Ok(());
        }
        self.report(AttemptReport { attempt, fence, node, what })?;
        if self.state.jobs.get(&attempt.job) == before.as_ref() {
            Ok(())
        } else {
            Err("a wrong fence did harm".into())
        }
    }

    fn unplace(&mut self, one: Move) -> Result<(), String> {
        let running: Vec<_> = self.running.iter().map(|(id, at)| (*id, *at)).collect();
        let Some((attempt, (_, fence))) = pick(&running, one.a).copied() else { return Ok(()) };
        self.apply(Command::Unplace { attempt, fence, reason: "not acknowledged".to_owned() }).map(drop)
    }

    fn any_run(&self, choice: u64) -> Option<RunId> {
        let runs: Vec<_> = self.state.runs.iter().map(|(id, _)| *id).collect();
        pick(&runs, choice).copied()
    }

    fn pause(&mut self, one: Move) -> Result<(), String> {
        let Some(run) = self.any_run(one.a) else { return Ok(()) };
        let reply = self.apply(Command::PauseRun { run, sender: "p".to_owned() })?;
        self.seen.paused += u64::from(reply == Reply::Done);
        Ok(())
    }

    fn rerun(&mut self, one: Move) -> Result<(), String> {
        let Some(of) = self.any_run(one.a) else { return Ok(()) };
        let id = RunId(self.mint());
        let reply =
            self.apply(Command::Rerun { id, of, sender: "someone".to_owned(), key: String::new() })?;
        self.seen.reruns += u64::from(matches!(reply, Reply::Run { .. }));
        Ok(())
    }

    fn forget(&mut self, one: Move) -> Result<(), String> {
        let Some(run) = self.any_run(one.a) else { return Ok(()) };
        let finished = self.state.runs.get(&run).is_some_and(|run| run.outcome.is_some());
        self.apply(Command::ForgetRuns { runs: vec![run] })?;
        self.seen.forgotten += u64::from(finished);
        let gone = !self.state.runs.iter().any(|(id, _)| *id == run);
        if gone == finished { Ok(()) } else { Err(format!("run {run}: finished {finished}, gone {gone}")) }
    }

    /// All nodes come back, all messages arrive, and then everything that is open must end.
    pub fn heal_and_finish(&mut self) -> Result<(), String> {
        self.remove_guests()?;
        for node in 1..=NODES {
            self.register(NodeId(node))?;
            self.apply(Command::SetDrain { node: NodeId(node), drain: false, until: None, life: None })?;
        }
        while let Some(report) = self.network.pop() {
            self.report(report)?;
        }
        let paused: Vec<_> = self.state.paused_runs.iter().map(|(run, _)| *run).collect();
        for run in paused {
            self.apply(Command::ResumeRun { run })?;
        }
        // Each round places or ends something: more rounds than jobs and deliveries means that something is stuck.
        for _ in 0..2000 {
            if self.state.open_jobs == 0 && self.state.pending_deliveries.is_empty() {
                return Ok(());
            }
            self.clock += 1000;
            self.heal_round()?;
        }
        Err(format!("after healing {} jobs are still open", self.state.open_jobs))
    }

    fn heal_round(&mut self) -> Result<(), String> {
        let deliveries: Vec<_> = self.state.pending_deliveries.iter().map(|(id, ())| *id).collect();
        for delivery in deliveries {
            self.apply(Command::AssignExpansion { delivery, node: NodeId(1) })?;
            self.expand(Move { kind: Kind::Expand, a: 0, b: 0 })?;
        }
        self.decide_all(Move { kind: Kind::Decide, a: 0, b: self.index })?;
        self.hold_nothing()?;
        self.plan()?;
        for node in (1..=NODES).map(NodeId) {
            let held: Vec<_> = self.state.holdings(node).map(|(holding, _)| holding).collect();
            for holding in held {
                let attempt = AttemptId { job: holding.job, number: holding.number };
                let what = Progress::Finished {
                    outcome: Outcome::Succeeded,
                    reason: String::new(),
                    steps: vec![],
                    artifacts: vec![],
                    log_bytes: 0,
                    outputs: vec![],
                    annotations: vec![],
                };
                let reply = self.report(AttemptReport { attempt, fence: holding.fence, node, what })?;
                if reply != Reply::Done {
                    return Err(format!("a right report was answered {reply:?}"));
                }
            }
        }
        Ok(())
    }
}

fn new_job(one: Move, index: u16) -> NewJob {
    let bits = one.b.rotate_left(u32::from(index) * 7);
    let needs = (0..index).filter(|need| bits >> need & 1 == 1).collect();
    let condition =
        [Condition::Success, Condition::Success, Condition::Always, Condition::Failure][(bits % 4) as usize];
    NewJob {
        key: format!("job{index}"),
        needs,
        condition,
        lasting: condition == Condition::Always && bits.is_multiple_of(3),
        labels: Labels::from_iter(if bits.is_multiple_of(5) { vec!["big"] } else { vec!["linux"] }),
        resources: Resources { cpu_millis: 300 + (bits % 3) as u32 * 300, memory_mib: 512 },
        priority: (bits % 5) as i8 - 2,
        retry: holds::retry(bits),
        ..NewJob::named("job")
    }
}

fn pick<T>(choices: &[T], choice: u64) -> Option<&T> {
    choices.get((choice % choices.len().max(1) as u64) as usize)
}

fn same_run(first: &Reply, again: &Reply) -> Result<(), String> {
    match (first, again) {
        (Reply::Run { id: a, .. }, Reply::Run { id: b, duplicate: true, .. }) if a == b => Ok(()),
        other => Err(format!("submitting twice with one key gave {other:?}")),
    }
}
