//! Bytes that changed while nobody looked: found, said, and nothing is served from what is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crash::SIZES;
use crash::op::{entry, log_id};
use crash::seen::Result;
use openraft::alias::VoteOf;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use raft_store::disk::LocalDisk;
use raft_store::{LogStore, TypeConfig};

/// How things stand in a log, for comparison.
#[derive(Debug, PartialEq)]
struct Standing {
    vote: Option<VoteOf<TypeConfig>>,
    entries: Vec<openraft::alias::EntryOf<TypeConfig>>,
}

fn open(dir: &Path) -> std::io::Result<LogStore> {
    LogStore::open(Arc::new(LocalDisk), dir, SIZES)
}

async fn standing(dir: &Path) -> std::io::Result<Standing> {
    let mut log = open(dir)?;
    let standing = Standing { vote: log.read_vote().await?, entries: log.try_get_log_entries(0..).await? };
    close(log).await;
    Ok(standing)
}

/// Waits until nothing of it touches the directory any more.
async fn close(log: LogStore) {
    let mut open = log.watch_open();
    drop(log);
    while open.changed().await.is_ok() {}
}

/// A log of several files, all of it acknowledged.
async fn log_of_several_files(dir: &Path) -> Result<Standing> {
    let mut log = open(dir)?;
    for batch in 0..30 {
        let first = 1 + batch * 10;
        log.blocking_append((first..first + 10).map(|index| entry(1, index, 3))).await?;
        log.save_vote(&VoteOf::<TypeConfig>::new(batch + 1, 2)).await?;
    }
    log.truncate_after(Some(log_id((1, 290)))).await?;
    log.purge(log_id((1, 3))).await?;
    close(log).await;
    let before = standing(dir).await?;
    assert_eq!(before.entries.len(), 287);
    Ok(before)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> =
        fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    Ok(files)
}

/// Bytes up to the last that was written.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for file in files(from)? {
        fs::copy(&file, to.join(file.file_name().ok_or("no name")?))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused_with_what_to_do() -> Result {
    let dir = tempfile::tempdir()?;
    let good = dir.path().join("good");
    let before = log_of_several_files(&good).await?;
    let files = files(&good)?;
    assert!(files.len() > 3, "{files:?}");
    let (bad, mut refused, mut harmless) = (dir.path().join("bad"), 0, 0);
    for (number, file) in files.iter().enumerate() {
        let bytes = fs::read(file)?;
        let used = used(&bytes);
        // Every byte of some, and of the last, where a torn write is thought of too, all; behind what is used as well.
        let step = if number + 1 == files.len() { 1 } else { 211 };
        for at in (0..used).step_by(step).chain((used..bytes.len()).step_by(4001)) {
            copy(&good, &bad)?;
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(bad.join(file.file_name().ok_or("no name")?), flipped)?;
            match standing(&bad).await {
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("damaged") && error.contains("docs/operations.md"), "{error}");
                    refused += 1;
                }
                // In what was never written: nothing is lost by it.
                Ok(after) if at >= used => {
                    assert_eq!(after, before, "byte {at} of {}", file.display());
                    harmless += 1;
                }
                Ok(_) => return Err(format!("byte {at} of {} flipped unnoticed", file.display()).into()),
            }
            fs::remove_dir_all(&bad)?;
        }
    }
    println!("{refused} flips refused, {harmless} harmless");
    assert!(refused > 100 && harmless > 0);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_missing_or_cut_before_the_end_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let good = dir.path().join("good");
    log_of_several_files(&good).await?;
    let files = files(&good)?;
    let bad = dir.path().join("bad");
    for file in &files[..files.len() - 1] {
        let name = file.file_name().ok_or("no name")?;
        copy(&good, &bad)?;
        fs::remove_file(bad.join(name))?;
        let error = standing(&bad).await.err().ok_or("a file is missing, unnoticed")?;
        assert!(error.to_string().contains("damaged"), "{error}");
        copy(&good, &bad)?;
        let half = used(&fs::read(file)?) as u64 / 2;
        fs::OpenOptions::new().write(true).open(bad.join(name))?.set_len(half)?;
        let error = standing(&bad).await.err().ok_or("a file is cut, unnoticed")?;
        assert!(error.to_string().contains("damaged"), "{error}");
        fs::remove_dir_all(&bad)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_log_of_an_earlier_format_is_refused_by_name() -> Result {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("r-00_000.wal"), b"of another build")?;
    let error = open(dir.path()).expect_err("another format");
    assert!(
        error.to_string().contains("r-00_000.wal") && error.to_string().contains("empty data directory"),
        "{error}"
    );
    Ok(())
}
