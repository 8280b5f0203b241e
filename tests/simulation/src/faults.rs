//! What goes wrong, and when: drawn from the seed. Each seed has a few classes of faults only, so that each class is seen alone
//! and with each other.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// A class of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Some nodes and the rest do not reach each other.
    Partition,
    /// One node does not reach another, which reaches it.
    OneWay,
    /// Bytes between two nodes take long.
    Delay,
    /// Streams between two nodes break.
    Loss,
    /// A process dies; what it wrote stays.
    Kill,
    /// The power of a node fails: what was not synced is lost.
    PowerLoss,
    /// The power of all nodes fails at once.
    Blackout,
    /// A process is stopped in order and started again.
    Restart,
    /// A process stands still for a while, and does not know.
    Pause,
    /// A wall clock jumps.
    ClockJump,
    /// A node's clocks are too fast or too slow.
    ClockRate,
    /// A disk takes long.
    SlowDisk,
    /// A sync fails.
    SyncError,
    /// A disk is full.
    DiskFull,
    /// A disk is replaced by an empty one.
    Wipe,
    /// The leader is to hand over.
    Transfer,
    /// Members become learners, and voters again.
    Membership,
}

/// All classes.
pub const CLASSES: [Class; 17] = [
    Class::Partition,
    Class::OneWay,
    Class::Delay,
    Class::Loss,
    Class::Kill,
    Class::PowerLoss,
    Class::Blackout,
    Class::Restart,
    Class::Pause,
    Class::ClockJump,
    Class::ClockRate,
    Class::SlowDisk,
    Class::SyncError,
    Class::DiskFull,
    Class::Wipe,
    Class::Transfer,
    Class::Membership,
];

impl Class {
    /// As reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::OneWay => "one-way cut",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Kill => "kill",
            Self::PowerLoss => "power loss",
            Self::Blackout => "power loss of all",
            Self::Restart => "restart in order",
            Self::Pause => "pause",
            Self::ClockJump => "clock jump",
            Self::ClockRate => "clock rate",
            Self::SlowDisk => "slow disk",
            Self::SyncError => "sync error",
            Self::DiskFull => "full disk",
            Self::Wipe => "wiped disk",
            Self::Transfer => "leader transfer",
            Self::Membership => "membership change",
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone)]
pub enum Act {
    /// A fault begins.
    Begin(Class, Target),
    /// What a fault did to the network between these is over.
    Heal(usize, usize),
    /// What a fault did to a node is over.
    Recover(usize),
}

/// Whom it hits, and how hard.
#[derive(Debug, Clone)]
pub struct Target {
    /// A node.
    pub node: usize,
    /// Another node.
    pub other: usize,
    /// The node's side of a partition.
    pub side: Vec<usize>,
    /// How long it lasts, in milliseconds.
    pub millis: u64,
    /// From 0 to 1.
    pub strength: f64,
}

/// Draws faults.
#[derive(Debug)]
pub struct Faults {
    rng: SmallRng,
    nodes: usize,
    classes: Vec<Class>,
    pace: u64,
    next: u64,
    over: Vec<(u64, Act)>,
}

impl Faults {
    /// The faults of a seed, for so many nodes.
    #[must_use]
    pub fn new(seed: u64, nodes: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let count = rng.random_range(2..=7);
        let mut classes: Vec<Class> = CLASSES.sample(&mut rng, count).copied().collect();
        classes.sort_unstable();
        let pace = [300, 800, 2000][rng.random_range(0..3)];
        // Some clusters are hit while they begin.
        let next = rng.random_range(0..3000);
        Self { rng, nodes, classes, pace, next, over: Vec::new() }
    }

    /// The classes that are drawn from.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What is to be done at this time.
    pub fn step(&mut self, now: u64) -> Vec<Act> {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.over).into_iter().partition(|(at, _)| *at <= now);
        self.over = later;
        let mut acts: Vec<Act> = due.into_iter().map(|(_, act)| act).collect();
        if now >= self.next {
            self.next = now + self.rng.random_range(self.pace / 4..=self.pace * 2);
            acts.extend(self.begin(now));
        }
        acts
    }

    fn begin(&mut self, now: u64) -> Option<Act> {
        let class = *self.classes.choose(&mut self.rng)?;
        let node = self.rng.random_range(0..self.nodes);
        let other = (node + self.rng.random_range(1..self.nodes)) % self.nodes;
        let mut side: Vec<usize> = (0..self.nodes).filter(|_| self.rng.random_bool(0.4)).collect();
        if side.is_empty() || side.len() == self.nodes {
            side = vec![node];
        }
        let millis = [100, 600, 2500][self.rng.random_range(0..3)] * self.rng.random_range(1..=4);
        let target = Target { node, other, side, millis, strength: self.rng.random_range(0.0..1.0) };
        let end = now + millis;
        match class {
            Class::Partition => {
                for from in &target.side {
                    for to in (0..self.nodes).filter(|to| !target.side.contains(to)) {
                        self.over.push((end, Act::Heal(*from, to)));
                        self.over.push((end, Act::Heal(to, *from)));
                    }
                }
            }
            Class::OneWay | Class::Delay => self.over.push((end, Act::Heal(node, other))),
            Class::ClockRate | Class::SlowDisk | Class::DiskFull | Class::SyncError => {
                self.over.push((end, Act::Recover(node)));
            }
            _ => {}
        }
        Some(Act::Begin(class, target))
    }
}
