//! Reports of attempts: kept on disk until applied, proposed again and again until then.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{AttemptId, AttemptReport, Command, Refusal, Reply};
use metrics::counter;
use raft_store::codec;

use crate::metrics::REPORTS_REFUSED;
use crate::replica::{ProposeError, SharedReplica};

/// Pause after the first proposal that failed; doubled at each further one.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Largest result on disk that is read, in bytes.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    /// In the state.
    Applied,
    /// Never to be: the attempt is over or another's.
    Refused(Refusal),
    /// Never to be: it cannot be proposed.
    Unacceptable(String),
    /// The node stops; the next life reports it.
    Stopped,
}

/// Proposes a report until it is applied or refused. A report that was applied without our knowing is applied again:
/// reports are idempotent.
pub(crate) async fn report(replica: &SharedReplica, report: AttemptReport) -> Reported {
    let mut pause = PAUSE_MIN;
    loop {
        match replica.propose(Command::Report(report.clone())).await {
            Ok(Reply::Refused(refusal)) => {
                counter!(REPORTS_REFUSED).increment(1);
                return Reported::Refused(refusal);
            }
            Ok(_) => return Reported::Applied,
            Err(ProposeError::Stopped) => return Reported::Stopped,
            Err(error @ ProposeError::TooLarge { .. }) => return Reported::Unacceptable(error.to_string()),
            Err(
                error @ (ProposeError::Unavailable
                | ProposeError::Unknown
                | ProposeError::NoSpace
                | ProposeError::NotYet { .. }),
            ) => {
                tracing::debug!(attempt = %report.attempt, %error, "a report waits");
                tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// The directory of an attempt, as `logs` has it.
pub(super) fn directory(root: &Path, attempt: AttemptId) -> PathBuf {
    root.join(format!("{}-{}", attempt.job, attempt.number))
}

/// Keeps a result: written aside, synced, renamed. Blocking.
pub(super) fn keep(root: &Path, report: &AttemptReport) -> io::Result<()> {
    let directory = directory(root, report.attempt);
    std::fs::create_dir_all(&directory)?;
    let mut temporary = tempfile::NamedTempFile::new_in(&directory)?;
    io::Write::write_all(&mut temporary, &codec::encode(report)?)?;
    temporary.as_file().sync_all()?;
    temporary.persist(directory.join("result")).map_err(|e| e.error)?;
    std::fs::File::open(&directory)?.sync_all()
}

/// Forgets a result that is applied. Blocking.
pub(super) fn forget(root: &Path, attempt: AttemptId) {
    let path = directory(root, attempt).join("result");
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a result that was applied cannot be removed");
    }
}

/// The results that wait on disk. One that cannot be read is left where it is, and said. Blocking.
pub(super) fn kept(root: &Path) -> io::Result<Vec<AttemptReport>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path().join("result");
        match std::fs::read(&path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "a kept result cannot be read"),
            Ok(bytes) => match codec::decode(&bytes, MAX_RESULT_BYTES) {
                Ok(report) => found.push(report),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a kept result cannot be read"),
            },
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Fence, JobId, NodeId, Outcome, Progress, RunId};

    #[test]
    fn a_result_is_kept_until_forgotten() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let attempt = AttemptId { job: JobId { run: RunId(1), index: 2 }, number: 3 };
        let what = Progress::Finished {
            outcome: Outcome::Failed,
            reason: "x".to_owned(),
            steps: Vec::new(),
            artifacts: Vec::new(),
            log_bytes: 9,
            outputs: Vec::new(),
            annotations: Vec::new(),
        };
        let report = AttemptReport { attempt, fence: Fence(4), node: NodeId(5), what };
        assert!(kept(&dir.path().join("none"))?.is_empty());
        keep(dir.path(), &report)?;
        assert_eq!(kept(dir.path())?, [report]);
        forget(dir.path(), attempt);
        forget(dir.path(), attempt);
        assert!(kept(dir.path())?.is_empty());
        Ok(())
    }
}
