//! Addresses for the nodes of one cluster, which no other cluster on this machine uses.
//!
//! The whole of 127.0.0.0/8 is this machine. A network of it is taken for each cluster by this process's id and a count, so
//! that ports can be the well-known ones: no port is asked for, let go, and lost to someone else in between.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// 127.A.B.0/24.
#[derive(Debug, Clone, Copy)]
pub struct Network(u8, u8);

impl Network {
    /// One that no other process which runs at the same time gets, nor any of the last three calls in this one: a fifth
    /// cluster takes the place of the first, which is gone by then.
    ///
    /// # Panics
    /// Never: 250 is less than 256.
    #[must_use]
    pub fn unique() -> Self {
        let count = CLUSTERS.fetch_add(1, Ordering::Relaxed) % 4;
        // Neighbouring ids, as parallel tests have, differ; 127.0 and 127.1 are left to others.
        let number = (std::process::id() % 16_000) * 4 + count;
        let [_, _, high, low] = number.to_be_bytes();
        Self(high.checked_add(2).expect("at most 250"), low)
    }

    /// The address of node `number`, from 1.
    #[must_use]
    pub fn node(self, number: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, u8::try_from(number).expect("few nodes"))
    }

    /// The address of the relay to node `number`, from 1.
    #[must_use]
    pub fn relay(self, number: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, 100 + u8::try_from(number).expect("few nodes"))
    }

    /// An address for something beside the nodes.
    #[must_use]
    pub fn other(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, 200)
    }
}
