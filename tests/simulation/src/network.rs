//! A network in memory: streams between nodes whose bytes take their time, in order within a stream and in none between streams.
//!
//! What a cut holds back is not lost but late, as TCP has it; a stream ends when it is reset or an end of it dies. Must not know
//! what is said. Times are milliseconds of true time.

mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{BoxFuture, poll_fn};
use raft_store::transport::{Channel, Listener, Transport};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::counts::Counts;
use crate::trace::Trace;
use stream::End;
pub use stream::SimStream;

/// Milliseconds that bytes take when nothing is wrong.
const USUAL: (u64, u64) = (1, 3);

/// A direction: from one node to another.
type Way = (usize, usize);

/// What is under way to one end of a stream.
#[derive(Debug)]
enum Parcel {
    Open,
    Opened,
    Data(Vec<u8>),
    Close,
    Reset,
}

#[derive(Debug)]
struct Conn {
    nodes: [usize; 2],
    ends: [End; 2],
    /// When the last parcel to each end arrives: what follows is not earlier.
    last: [u64; 2],
    /// Arrived while the way was cut, by end.
    held: [VecDeque<Parcel>; 2],
}

#[derive(Debug, Default)]
struct Port {
    up: bool,
    backlog: VecDeque<Channel>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct State {
    now: u64,
    rng: SmallRng,
    counts: Counts,
    trace: Trace,
    conns: BTreeMap<usize, Conn>,
    next_conn: usize,
    under_way: BTreeMap<(u64, u64), (usize, usize, Parcel)>,
    next_parcel: u64,
    /// The highest parcel delivered so far, by way: one below it was overtaken.
    highest: BTreeMap<Way, u64>,
    ports: Vec<Port>,
    cut: BTreeSet<Way>,
    slow: BTreeMap<Way, (u64, u64)>,
}

/// The network. Clones share it.
#[derive(Debug, Clone)]
pub struct SimNetwork(Arc<Mutex<State>>);

/// What is to be done once the network is not locked any more: both may come back to it.
#[derive(Default)]
struct After {
    wake: Vec<Waker>,
    drop: Vec<Channel>,
}

impl After {
    fn run(self) {
        self.wake.into_iter().for_each(Waker::wake);
    }
}

impl SimNetwork {
    /// A network of so many nodes.
    #[must_use]
    pub fn new(seed: u64, nodes: usize, counts: Counts, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: 0,
            rng: SmallRng::seed_from_u64(seed),
            counts,
            trace,
            conns: BTreeMap::new(),
            next_conn: 0,
            under_way: BTreeMap::new(),
            next_parcel: 0,
            highest: BTreeMap::new(),
            ports: (0..nodes).map(|_| Port::default()).collect(),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
        })))
    }

    /// The name of a node, and its address without the port.
    #[must_use]
    pub fn name(node: usize) -> String {
        format!("n{node}")
    }

    /// The address of a node.
    #[must_use]
    pub fn addr(node: usize) -> String {
        format!("n{node}:7000")
    }

    fn node(addr: &str) -> Option<usize> {
        addr.strip_prefix('n')?.strip_suffix(":7000")?.parse().ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers all that arrives up to this time.
    pub fn advance(&self, now: u64) {
        let mut after = After::default();
        {
            let mut state = self.lock();
            state.now = now;
            while let Some(first) = state.under_way.first_entry().filter(|first| first.key().0 <= now) {
                let ((_, number), (conn, end, parcel)) = first.remove_entry();
                state.arrive(self, number, conn, end, parcel, &mut after);
            }
        }
        after.run();
    }

    /// A node can be reached from now on; answers where its streams come in.
    #[must_use]
    pub fn start(&self, node: usize) -> Incoming {
        self.lock().ports[node].up = true;
        Incoming { network: self.clone(), node }
    }

    /// A node has died: its streams are reset.
    pub fn stop(&self, node: usize) {
        let mut after = After::default();
        {
            let mut state = self.lock();
            state.ports[node].up = false;
            after.drop.extend(std::mem::take(&mut state.ports[node].backlog));
            let ends: Vec<_> = state
                .conns
                .iter()
                .flat_map(|(id, conn)| {
                    [0, 1].into_iter().filter(|end| conn.nodes[*end] == node).map(|end| (*id, end))
                })
                .collect();
            for (conn, end) in ends {
                state.die(conn, end, true);
            }
        }
        after.run();
    }

    /// Nothing goes this way any more, until it is healed.
    pub fn cut(&self, from: usize, to: usize) {
        self.lock().cut.insert((from, to));
    }

    /// Bytes that go this way take so long.
    pub fn slow(&self, from: usize, to: usize, millis: (u64, u64)) {
        self.lock().slow.insert((from, to), millis);
    }

    /// This way is as it was: what was held back arrives now.
    pub fn heal(&self, from: usize, to: usize) {
        let mut after = After::default();
        {
            let mut state = self.lock();
            state.slow.remove(&(from, to));
            if state.cut.remove(&(from, to)) {
                let ends: Vec<_> = state
                    .conns
                    .iter()
                    .flat_map(|(id, conn)| {
                        [0, 1]
                            .into_iter()
                            .filter(|end| (conn.nodes[1 - end], conn.nodes[*end]) == (from, to))
                            .map(|end| (*id, end))
                    })
                    .collect();
                for (id, end) in ends {
                    let held = state.conns.get_mut(&id).map(|conn| std::mem::take(&mut conn.held[end]));
                    for parcel in held.into_iter().flatten() {
                        state.deliver(self, id, end, parcel, &mut after);
                    }
                }
            }
        }
        after.run();
    }

    /// Every way is as it was.
    pub fn heal_all(&self) {
        let ways: BTreeSet<Way> = {
            let state = self.lock();
            state.cut.iter().chain(state.slow.keys()).copied().collect()
        };
        ways.into_iter().for_each(|(from, to)| self.heal(from, to));
    }

    /// Resets each stream between two nodes with these odds: what was under way is lost.
    pub fn reset(&self, one: usize, other: usize, odds: f64) {
        let mut after = After::default();
        {
            let mut state = self.lock();
            let between = |conn: &Conn| conn.nodes == [one, other] || conn.nodes == [other, one];
            let ids: Vec<_> =
                state.conns.iter().filter(|(_, conn)| between(conn)).map(|(id, _)| *id).collect();
            for id in ids {
                if state.rng.random_bool(odds) {
                    state.counts.add("stream reset");
                    for end in [0, 1] {
                        state.deliver(self, id, end, Parcel::Reset, &mut after);
                    }
                }
            }
        }
        after.run();
    }
}

