//! One node behind a real cluster port, and those who call it, for tests of what the server answers.

use std::path::Path;
use std::sync::Arc;

use domain::NodeId;
use links::{Dialer, Identity, Limits, Port, Protocol, ca};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use crate::clock::SystemClock;
use crate::disk::LocalDisk;
use crate::members::{Book, Joined};
use crate::network::Caller;
use crate::state_machine::StateMachine;
use crate::{Compaction, LogSizes, Options, Store, Timings, Voting};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The node's id; its name is `me`.
pub(crate) const ME: u64 = 11;

pub(crate) struct Alone {
    pub(crate) store: Store,
    pub(crate) addr: String,
    /// Its own certificate.
    pub(crate) mine: Identity,
    _port: JoinSet<()>,
}

impl Alone {
    /// Starts it with all its files, and those of its CA, in `dir`.
    pub(crate) async fn start(dir: &Path, bootstrap_expect: usize) -> Result<Self> {
        ca::init(&dir.join("ca"))?;
        let mine = identity(dir, "me")?;
        let port = Port::bind("127.0.0.1:0", mine.clone(), Limits::default()).await?;
        let addr = port.local_addr()?.to_string();
        let incoming = port.incoming(Protocol::Raft)?;
        let strangers = port.strangers()?;
        let signer = ca::Signer::load(&dir.join("ca/ca.pem"), &dir.join("ca/ca-key.pem"))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(port.run(CancellationToken::new()));
        let store = Store::open(Options {
            data_dir: dir.join("data"),
            node: NodeId(ME),
            name: "me".parse()?,
            cluster_addr: addr.clone(),
            seeds: Vec::new(),
            bootstrap_expect,
            transport: Arc::new(Dialer::new(mine.clone())),
            incoming: Box::new(incoming),
            disk: Arc::new(LocalDisk),
            clock: Arc::new(SystemClock),
            timings: Timings::default(),
            voting: Voting::default(),
            log_sizes: LogSizes::default(),
            min_free: 0,
            compaction: Compaction::default(),
        })
        .await?;
        store.let_in(strangers, Some(signer));
        Ok(Self { store, addr, mine, _port: tasks })
    }
}

/// A certificate of the CA in `dir`.
pub(crate) fn identity(dir: &Path, name: &str) -> Result<Identity> {
    Ok(Identity::load(ca::issue(&dir.join("ca"), &dir.join(name), &name.parse()?, 1)?)?)
}

/// Someone with this certificate who says to be this node.
pub(crate) fn caller(dir: &Path, identity: Identity, from: u64) -> Result<Caller> {
    Ok(Caller {
        transport: Arc::new(Dialer::new(identity)),
        disk: Arc::new(LocalDisk),
        from,
        view: StateMachine::open(Arc::new(LocalDisk), &dir.join("nothing"))?.view(),
        book: Book::default(),
        joined: Joined::default(),
        connect_timeout: PATIENCE,
    })
}
