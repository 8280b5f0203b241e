//! The wires between nodes: each node is reached by the others through a relay, which can be told to carry nothing from one
//! node to another. Bytes then wait, as in a network that loses every packet: no connection breaks, and new ones get no
//! further than being accepted.
//!
//! All nodes dial one address of a node, so who dials is found out by the process that the other end of the connection
//! belongs to (`/proc`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;

use crate::addresses::Network;

/// What is cut.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// From whom to whom nothing is carried; nodes by number, from 0.
    cut: Arc<HashSet<(usize, usize)>>,
    /// Which process is which node.
    processes: Arc<HashMap<u32, usize>>,
}

/// The relays of a cluster.
pub struct Wires {
    rules: watch::Sender<Rules>,
    _relays: JoinSet<()>,
}

impl Wires {
    /// One relay for each node.
    ///
    /// # Panics
    /// When an address cannot be listened on.
    pub async fn start(network: Network, size: usize) -> Self {
        let (rules, mut relays) = (watch::channel(Rules::default()).0, JoinSet::new());
        for number in 0..size {
            let listener = TcpListener::bind((network.relay(number + 1), 7071)).await.unwrap();
            let target = SocketAddr::from((network.node(number + 1), 7071));
            relays.spawn(relay(listener, target, number, rules.subscribe()));
        }
        Self { rules, _relays: relays }
    }

    /// From now on nothing is carried between these, in the directions given. `processes` says who is who.
    pub fn cut(&self, pairs: &[(usize, usize)], processes: HashMap<u32, usize>) {
        let cut = Arc::new(pairs.iter().copied().collect());
        self.rules.send_replace(Rules { cut, processes: Arc::new(processes) });
    }

    /// Everything is carried again, what waited included.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| rules.cut = Arc::default());
    }
}

async fn relay(listener: TcpListener, target: SocketAddr, to: usize, rules: watch::Receiver<Rules>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((near, from)) = accepted else { continue };
                connections.spawn(carry(near, from, target, to, rules.clone()));
            }
        }
    }
}

async fn carry(
    near: TcpStream,
    from: SocketAddr,
    target: SocketAddr,
    to: usize,
    rules: watch::Receiver<Rules>,
) {
    // A node that does not run refuses, and so does its relay, by closing.
    let Ok(far) = TcpStream::connect(target).await else { return };
    let Ok(here) = near.local_addr() else { return };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let dialer = Arc::new(Dialer { ends: (from, here), found: OnceCell::new() });
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let there = Way { rules: rules.clone(), dialer: Arc::clone(&dialer), to, back: false };
    let back = Way { rules, dialer, to, back: true };
    // An end that breaks ends its direction; the other notices by itself.
    let _ = tokio::join!(there.pump(near_read, far_write), back.pump(far_read, near_write));
}

/// One direction of a connection.
struct Way {
    rules: watch::Receiver<Rules>,
    dialer: Arc<Dialer>,
    to: usize,
    back: bool,
}

impl Way {
    async fn is_open(&self, rules: &Rules) -> bool {
        if rules.cut.is_empty() {
            return true;
        }
        // Nobody's is a connection of a process that is gone, or of none of the nodes.
        let Some(dialer) = self.dialer.number(rules).await else { return true };
        let way = if self.back { (self.to, dialer) } else { (dialer, self.to) };
        !rules.cut.contains(&way)
    }

    async fn open(&mut self) -> io::Result<()> {
        loop {
            let rules = self.rules.borrow_and_update().clone();
            if self.is_open(&rules).await {
                return Ok(());
            }
            self.rules.changed().await.map_err(io::Error::other)?;
        }
    }

    async fn pump(mut self, mut read: OwnedReadHalf, mut write: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = read.read(&mut buffer).await?;
            self.open().await?;
            if count == 0 {
                return write.shutdown().await;
            }
            write.write_all(&buffer[..count]).await?;
        }
    }
}

/// Who dialled, found when it is first asked, once: to ask costs some thousands of lines and links to be read.
struct Dialer {
    /// The dialling end and the relay's.
    ends: (SocketAddr, SocketAddr),
    found: OnceCell<Option<usize>>,
}

impl Dialer {
    async fn number(&self, rules: &Rules) -> Option<usize> {
        let ((local, remote), processes) = (self.ends, Arc::clone(&rules.processes));
        let find = move || {
            let inode = inode(local, remote)?;
            processes.iter().find(|(process, _)| has(**process, inode)).map(|(_, number)| *number)
        };
        let found =
            self.found.get_or_init(|| async { tokio::task::spawn_blocking(find).await.unwrap_or(None) });
        *found.await
    }
}

/// The inode of the socket with these ends, local one first.
fn inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            Some(format!("{:08X}:{:04X}", u32::from_le_bytes(addr.ip().octets()), addr.port()))
        }
        SocketAddr::V6(_) => None,
    };
    let (local, remote) = (hex(local)?, hex(remote)?);
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&&*local) && fields.get(2) == Some(&&*remote))
            .then(|| fields.get(9)?.parse().ok())?
    })
}

fn has(process: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*wanted))
}