impl State {
    fn send(&mut self, id: usize, to: usize, parcel: Parcel) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let way = (conn.nodes[1 - to], conn.nodes[to]);
        let (least, most) = self.slow.get(&way).copied().unwrap_or(USUAL);
        let at = (self.now + self.rng.random_range(least..=most)).max(conn.last[to]);
        conn.last[to] = at;
        if at > self.now + USUAL.1 {
            self.counts.add("delayed");
        }
        self.under_way.insert((at, self.next_parcel), (id, to, parcel));
        self.next_parcel += 1;
    }

    fn arrive(
        &mut self,
        network: &SimNetwork,
        number: u64,
        id: usize,
        to: usize,
        parcel: Parcel,
        after: &mut After,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let way = (conn.nodes[1 - to], conn.nodes[to]);
        if self.cut.contains(&way) {
            let kind = if self.cut.contains(&(way.1, way.0)) {
                "held by a partition"
            } else {
                "held by a one-way cut"
            };
            self.counts.add(kind);
            conn.held[to].push_back(parcel);
            return;
        }
        let highest = self.highest.entry(way).or_default();
        if number < *highest {
            self.counts.add("reordered");
        }
        *highest = number.max(*highest);
        self.deliver(network, id, to, parcel, after);
    }

    fn deliver(&mut self, network: &SimNetwork, id: usize, to: usize, parcel: Parcel, after: &mut After) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let size = if let Parcel::Data(bytes) = &parcel { bytes.len() } else { 0 };
        self.trace.event(self.now, "deliver", &[id as u64, to as u64, size as u64]);
        let dead = conn.ends[to].dead;
        match parcel {
            Parcel::Open => {
                let (from, node) = (conn.nodes[0], conn.nodes[1]);
                if self.ports[node].up {
                    let stream = SimStream::new(network.clone(), id, 1);
                    let peer = SimNetwork::name(from);
                    let channel = Channel { stream: Box::new(stream), remote: SimNetwork::addr(from), peer };
                    self.ports[node].backlog.push_back(channel);
                    after.wake.extend(self.ports[node].waker.take());
                    self.send(id, 0, Parcel::Opened);
                } else {
                    conn.ends[1].dead = true;
                    self.send(id, 0, Parcel::Reset);
                }
            }
            Parcel::Opened => conn.ends[to].open(&mut after.wake),
            Parcel::Data(bytes) if !dead => {
                conn.ends[to].take(bytes, &mut after.wake);
            }
            // Who is gone answers with a reset, as TCP does.
            Parcel::Data(_) => self.send(id, 1 - to, Parcel::Reset),
            Parcel::Close => conn.ends[to].close(&mut after.wake),
            Parcel::Reset => {
                let waker = conn.ends[1 - to].writer.take();
                after.wake.extend(waker);
                conn.ends[to].reset(&mut after.wake);
            }
        }
    }

    /// An end is gone; the other hears of it in time.
    fn die(&mut self, id: usize, end: usize, abruptly: bool) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if std::mem::replace(&mut conn.ends[end].dead, true) {
            return;
        }
        // Bytes that nobody will read end a stream abruptly, as TCP does.
        let abruptly = abruptly || conn.ends[end].has_unread();
        let both = conn.ends.iter().all(|end| end.dead);
        if both {
            self.conns.remove(&id);
        } else {
            self.send(id, 1 - end, if abruptly { Parcel::Reset } else { Parcel::Close });
        }
    }
}

