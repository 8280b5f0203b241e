//! A run: nodes, network, disks, clocks, clients and faults from one seed, a millisecond at a time.

use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use raft_store::{Compaction, LogSizes, Store, Timings, Voting};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::clients::Clients;
use crate::counts::Counts;
use crate::disk::MemoryDisk;
use crate::faults::{Act, Class, Faults, Target};
use crate::network::SimNetwork;
use crate::node::{Setting, SimNode, Turn};
use crate::operator::Operator;
use crate::trace::Trace;
use crate::watch::Watch;

/// Milliseconds that all may take to be well again after the last fault.
const RECOVERY: u64 = 60_000;
/// A process that was told to stop is killed after so many milliseconds.
const STOPPING: u64 = 15_000;

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What did not hold.
    pub violation: Option<String>,
    /// True time that went by, in milliseconds.
    pub millis: u64,
    /// The hash of all that happened.
    pub hash: u64,
    /// What happened, counted.
    pub counts: Counts,
}

/// A world.
pub struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) network: SimNetwork,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    rng: SmallRng,
    setting: Setting,
    clients: Clients,
    faults: Faults,
    watch: Watch,
    operator: Operator,
    lives: u64,
    clock: Arc<AtomicU64>,
    panicked: Arc<Mutex<Option<String>>>,
}

/// Runs a seed for so many milliseconds and as long after that as it takes to recover. Everything must be on this thread; how
/// far it is can be seen in `clock`.
#[must_use]
pub fn run(seed: u64, millis: u64, aloud: bool, clock: Arc<AtomicU64>) -> Report {
    let mut world = World::new(seed, aloud, clock);
    let violation = world.live(millis).err();
    if let Some(violation) = &violation {
        world.trace.say(world.now, &format!("VIOLATION {violation}"));
    }
    let (hash, events) = world.trace.hash();
    world.counts.add_many("events", events);
    Report { seed, violation, millis: world.now, hash, counts: world.counts.clone() }
}

