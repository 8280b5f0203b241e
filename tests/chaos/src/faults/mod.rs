//! What is done to a cluster: which kinds there are, when each is due (a plan, from a seed), and how it is done.

mod act;
mod plan;

pub use act::{MIN_FREE_MIB, act, heal};
pub use plan::{Planned, plan};

use std::time::Duration;

use serde::Serialize;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Class {
    /// One process is killed (`kill -9`) and started again later.
    Kill,
    /// That of the leader is.
    KillLeader,
    /// All are, at once.
    KillAll,
    /// One process stands still (`SIGSTOP`) and goes on later.
    Freeze,
    /// One process is asked to end (`SIGTERM`) and started again.
    Restart,
    /// The Docker engine of all nodes is stopped, with all containers, and started again.
    Engine,
    /// A minority is cut off from the rest, both ways.
    Split,
    /// The leader is cut off from all others, both ways.
    CutLeader,
    /// Nothing comes from one node, or nothing goes to it.
    OneWay,
    /// Everyone is cut off from everyone: no majority.
    CutAll,
    /// All wires are slow and narrow.
    SlowLinks,
    /// All wires stall, and connections break.
    LossyLinks,
    /// The syncs of one node's disk take long.
    SlowDisk,
    /// The disk of one node is full, or nearly.
    FullDisk,
    /// The wall clock of one node jumps, and jumps back later.
    Clock,
}

/// What can go on at one time: of each lane there is one fault at a time, and lanes do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Processes.
    Process,
    /// What is between them.
    Network,
    /// What is below them.
    Machine,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Process, Self::Network, Self::Machine];
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Kill,
        Self::KillLeader,
        Self::KillAll,
        Self::Freeze,
        Self::Restart,
        Self::Engine,
        Self::Split,
        Self::CutLeader,
        Self::OneWay,
        Self::CutAll,
        Self::SlowLinks,
        Self::LossyLinks,
        Self::SlowDisk,
        Self::FullDisk,
        Self::Clock,
    ];

    /// Its lane.
    #[must_use]
    pub fn lane(self) -> Lane {
        match self {
            Self::Kill | Self::KillLeader | Self::KillAll | Self::Freeze | Self::Restart | Self::Engine => {
                Lane::Process
            }
            Self::Split
            | Self::CutLeader
            | Self::OneWay
            | Self::CutAll
            | Self::SlowLinks
            | Self::LossyLinks => Lane::Network,
            Self::SlowDisk | Self::FullDisk | Self::Clock => Lane::Machine,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillLeader => "kill_leader",
            Self::KillAll => "kill_all",
            Self::Freeze => "freeze",
            Self::Restart => "restart",
            Self::Engine => "engine",
            Self::Split => "split",
            Self::CutLeader => "cut_leader",
            Self::OneWay => "one_way",
            Self::CutAll => "cut_all",
            Self::SlowLinks => "slow_links",
            Self::LossyLinks => "lossy_links",
            Self::SlowDisk => "slow_disk",
            Self::FullDisk => "full_disk",
            Self::Clock => "clock",
        }
    }

    /// How long one of it lasts, in milliseconds: some end within a node's lease, and some do not.
    fn lasts(self) -> std::ops::Range<u64> {
        match self {
            Self::Kill | Self::KillLeader | Self::Freeze => 800..13_000,
            Self::KillAll | Self::Restart => 200..3_000,
            Self::Engine => 500..3_000,
            Self::Split | Self::CutLeader | Self::OneWay => 1_500..13_000,
            Self::CutAll => 1_000..6_000,
            Self::SlowLinks | Self::LossyLinks | Self::SlowDisk => 3_000..9_000,
            Self::FullDisk => 2_000..8_000,
            Self::Clock => 2_000..9_000,
        }
    }
}

/// The longest that one fault lasts.
pub const LONGEST: Duration = Duration::from_secs(13);
