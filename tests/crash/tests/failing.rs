//! A disk that says no: an error of a write or a sync is the end of the log, and nobody who waited is told otherwise.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crash::fault::{Fault, FaultyDisk, Operation};
use crash::model::Model;
use crash::op::{Op, Said, entry, log_id};
use crash::seen::{self, Result, Salts};
use crash::workload::{self, Tell};
use openraft::alias::VoteOf;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use raft_store::TypeConfig;
use raft_store::disk::{LocalDisk, SharedDisk};

/// Fails one kind of operation while it is on; the operation is not done.
#[derive(Debug)]
struct Failing {
    operation: Operation,
    error: io::ErrorKind,
    on: AtomicBool,
}

impl Failing {
    fn new(operation: Operation, error: io::ErrorKind) -> Arc<Self> {
        Arc::new(Self { operation, error, on: AtomicBool::new(false) })
    }

    fn disk(self: &Arc<Self>) -> SharedDisk {
        Arc::new(FaultyDisk::over(Arc::new(LocalDisk), Arc::clone(self) as _))
    }
}

impl Fault for Failing {
    fn around(&self, operation: Operation, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if operation == self.operation && self.on.load(Ordering::SeqCst) {
            Err(self.error.into())
        } else {
            run()
        }
    }
}

#[tokio::test]
async fn after_an_error_of_a_sync_or_a_write_the_log_takes_nothing_more() -> Result {
    for (operation, error) in
        [(Operation::Sync, io::ErrorKind::Other), (Operation::Write, io::ErrorKind::StorageFull)]
    {
        let dir = tempfile::tempdir()?;
        let fault = Failing::new(operation, error);
        let mut storage = seen::open(&fault.disk(), dir.path())?;
        let log = &mut storage.log;
        log.blocking_append([entry(1, 1, 0)]).await?;
        fault.on.store(true, Ordering::SeqCst);
        log.blocking_append([entry(1, 2, 0)]).await.expect_err("the disk said no");
        // The disk works again, but what it holds is unknown: nothing follows.
        fault.on.store(false, Ordering::SeqCst);
        assert!(
            log.blocking_append([entry(1, 2, 1)]).await.is_err(),
            "{operation:?}: an append was acknowledged"
        );
        assert!(log.save_vote(&VoteOf::<TypeConfig>::new(9, 1)).await.is_err(), "{operation:?}: a vote");
        assert!(log.purge(log_id((1, 1))).await.is_err(), "{operation:?}: a purge");
        // What is there can be read still.
        assert_eq!(log.try_get_log_entries(1..2).await?, [entry(1, 1, 0)]);
    }
    Ok(())
}

/// The first file that is to be removed cannot be.
#[derive(Debug)]
struct FirstStays(AtomicBool);

impl Fault for FirstStays {
    fn around(&self, operation: Operation, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if operation == Operation::Remove && self.0.swap(false, Ordering::SeqCst) {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            run()
        }
    }
}

/// Files of the log in a directory.
fn files(dir: &Path) -> io::Result<usize> {
    Ok(fs::read_dir(dir.join("log"))?.filter_map(io::Result::ok).filter(is_of_the_log).count())
}

fn is_of_the_log(file: &fs::DirEntry) -> bool {
    file.path().extension().is_some_and(|extension| extension == "log")
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_keeps_those_after_it() -> Result {
    let dir = tempfile::tempdir()?;
    let disk: SharedDisk = Arc::new(LocalDisk);
    let faulty: SharedDisk =
        Arc::new(FaultyDisk::over(Arc::clone(&disk), Arc::new(FirstStays(AtomicBool::new(true)))));
    let mut storage = seen::open(&faulty, dir.path())?;
    let (mut last, term) = (0, 1);
    while files(dir.path())? < 9 {
        last += 1;
        storage.log.blocking_append([entry(term, last, 0)]).await?;
    }
    storage.log.purge(log_id((term, last / 3))).await?;
    // Whether the first removal has begun by now or not: no newer file may go before the first.
    storage.log.purge(log_id((term, last / 2))).await?;
    storage.close().await;
    let mut storage = seen::open(&disk, dir.path())?;
    storage.log.purge(log_id((term, last - 1))).await?;
    storage.close().await;
    assert!(files(dir.path())? < 4, "all that is not needed goes with the next purge");
    let mut storage = seen::open(&disk, dir.path())?;
    assert_eq!(storage.log.try_get_log_entries(0..).await?, [entry(term, last, 0)]);
    Ok(())
}

#[tokio::test]
async fn whatever_fails_at_whatever_time_what_was_acknowledged_is_there() -> Result {
    let mut failed = 0;
    for seed in 0..40 {
        let operation =
            [Operation::Sync, Operation::Write, Operation::Name, Operation::SyncDir, Operation::Remove]
                [seed as usize % 5];
        let dir = tempfile::tempdir()?;
        let fault = Failing::new(operation, io::ErrorKind::StorageFull);
        let heard = Arc::new(Mutex::new((Model::default(), Salts::default())));
        let (switch, hear) = (Arc::clone(&fault), Arc::clone(&heard));
        let begun = Mutex::new(0);
        let tell: Tell = Arc::new(move |said| {
            let mut heard = hear.lock().expect("nobody panicked");
            if let Said::Begins(op) = &said {
                let mut begun = begun.lock().expect("nobody panicked");
                *begun += 1;
                switch.on.fetch_or(*begun == 5 + seed, Ordering::SeqCst);
                if let Op::Append { term, first, count, salt } = *op {
                    (first..first + count).for_each(|index| heard.1.add((term, index), salt));
                }
            }
            heard.0.hear(said);
        });
        let mut storage = seen::open(&fault.disk(), dir.path())?;
        failed += u64::from(workload::run(&mut storage, seed, 80, tell).await.is_err());
        storage.close().await;
        let mut storage = seen::open(&(Arc::new(LocalDisk) as SharedDisk), dir.path())?;
        let (model, salts) = std::mem::take(&mut *heard.lock().expect("nobody panicked"));
        let mut model = model;
        seen::check(&mut storage, &mut model, &salts).await.map_err(|e| format!("seed {seed}: {e}"))?;
    }
    assert!(failed > 20, "only {failed} of 40 met the fault: the test tests little");
    Ok(())
}
