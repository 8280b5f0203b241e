//! Deterministic simulation of raft-store: true stores on a simulated network, disks and clocks, in one thread and from one
//! seed, with faults and with clients whose histories are judged. See docs/simulation.md and docs/adr/0009.
//!
//! Must not know how a store works inside: it sees what any user of raft-store sees.

pub mod bugs;
mod clients;
mod clock;
pub mod counts;
mod disk;
mod faults;
mod history;
mod network;
mod node;
mod operator;
mod records;
mod requests;
mod trace;
mod watch;
pub mod world;
