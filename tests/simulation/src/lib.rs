//! Deterministic simulation of raft-store: true stores on a simulated network, disks and clocks, in one thread and from one
//! seed, with faults and with clients whose histories are judged. See docs/simulation.md and docs/adr/0009.
//!
//! Must not know how a store works inside: it sees what any user of raft-store sees.

pub mod clients;
pub mod clock;
pub mod counts;
pub mod disk;
pub mod faults;
pub mod history;
pub mod network;
pub mod node;
pub mod operator;
pub mod records;
pub mod requests;
pub mod trace;
pub mod watch;
pub mod world;
