//! The base line of durable writes: records appended to a file, each synced before the next.
//!
//! Must not know what is compared with it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
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

/// Appends records to a new file in `dir` for so long; the file is removed.
///
/// # Errors
/// [`Failure::Disk`].
pub async fn measure(dir: &Path, length: Duration) -> Result<Line, Failure> {
    let failed = {
        let dir = dir.to_owned();
        move |source| Failure::Disk { dir, source }
    };
    let dir: PathBuf = dir.to_owned();
    let measured = tokio::task::spawn_blocking(move || appends(&dir, length)).await;
    measured.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)
}

fn appends(dir: &Path, length: Duration) -> std::io::Result<Line> {
    let mut file: File = tempfile::tempfile_in(dir)?;
    let record = [0x5a; RECORD_BYTES];
    let (mut latencies, begun) = (Latencies::default(), Instant::now());
    while begun.elapsed() < length {
        let since = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        latencies.push(since.elapsed());
    }
    let per_second = per_second(latencies.count(), begun.elapsed());
    Ok(Line { per_second, latency: latencies.summary() })
}