impl World {
    fn new(seed: u64, aloud: bool, clock: Arc<AtomicU64>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        raft_store::random::seed_thread(rng.next_u64());
        let (counts, trace) = (Counts::default(), Trace::new(aloud));
        let count = if rng.random_bool(0.7) { 3 } else { 5 };
        let network = SimNetwork::new(rng.next_u64(), count, counts.clone(), trace.clone());
        let nodes =
            (0..count).map(|index| SimNode::new(index, MemoryDisk::new(rng.next_u64(), counts.clone())));
        let nodes: Vec<SimNode> = nodes.collect();
        let every = [15, 40, 1000][rng.random_range(0..3)];
        let setting = Setting {
            seeds: (0..count).map(SimNetwork::addr).collect(),
            expect: count,
            timings: Timings {
                heartbeat: Duration::from_millis(60),
                election: Duration::from_millis(300),
                propose: Duration::from_secs(4),
            },
            voting: Voting { max_voters: 5, dead_after: Duration::from_secs(6) },
            compaction: Compaction { snapshot_every: every, keep: rng.random_range(0..=every / 2) },
            log_sizes: LogSizes { segment: [4096, 16 << 10][rng.random_range(0..2)], cache: 8192 },
        };
        let clients = Clients::new(
            rng.next_u64(),
            rng.random_range(2..=6),
            [20, 100, 400][rng.random_range(0..3)],
            counts.clone(),
            trace.clone(),
        );
        let faults = Faults::new(rng.next_u64(), count);
        let panicked = Arc::new(Mutex::new(None));
        let hear = Arc::clone(&panicked);
        panic::set_hook(Box::new(move |info| {
            let mut first = hear.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| info.to_string());
        }));
        trace.say(0, &format!("seed {seed}: {count} nodes, {setting:?}, faults {:?}", faults.classes()));
        let operator = Operator::new(rng.next_u64(), counts.clone());
        let (watch, lives) = (Watch::default(), 0);
        Self {
            now: 0,
            nodes,
            network,
            counts,
            trace,
            rng,
            setting,
            clients,
            faults,
            watch,
            operator,
            lives,
            clock,
            panicked,
        }
    }

    fn live(&mut self, millis: u64) -> Result<(), String> {
        while self.now < millis {
            for act in self.faults.step(self.now) {
                self.act(act);
            }
            self.step(true)?;
        }
        self.heal();
        let deadline = self.now + RECOVERY;
        while !(self.clients.all_think() && self.is_well()) {
            if self.now > deadline {
                return Err(format!(
                    "the cluster has not recovered in {RECOVERY} ms without faults:\n{}",
                    self.picture()
                ));
            }
            self.step(false)?;
        }
        let records = std::mem::take(&mut self.clients.records);
        let end = self.nodes.iter().filter_map(SimNode::store).max_by_key(|store| store.status().applied);
        let state = end.map(Store::state).ok_or("no node runs at the end")?;
        let judged = records.judge(&state)?;
        self.counts.add_many("histories judged", judged.histories);
        self.counts.add_many("operations judged", judged.operations);
        self.counts.add_many("states compared", self.watch.compared);
        Ok(())
    }

    /// A millisecond.
    fn step(&mut self, may_ask: bool) -> Result<(), String> {
        self.now += 1;
        self.clock.store(self.now, Ordering::Relaxed);
        self.network.advance(self.now);
        self.start_nodes()?;
        self.clients.step(self.now, &self.nodes, may_ask)?;
        self.operator.step(self.now, &mut self.nodes);
        for index in 0..self.nodes.len() {
            if std::mem::take(&mut self.nodes[index].let_in) {
                self.die(index, "was let in and starts anew");
            }
        }
        for index in 0..self.nodes.len() {
            self.nodes[index].clock.set(self.now);
            self.nodes[index].tick(self.now);
            self.turn(index)?;
            self.watch.look(&mut self.nodes[index], &self.counts)?;
        }
        match self.panicked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(panicked) => Err(format!("a panic: {panicked}")),
            None => Ok(()),
        }
    }

    fn start_nodes(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            if node.process.is_none() && node.down_until <= self.now {
                self.lives += 1;
                node.start(&self.network, &self.setting, self.lives)
                    .map_err(|error| format!("no runtime: {error}"))?;
                self.trace.say(self.now, &format!("n{} starts", node.index));
            }
        }
        Ok(())
    }

    fn turn(&mut self, index: usize) -> Result<(), String> {
        let node = &mut self.nodes[index];
        let late = node
            .process
            .as_ref()
            .and_then(|process| process.stopping)
            .is_some_and(|at| self.now > at + STOPPING);
        match node.turn() {
            Some(Turn::Opened(id)) => {
                self.trace.say(self.now, &format!("n{index} is open as {id}"));
                return self.watch.opened(&self.nodes[index], id);
            }
            Some(Turn::Stopped) => self.die(index, "has stopped"),
            Some(Turn::Refused(why)) => return self.failed(index, &format!("does not open: {why}")),
            Some(Turn::Fatal(why)) => return self.failed(index, &format!("has failed: {why}")),
            Some(Turn::Removed(why)) => {
                self.die(index, &format!("knows that it was removed: {why}"));
                self.nodes[index].wipe();
            }
            None if late => self.die(index, "does not stop and is killed"),
            None => {}
        }
        Ok(())
    }

    /// A node has ended by itself: it may, when its disk gave it an error.
    fn failed(&mut self, index: usize, why: &str) -> Result<(), String> {
        if !self.nodes[index].disk.is_hurt() {
            let panicked = self.panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
            let panicked =
                panicked.map(|panicked| format!(", after a panic: {panicked}")).unwrap_or_default();
            return Err(format!("n{index} {why}{panicked}"));
        }
        self.counts.add("node ended by its disk's error");
        self.die(index, why);
        self.nodes[index].disk.repair();
        Ok(())
    }

    fn die(&mut self, index: usize, why: &str) {
        self.trace.say(self.now, &format!("n{index} {why}"));
        let down = self.rng.random_range(0..1500);
        let node = &mut self.nodes[index];
        node.kill(&self.network);
        node.down_until = self.now + down;
        node.paused_until = 0;
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Heal(from, to) => self.network.heal(from, to),
            Act::Recover(index) => {
                let node = &mut self.nodes[index];
                node.rate = 1000;
                node.disk.set_latency(0, 2);
                node.disk.set_full(false);
                node.disk.fail_syncs(0);
            }
            Act::Begin(class, target) => {
                let Target { node, other, millis, .. } = &target;
                self.trace.say(self.now, &format!("{} n{node} n{other} for {millis} ms", class.name()));
                if self.begin(class, &target) {
                    self.counts.add(&format!("fault: {}", class.name()));
                }
            }
        }
    }

    /// Begins a fault; answers whether it could.
    fn begin(&mut self, class: Class, target: &Target) -> bool {
        let Target { node: index, other, side, millis, strength } = target;
        let (index, other) = (*index, *other);
        let runs = self.nodes[index].process.is_some();
        match class {
            Class::Partition => {
                for from in side {
                    for to in (0..self.nodes.len()).filter(|to| !side.contains(to)) {
                        self.network.cut(*from, to);
                        self.network.cut(to, *from);
                    }
                }
            }
            Class::OneWay => self.network.cut(index, other),
            Class::Delay => self.network.slow(index, other, (1, 5 + (strength * 700.0) as u64)),
            Class::Loss => self.network.reset(index, other, 0.2 + 0.8 * strength),
            Class::Kill if runs => self.die(index, "is killed"),
            Class::PowerLoss => self.lose_power(index),
            Class::Blackout => (0..self.nodes.len()).for_each(|index| self.lose_power(index)),
            Class::Restart if runs => self.nodes[index].stop(self.now),
            Class::Pause if runs => self.nodes[index].paused_until = self.now + millis,
            Class::ClockJump => self.nodes[index].clock.skew(((strength - 0.5) * 7_200_000.0) as i64),
            Class::ClockRate => self.nodes[index].rate = 500 + (strength * 1500.0) as u64,
            Class::SlowDisk => self.nodes[index].disk.set_latency(1, 5 + (strength * 500.0) as u64),
            Class::SyncError => self.nodes[index].disk.fail_syncs(1),
            Class::DiskFull => self.nodes[index].disk.set_full(true),
            Class::Wipe => return self.all_vote() && self.wipe(index),
            Class::Transfer => return self.operator.transfer(&self.nodes),
            Class::Membership => {
                let may = self.all_vote();
                if may {
                    self.nodes[index].lost = self.nodes[index].id;
                }
                return may;
            }
            _ => return false,
        }
        true
    }

    fn lose_power(&mut self, index: usize) {
        self.die(index, "loses power");
        self.nodes[index].disk.crash();
    }

    /// Whether all nodes vote, none is being replaced, and all know that: one can be done without then. In the middle of a
    /// change a majority of the voters before it counts as well, and those may be two.
    fn all_vote(&self) -> bool {
        let ids: Vec<_> = self.nodes.iter().filter_map(|node| node.id).collect();
        let votes = |node: &SimNode| {
            node.lost.is_none()
                && !node.outside
                && node.store().is_some_and(|store| {
                    let status = store.status();
                    let all = ids.iter().all(|id| status.voters.contains(id));
                    store.state().cluster.is_some() && !status.changing && all
                })
        };
        self.nodes.iter().all(votes)
    }

    fn wipe(&mut self, index: usize) -> bool {
        self.die(index, "has its disk replaced by an empty one");
        let node = &mut self.nodes[index];
        node.wipe();
        node.lost = node.id;
        true
    }

    fn heal(&mut self) {
        self.trace.say(self.now, "no more faults");
        self.network.heal_all();
        for node in &mut self.nodes {
            (node.rate, node.paused_until, node.down_until) = (1000, 0, 0);
            node.clock.skew(0);
            node.disk.set_latency(0, 2);
            node.disk.set_full(false);
            node.disk.fail_syncs(0);
        }
    }

    /// All members run, follow one leader, and have applied all that was acknowledged.
    fn is_well(&self) -> bool {
        let Some(leader) =
            self.nodes.iter().filter_map(SimNode::store).find(|store| store.leadership().borrow().is_me)
        else {
            return false;
        };
        let status = leader.status();
        let members = self.nodes.iter().filter(|node| {
            node.id.is_some_and(|id| status.voters.contains(&id) || status.learners.contains(&id))
        });
        let agrees = |node: &SimNode| {
            node.store().is_some_and(|store| {
                let (mine, view) = (store.status(), store.view().current());
                mine.leadership.leader == status.leadership.leader
                    && mine.leadership.term == status.leadership.term
                    && view.index == status.last_log
                    && view.state.cluster.is_some()
            })
        };
        status.last_log >= self.clients.records.acknowledged.max(self.watch.last())
            && members.clone().all(agrees)
            && 2 * members.count() > status.voters.len()
    }

    fn picture(&self) -> String {
        let line = |node: &SimNode| match node.store() {
            Some(store) => format!("    n{} {:?}: {:?}", node.index, node.id, store.status()),
            None => format!("    n{} {:?} is not open", node.index, node.id),
        };
        self.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
