//! The wires between nodes: each node is reached by the others through a relay, which can be told to carry nothing from one
//! node to another, or to carry it badly. What is cut waits, as in a network that loses every packet: no connection breaks,
//! and new ones get no further than being accepted.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::addresses::Network;
use crate::dialer::{Dialer, Processes};
use crate::weather::{Fate, Line, Weather};

/// From whom to whom; nodes by number, from 0.
pub type Pair = (usize, usize);

/// Pieces that are under way in one direction of a connection, at most.
const UNDER_WAY: usize = 4;

/// What is cut, and what is bad.
#[derive(Debug, Clone, Default)]
struct Rules {
    cut: Arc<HashSet<Pair>>,
    weather: Arc<HashMap<Pair, Weather>>,
    processes: Processes,
}

/// What the relays did to what they carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Pieces that waited because of a cut.
    pub held: u64,
    /// Pieces that were late.
    pub delayed: u64,
    /// Connections that were broken.
    pub broken: u64,
}

#[derive(Debug, Default)]
struct Counts {
    held: AtomicU64,
    delayed: AtomicU64,
    broken: AtomicU64,
}

/// What all relays share.
#[derive(Clone)]
struct Shared {
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
    rng: Arc<Mutex<SmallRng>>,
}

/// The relays of a cluster.
pub struct Wires {
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    _relays: JoinSet<()>,
}

impl Wires {
    /// One relay for each node.
    ///
    /// # Panics
    /// When an address cannot be listened on.
    pub async fn start(network: Network, size: usize) -> Self {
        let (rules, mut relays) = (watch::channel(Rules::default()).0, JoinSet::new());
        let counts = Arc::new(Counts::default());
        // Which piece it hits depends on timing anyway: the stream needs no seed of its own.
        let rng = Arc::new(Mutex::new(SmallRng::seed_from_u64(size as u64)));
        let shared = Shared { rules: rules.subscribe(), counts: Arc::clone(&counts), rng };
        for number in 0..size {
            let listener = TcpListener::bind((network.relay(number + 1), 7071)).await.unwrap();
            let target = SocketAddr::from((network.node(number + 1), 7071));
            relays.spawn(relay(listener, target, number, shared.clone()));
        }
        Self { rules, counts, _relays: relays }
    }

    /// Which process is which node, from now on.
    pub fn know(&self, processes: HashMap<u32, usize>) {
        self.rules.send_modify(|rules| rules.processes = Arc::new(processes));
    }

    /// From now on nothing is carried between these, in the directions given, and everything between others.
    pub fn cut(&self, pairs: &[Pair]) {
        self.rules.send_modify(|rules| rules.cut = Arc::new(pairs.iter().copied().collect()));
    }

    /// From now on what is between these is carried so, and well between others.
    pub fn weather(&self, pairs: &[Pair], weather: Weather) {
        let of_pairs = pairs.iter().map(|pair| (*pair, weather)).collect();
        self.rules.send_modify(|rules| rules.weather = Arc::new(of_pairs));
    }

    /// Everything is carried again, what waited included.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| (rules.cut, rules.weather) = Default::default());
    }

    /// What was done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { held, delayed, broken } = &*self.counts;
        Done { held: of(held), delayed: of(delayed), broken: of(broken) }
    }
}

async fn relay(listener: TcpListener, target: SocketAddr, to: usize, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((near, from)) = accepted else { continue };
                connections.spawn(carry(near, from, target, to, shared.clone()));
            }
        }
    }
}

async fn carry(near: TcpStream, from: SocketAddr, target: SocketAddr, to: usize, shared: Shared) {
    // A node that does not run refuses, and so does its relay, by closing.
    let Ok(far) = TcpStream::connect(target).await else { return };
    let Ok(here) = near.local_addr() else { return };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let dialer = Arc::new(Dialer::new(from, here));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let there = Way { shared: shared.clone(), dialer: Arc::clone(&dialer), to, back: false };
    let back = Way { shared, dialer, to, back: true };
    // A direction that breaks ends the connection.
    let _ = tokio::try_join!(there.pump(near_read, far_write), back.pump(far_read, near_write));
}

/// A piece on its way, and when it is there; an empty one is the end.
type Piece = (Instant, Vec<u8>);

/// One direction of a connection.
#[derive(Clone)]
struct Way {
    shared: Shared,
    dialer: Arc<Dialer>,
    to: usize,
    back: bool,
}

impl Way {
    /// Nobody's is a connection of a process that is gone, or of none of the nodes.
    async fn pair(&self, rules: &Rules) -> Option<Pair> {
        let dialer = self.dialer.number(&rules.processes).await?;
        Some(if self.back { (self.to, dialer) } else { (dialer, self.to) })
    }

    async fn is_open(&self, rules: &Rules) -> bool {
        rules.cut.is_empty() || self.pair(rules).await.is_none_or(|pair| !rules.cut.contains(&pair))
    }

    async fn open(&mut self) -> io::Result<()> {
        let mut counted = false;
        loop {
            let rules = self.shared.rules.borrow_and_update().clone();
            if self.is_open(&rules).await {
                return Ok(());
            }
            if !counted {
                self.shared.counts.held.fetch_add(1, Ordering::Relaxed);
                counted = true;
            }
            self.shared.rules.changed().await.map_err(io::Error::other)?;
        }
    }

    async fn fate(&self, line: &mut Line, bytes: usize) -> Fate {
        let rules = self.shared.rules.borrow().clone();
        let pair = if rules.weather.is_empty() { None } else { self.pair(&rules).await };
        let weather = pair.and_then(|pair| rules.weather.get(&pair).copied()).unwrap_or_default();
        if weather != Weather::default() {
            self.shared.counts.delayed.fetch_add(1, Ordering::Relaxed);
        }
        line.fate(&weather, Instant::now(), bytes, &mut self.shared.rng.lock().unwrap())
    }

    async fn take(self, read: &mut OwnedReadHalf, pieces: mpsc::Sender<Piece>) -> io::Result<()> {
        let mut line = Line::new(Instant::now());
        loop {
            let mut buffer = vec![0; 64 * 1024];
            let count = read.read(&mut buffer).await?;
            buffer.truncate(count);
            match self.fate(&mut line, count).await {
                Fate::Broken => {
                    self.shared.counts.broken.fetch_add(1, Ordering::Relaxed);
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Fate::At(at) => {
                    if pieces.send((at, buffer)).await.is_err() || count == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn give(mut self, write: &mut OwnedWriteHalf, mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
        while let Some((at, bytes)) = pieces.recv().await {
            // A sleep of nothing still waits for the next tick of the timer.
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
            self.open().await?;
            if bytes.is_empty() {
                return write.shutdown().await;
            }
            write.write_all(&bytes).await?;
        }
        Ok(())
    }

    async fn pump(self, mut read: OwnedReadHalf, mut write: OwnedWriteHalf) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let (take, give) = (self.clone().take(&mut read, sender), self.give(&mut write, receiver));
        let done = tokio::try_join!(take, give);
        if done.is_err() {
            // Both ends hear of it at once, and what is still in the buffers is gone.
            let _ = (read.as_ref().set_zero_linger(), write.as_ref().set_zero_linger());
        }
        done.map(|_| ())
    }
}
