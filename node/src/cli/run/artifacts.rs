//! Artifacts of a run on this machine, brought into a folder before the machine's own are gone.
//!
//! Must not know how they were kept.

use std::path::Path;

use domain::{AttemptId, RunId};

use super::super::target::Target;
use super::super::{Client, Failure, artifacts, table};
use crate::api::dto::{ArtifactView, RunView};

/// Brings all of them: those with a name to `DIR/NAME/PATH`, as a download of theirs would have them, those of a job alone to
/// `DIR/JOB/PATH`. What is there already is overwritten.
///
/// # Errors
/// [`Failure`].
pub async fn bring(client: &Client, id: RunId, run: &RunView, dir: &Path) -> Result<(), Failure> {
    for (job, view) in Target::Run(id).jobs(run)? {
        if view.attempts == 0 {
            continue;
        }
        let attempt = AttemptId { job, number: view.attempts };
        let kept = artifacts::of(client, attempt).await?;
        let wanted = kept.into_iter().map(|artifact| (place(&view.key, &artifact), artifact)).collect();
        let tell = |_: &ArtifactView, place: &Path| {
            table::say(&format!("{}: {}", view.key, place.display()));
            Ok(())
        };
        artifacts::bring(client, (dir, true), attempt, wanted, tell).await?;
    }
    Ok(())
}

/// Summaries, whose name begins with a point, are each job's own.
fn place(job: &str, artifact: &ArtifactView) -> String {
    match artifact.name.as_str() {
        "" => format!("{job}/{}", artifact.path),
        name if name.starts_with('.') => format!("{job}/{name}/{}", artifact.path),
        name => format!("{name}/{}", artifact.path),
    }
}