/// A node's way to dial others.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The network.
    pub network: SimNetwork,
    /// Who dials.
    pub from: usize,
}

impl Transport for Dial {
    fn dial<'a>(
        &'a self,
        addr: &'a str,
        expect: Option<&'a str>,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Channel>> {
        Box::pin(async move {
            let to = SimNetwork::node(addr).ok_or(io::ErrorKind::AddrNotAvailable)?;
            let peer = SimNetwork::name(to);
            if expect.is_some_and(|expect| *expect != peer) {
                return Err(io::Error::other(format!("{addr} is {peer}, not {expect:?}")));
            }
            let mut stream = {
                let mut state = self.network.lock();
                let id = state.next_conn;
                state.next_conn += 1;
                let conn = Conn {
                    nodes: [self.from, to],
                    ends: [End::default(), End::opened()],
                    last: [0, 0],
                    held: Default::default(),
                };
                state.conns.insert(id, conn);
                state.send(id, 1, Parcel::Open);
                SimStream::new(self.network.clone(), id, 0)
            };
            tokio::time::timeout(timeout, poll_fn(|cx| stream.poll_open(cx)))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Channel { stream: Box::new(stream), remote: addr.to_owned(), peer })
        })
    }
}

/// Where a node's streams come in.
#[derive(Debug)]
pub struct Incoming {
    network: SimNetwork,
    node: usize,
}

impl Listener for Incoming {
    fn accept(&mut self) -> BoxFuture<'_, Option<Channel>> {
        let accept = |cx: &mut Context<'_>| {
            let port = &mut self.network.lock().ports[self.node];
            match port.backlog.pop_front() {
                Some(channel) => Poll::Ready(Some(channel)),
                None => {
                    port.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        Box::pin(poll_fn(accept))
    }
}
