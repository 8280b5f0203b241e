//! The base line of durable writes: records appended to a file, each synced before the next.
//!
//! Must not know what is compared with it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Failure;
use super::figures::{Latencies, Summary, per_second};

/// Bytes of a record: about an entry of the log with a small job in it.
pub const RECORD_BYTES: usize = 512;

/// What the disk did.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Syncs in a second, one after another.
    pub per_second: f64,
    /// Write and sync of one record.
    pub latency: Option<Summary>,
}

/// What the disk did at several times.
#[derive(Debug, Default)]
pub struct Disk {
    latencies: Latencies,
    elapsed: Duration,
}

impl Disk {
    /// Appends records to a new file in `dir` for so long; the file is removed.
    ///
    /// # Errors
    /// [`Failure::Disk`].
    pub async fn measure(&mut self, dir: &Path, length: Duration) -> Result<(), Failure> {
        let folder = dir.to_owned();
        let measured = tokio::task::spawn_blocking(move || appends(&folder, length)).await;
        let measured = measured.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let one = measured.map_err(|source| Failure::Disk { dir: dir.to_owned(), source })?;
        self.latencies.extend(one.latencies);
        self.elapsed += one.elapsed;
        Ok(())
    }

    /// All of it.
    #[must_use]
    pub fn line(self) -> Line {
        let per_second = per_second(self.latencies.count(), self.elapsed);
        Line { per_second, latency: self.latencies.summary() }
    }
}

fn appends(dir: &Path, length: Duration) -> std::io::Result<Disk> {
    let mut file: File = tempfile::tempfile_in(dir)?;
    let record = [0x5a; RECORD_BYTES];
    let (mut latencies, begun) = (Latencies::default(), Instant::now());
    while begun.elapsed() < length {
        let since = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        latencies.push(since.elapsed());
    }
    Ok(Disk { latencies, elapsed: begun.elapsed() })
}
