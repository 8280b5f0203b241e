//! The process that is killed: `crash-child DIR SEED OPERATIONS` opens the storage below DIR and changes it until OPERATIONS
//! of its disk are done. Each change is told on stdout before it is made, and when it is acknowledged, a JSON value per line.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use crash::fault::FaultyDisk;
use crash::killing::Killing;
use crash::seen::{self, Result};
use crash::workload::{self, Tell};
use raft_store::disk::{LocalDisk, SharedDisk};

/// Far more changes than any number of operations allows.
const CHANGES: u64 = 1_000_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: crash-child DIR SEED OPERATIONS");
    let dir = PathBuf::from(next()?);
    let (seed, operations) = (next()?.parse()?, next()?.parse()?);
    let fault = Arc::new(Killing::at(operations, seed));
    let disk: SharedDisk = Arc::new(FaultyDisk::over(Arc::new(LocalDisk), fault));
    let tell: Tell = Arc::new(|said| {
        let mut line = serde_json::to_vec(&said).expect("plain data");
        line.push(b'\n');
        // One write: what was told is in the pipe, whatever becomes of this process.
        std::io::stdout().lock().write_all(&line).and_then(|()| std::io::stdout().flush()).expect("a reader");
    });
    let mut storage = seen::open(&disk, &dir)?;
    workload::run(&mut storage, seed, CHANGES, tell).await
}
