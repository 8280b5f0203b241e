//! A node: a true store in a tokio runtime of its own, whose clock goes only when the world lets it.
//!
//! What ends a process ends the runtime, and with it everything that ran in the node.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{ClusterId, NodeId, Timestamp};
use raft_store::disk::Disk;
use raft_store::{Compaction, LogSizes, Options, Store, Timings, Voting, identity};
use tokio::runtime::{Builder, Runtime};

use crate::clock::WallClock;
use crate::disk::MemoryDisk;
use crate::network::{Dial, SimNetwork};

/// What stays the same for all nodes of a run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Addresses to begin with.
    pub seeds: Vec<String>,
    /// How many nodes begin a cluster.
    pub expect: usize,
    /// Raft's times.
    pub timings: Timings,
    /// When snapshots are written.
    pub compaction: Compaction,
    /// Who votes.
    pub voting: Voting,
    /// Sizes of the log's files.
    pub log_sizes: LogSizes,
}

/// A value that a task in a node leaves for the world.
pub type Slot<T> = Arc<Mutex<Option<T>>>;

/// Takes what was left.
pub fn take<T>(slot: &Slot<T>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Leaves a value.
pub fn leave<T>(slot: &Slot<T>, value: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

/// Why a process ends by itself.
enum End {
    Failed(String),
    Removed(String),
}

/// A running process.
pub struct Process {
    runtime: Runtime,
    opened: Slot<Result<(Store, NodeId), String>>,
    fatal: Slot<End>,
    stopped: Slot<()>,
    /// The store, once it is open.
    pub store: Option<Store>,
    /// This life among all of all nodes.
    pub life: u64,
    /// The last index that the world has looked at.
    pub seen: u64,
    /// Replicated time, as it was seen there last.
    pub time: Timestamp,
    /// It was told to stop at this time.
    pub stopping: Option<u64>,
}

/// A node with its disk and its clock.
pub struct SimNode {
    /// Its number.
    pub index: usize,
    /// Its disk.
    pub disk: MemoryDisk,
    /// Its wall clock.
    pub clock: WallClock,
    /// Thousandths of true time that its runtime's clock goes.
    pub rate: u64,
    carried: u64,
    /// It does not run until then.
    pub paused_until: u64,
    /// Not started before then.
    pub down_until: u64,
    /// Its process, if it runs.
    pub process: Option<Process>,
    /// Its id, as of the last start.
    pub id: Option<NodeId>,
    /// The id that it lost with its disk, while that is still a member's.
    pub lost: Option<NodeId>,
    /// How many disks it had before this one.
    pub disks: u64,
    /// It was let in, and starts again as a member.
    pub let_in: bool,
    /// Somebody is to let it in.
    pub outside: bool,
}

/// What became of a process since the world last looked.
#[derive(Debug)]
pub enum Turn {
    /// The store is open.
    Opened(NodeId),
    /// The store did not open.
    Refused(String),
    /// Raft has stopped for good.
    Fatal(String),
    /// It was removed from its cluster, and knows.
    Removed(String),
    /// It has stopped as it was told.
    Stopped,
}

impl SimNode {
    /// A node that does not run yet.
    #[must_use]
    pub fn new(index: usize, disk: MemoryDisk) -> Self {
        let clock = WallClock::default();
        Self {
            index,
            disk,
            clock,
            rate: 1000,
            carried: 0,
            paused_until: 0,
            down_until: 0,
            process: None,
            id: None,
            lost: None,
            disks: 0,
            let_in: false,
            outside: false,
        }
    }

    /// Starts its process.
    ///
    /// # Errors
    /// The system's: there is no runtime.
    pub fn start(&mut self, network: &SimNetwork, setting: &Setting, life: u64) -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let (opened, fatal) = (Slot::default(), Slot::default());
        let open = open(self.index, self.disk.clone(), self.clock.clone(), network.clone(), setting.clone());
        let (result, failed) = (Arc::clone(&opened), Arc::clone(&fatal));
        runtime.spawn(async move {
            let store = open.await;
            let watched = store.as_ref().ok().map(|(store, _)| store.clone());
            leave(&result, store);
            if let Some(store) = watched {
                tokio::select! {
                    biased;
                    why = store.failed() => leave(&failed, End::Failed(why)),
                    why = store.removed() => leave(&failed, End::Removed(format!("{why:?}"))),
                }
            }
        });
        let stopped = Slot::default();
        self.process = Some(Process {
            runtime,
            opened,
            fatal,
            stopped,
            store: None,
            life,
            seen: 0,
            time: Timestamp(0),
            stopping: None,
        });
        Ok(())
    }

    /// A millisecond of true time.
    pub fn tick(&mut self, now: u64) {
        if now < self.paused_until {
            return;
        }
        let Some(process) = &self.process else { return };
        self.carried += self.rate;
        while self.carried >= 1000 {
            self.carried -= 1000;
            process.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
    }

    /// What has happened.
    pub fn turn(&mut self) -> Option<Turn> {
        let process = self.process.as_mut()?;
        if take(&process.stopped).is_some() {
            return Some(Turn::Stopped);
        }
        match take(&process.opened) {
            Some(Ok((store, id))) => {
                process.store = Some(store);
                self.id = Some(id);
                return Some(Turn::Opened(id));
            }
            Some(Err(why)) => return Some(Turn::Refused(why)),
            None => {}
        }
        match take(&process.fatal).filter(|_| process.stopping.is_none())? {
            End::Failed(why) => Some(Turn::Fatal(why)),
            End::Removed(why) => Some(Turn::Removed(why)),
        }
    }

    /// The process is gone, all at once; what it wrote is in the system's cache.
    pub fn kill(&mut self, network: &SimNetwork) {
        // First its streams, so that its tasks have nothing to say any more.
        network.stop(self.index);
        self.process = None;
    }

    /// An empty disk takes the place of its own.
    pub fn wipe(&mut self) {
        self.disk.wipe();
        self.disks += 1;
        self.outside = true;
    }

    /// Marks it as a member of a cluster, as `troupe node --join` does before it starts.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark(&self, cluster: ClusterId) -> std::io::Result<()> {
        let dir = data_dir(self.index);
        // Left half done when the disk failed.
        drop(self.disk.remove(&dir.join("joined")));
        let mark = self.disk.create(&dir.join("joined"))?;
        mark.write_all_at(format!("{cluster}\n").as_bytes(), 0)?;
        mark.sync()?;
        self.disk.sync_dir(&dir)
    }

    /// Tells the process to stop in order.
    pub fn stop(&mut self, now: u64) {
        let Some(process) = self.process.as_mut() else { return };
        let Some(store) = process.store.clone() else { return };
        process.stopping = Some(now);
        let stopped = Arc::clone(&process.stopped);
        process.runtime.spawn(async move {
            store.hand_over().await;
            store.shutdown().await;
            leave(&stopped, ());
        });
    }

    /// The store, if it is open and not about to stop.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.process.as_ref().filter(|process| process.stopping.is_none())?.store.as_ref()
    }

    /// Runs something in the node.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(process) = &self.process {
            process.runtime.spawn(work);
        }
    }
}

fn data_dir(index: usize) -> PathBuf {
    PathBuf::from(format!("/data/n{index}"))
}

async fn open(
    index: usize,
    disk: MemoryDisk,
    clock: WallClock,
    network: SimNetwork,
    setting: Setting,
) -> Result<(Store, NodeId), String> {
    let data_dir = data_dir(index);
    let node = identity::load_or_create(&disk, &data_dir).map_err(|error| error.to_string())?;
    let options = Options {
        data_dir,
        node,
        name: SimNetwork::name(index).parse().map_err(|error| format!("{error}"))?,
        cluster_addr: SimNetwork::addr(index),
        seeds: setting.seeds,
        bootstrap_expect: setting.expect,
        incoming: Box::new(network.start(index)),
        transport: Arc::new(Dial { network, from: index }),
        disk: Arc::new(disk),
        clock: Arc::new(clock),
        timings: setting.timings,
        log_sizes: setting.log_sizes,
        compaction: setting.compaction,
        voting: setting.voting,
        min_free: 1 << 20,
    };
    let store = Store::open(options).await.map_err(|error| error.to_string())?;
    Ok((store, node))
}
