//! Artifacts with names (`actions/upload-artifact`, `actions/download-artifact`): from one job of a run to another.
//!
//! The cluster knows of those of other jobs when these have ended; of those of the same job, the job itself knows at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use domain::{Artifact, Attempt, ClusterState, JobId, NodeId};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, openat};

use super::inputs::{flag, known};
use super::{Inputs, NativeContext, NativeDone};
use crate::artifacts::named::{self, SUMMARY, Wanted};
use crate::artifacts::remember;
use crate::caches::unpack::parent;
use crate::runner::environment::WORKSPACE;
use crate::tree;

/// Inputs of an upload that mean nothing here: artifacts are kept as long as their run.
const IGNORED_UP: [&str; 2] = ["retention-days", "compression-level"];
/// Of a download: what is checked here always.
const IGNORED_DOWN: [&str; 2] = ["digest-mismatch", "skip-decompress"];

/// `actions/upload-artifact`.
pub(super) async fn upload(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    let all = ["name", "path", "if-no-files-found", "overwrite", "include-hidden-files"];
    let inputs = known(ctx, "actions/upload-artifact", with, &all, &IGNORED_UP).await?;
    let name = if inputs.get("name").is_empty() { "artifact" } else { inputs.get("name") }.to_owned();
    named::check_name(&name).map_err(|e| e.to_string())?;
    let (overwrite, hidden) = (
        flag("overwrite", inputs.get("overwrite"))?,
        flag("include-hidden-files", inputs.get("include-hidden-files"))?,
    );
    let if_none = inputs.get("if-no-files-found");
    if !matches!(if_none, "" | "warn" | "error" | "ignore") {
        return Err(format!("if-no-files-found: expected warn, error or ignore, found {if_none:?}"));
    }
    if !overwrite && is_taken(ctx, &name) {
        return Err(format!(
            "name: there is an artifact {name:?} of this run already; `overwrite: true` replaces it"
        ));
    }
    let (seen_at, paths) =
        (ctx.parts.seen(&ctx.directories.workspace, WORKSPACE), inputs.get("path").to_owned());
    let (workspace, blobs) = (ctx.directories.workspace.clone(), ctx.parts.blobs.clone());
    // One of the same name goes when this one is there.
    let others = ctx.uploaded.iter().filter(|artifact| artifact.name != name);
    let room = ctx.parts.options.artifacts.beside(others);
    let (of_work, root) = (name.clone(), ctx.directories.root.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let wanted = Wanted { name: &of_work, paths: &paths, seen_at: &seen_at, hidden };
        let kept = named::collect(&workspace, &wanted, room, &blobs)?;
        // Nothing else names these blobs until the attempt has ended.
        remember(&root, &kept)?;
        Ok::<_, crate::artifacts::Error>(kept)
    });
    let kept = kept.await.map_err(|join| join.to_string())?.map_err(|e| e.to_string())?;
    if kept.is_empty() {
        let why =
            format!("no files were found with the provided path: {}", inputs.get("path").replace('\n', ", "));
        match if_none {
            "error" => return Err(why),
            "ignore" => ctx.lines.say(&why).await,
            _ => ctx.lines.warn(&why).await,
        }
        return Ok(NativeDone::default());
    }
    let bytes: u64 = kept.iter().map(|artifact| artifact.size).sum();
    ctx.lines.say(&format!("Artifact {name}: {} files, {bytes} bytes", kept.len())).await;
    let mut outputs = BTreeMap::from([("artifact-id".to_owned(), format!("{}/{name}", ctx.attempt))]);
    let public = &ctx.parts.options.public_url;
    if !public.is_empty() {
        let url = format!("{public}/v1/attempts/{}/artifacts", ctx.attempt);
        outputs.insert("artifact-url".to_owned(), url);
    }
    Ok(NativeDone { outputs, artifacts: kept, ..NativeDone::default() })
}

fn is_taken(ctx: &NativeContext, name: &str) -> bool {
    let state = ctx.parts.replica.state();
    of_run(&state, ctx.attempt.job).contains_key(name) || uploaded(ctx, name)
}

/// Who has an artifact of other jobs.
struct Holder<'a> {
    job: JobId,
    attempt: &'a Attempt,
    /// Other jobs that uploaded one of this name, and ended before.
    before: Vec<JobId>,
}

/// The artifacts of the run's other jobs, by name: each is that of the job that ended last of those that uploaded one. It replaced what
/// was there, or had begun when nothing was; files of two jobs are never mixed.
fn of_run(state: &ClusterState, own: JobId) -> BTreeMap<&str, Holder<'_>> {
    let jobs = state.runs.get(&own.run).map_or(0, |run| run.jobs);
    let ids = (0..jobs).map(|index| JobId { run: own.run, index }).filter(|id| *id != own);
    let last = ids.filter_map(|job| {
        let number = state.jobs.get(&job)?.attempts;
        Some((job, state.attempts.get(&domain::AttemptId { job, number })?))
    });
    let mut last: Vec<_> = last.collect();
    last.sort_by_key(|(job, attempt)| (attempt.finished_at, *job));
    let mut all = BTreeMap::<&str, Holder<'_>>::new();
    for (job, attempt) in last {
        let names: BTreeSet<_> = attempt.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
        for name in names.into_iter().filter(|name| !matches!(*name, "" | SUMMARY)) {
            let earlier = all.remove(name);
            let before = earlier.map(|Holder { job, before, .. }| [before, vec![job]].concat());
            all.insert(name, Holder { job, attempt, before: before.unwrap_or_default() });
        }
    }
    all
}

/// One file that is to be written.
struct Download {
    node: NodeId,
    digest: [u8; 32],
    size: u64,
    to: PathBuf,
}

/// `actions/download-artifact`.
pub(super) async fn download(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    let all =
        ["name", "path", "pattern", "merge-multiple", "repository", "run-id", "github-token", "artifact-ids"];
    let inputs = known(ctx, "actions/download-artifact", with, &all, &IGNORED_DOWN).await?;
    for other in ["repository", "run-id", "github-token", "artifact-ids"] {
        if !inputs.get(other).is_empty() {
            return Err(format!(
                "{other}: only artifacts of the same run can be downloaded, by name or pattern"
            ));
        }
    }
    let (name, pattern) = (inputs.get("name"), inputs.get("pattern"));
    let merge = flag("merge-multiple", inputs.get("merge-multiple"))?;
    let seen_at = ctx.parts.seen(&ctx.directories.workspace, WORKSPACE);
    let to = named::destination(inputs.get("path"), &seen_at).map_err(|e| format!("path: {e}"))?;
    if !name.is_empty() {
        named::check_name(name).map_err(|e| format!("name: {e}"))?;
    }
    let all = all_of(ctx);
    let every: BTreeSet<&str> = all.iter().map(|(_, artifact)| artifact.name.as_str()).collect();
    let chosen = match name {
        "" => named::names(every.iter().copied(), pattern).map_err(|e| format!("pattern: {e}"))?,
        name => every.iter().copied().filter(|found| *found == name).collect(),
    };
    if chosen.is_empty() && !name.is_empty() {
        let there = if every.is_empty() {
            "none".to_owned()
        } else {
            every.into_iter().collect::<Vec<_>>().join(", ")
        };
        return Err(format!(
            "name: this run has no artifact {name:?}; it has: {there} (those of a job are there when it has ended: see `needs`)"
        ));
    }
    for (name, Holder { job, before, .. }) in of_run(&ctx.parts.replica.state(), ctx.attempt.job) {
        if chosen.contains(name) && !before.is_empty() && !uploaded(ctx, name) {
            let others: Vec<_> = before.iter().map(ToString::to_string).collect();
            let of = others.join(", ");
            ctx.lines.say(&format!("Artifact {name} is that of job {job}, which ended after {of}")).await;
        }
    }
    let mut files = Vec::new();
    for (node, artifact) in all.iter().filter(|(_, artifact)| chosen.contains(artifact.name.as_str())) {
        let apart = name.is_empty() && !merge;
        let folder = if apart { to.join(&artifact.name) } else { to.clone() };
        let to = folder.join(&artifact.path);
        files.push(Download { node: *node, digest: artifact.digest, size: artifact.size, to });
    }
    let (count, bytes) = (files.len(), files.iter().map(|file| file.size).sum::<u64>());
    let spool = tokio::fs::symlink_metadata(&ctx.directories.spool).await.map_err(|e| e.to_string())?;
    let owner = (spool.uid() != rustix::process::geteuid().as_raw()).then(|| (spool.uid(), spool.gid()));
    for file in files {
        let shown = file.to.display().to_string();
        let from = ctx.parts.obtain(file.node, file.digest, file.size).await;
        let from = from.map_err(|why| format!("{shown}: it cannot be had from node {}: {why}", file.node))?;
        let (workspace, writing) = (ctx.directories.workspace.clone(), ctx.writing.clone());
        let written = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            write(&workspace, &file.to, from, owner)
        });
        written.await.map_err(|join| join.to_string())?.map_err(|e| format!("{shown}: {e}"))?;
    }
    ctx.lines.say(&format!("{} artifacts, {count} files, {bytes} bytes", chosen.len())).await;
    let path = Path::new(&seen_at).join(&to).to_string_lossy().trim_end_matches('/').to_owned();
    Ok(NativeDone { outputs: BTreeMap::from([("download-path".to_owned(), path)]), ..NativeDone::default() })
}

/// This attempt itself has one of this name.
fn uploaded(ctx: &NativeContext, name: &str) -> bool {
    ctx.uploaded.iter().any(|artifact| artifact.name == name)
}

/// Of each name what was kept last: of this attempt, or else of the run's other jobs.
fn all_of(ctx: &NativeContext) -> Vec<(NodeId, Artifact)> {
    let state = ctx.parts.replica.state();
    let mut all: Vec<_> =
        ctx.uploaded.iter().map(|artifact| (ctx.parts.options.node, artifact.clone())).collect();
    for (name, Holder { attempt, .. }) in of_run(&state, ctx.attempt.job) {
        if !uploaded(ctx, name) {
            let its = attempt.artifacts.iter().filter(|artifact| artifact.name == name);
            all.extend(its.map(|artifact| (attempt.node, artifact.clone())));
        }
    }
    all
}

/// Writes a file in the workspace, through no link; what is there is replaced, unless it is a directory. Blocking.
fn write(workspace: &Path, to: &Path, mut from: File, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let root = tree::open_root(workspace)?;
    let parent = parent(root.as_fd(), to, owner)?;
    let name = CString::new(to.file_name().unwrap_or_default().as_bytes())?;
    match rustix::fs::unlinkat(&parent, &*name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&parent, &*name, flags, Mode::from(0o644))?);
    std::io::copy(&mut from, &mut file)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 26.
    #[test]
    fn a_file_is_replaced_and_nothing_is_written_through_a_link() -> std::io::Result<()> {
        let (dir, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let blob = outside.path().join("blob");
        std::fs::write(&blob, "kept")?;
        let write = |to: &str| write(dir.path(), Path::new(to), File::open(&blob)?, None);
        write("a/b/c")?;
        write("a/b/c")?;
        assert_eq!(std::fs::read_to_string(dir.path().join("a/b/c"))?, "kept");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("way"))?;
        std::os::unix::fs::symlink(outside.path().join("target"), dir.path().join("end"))?;
        assert!(write("way/x").is_err());
        write("end")?;
        assert!(!outside.path().join("target").exists() && !outside.path().join("x").exists());
        assert_eq!(std::fs::read_to_string(dir.path().join("end"))?, "kept");
        assert!(write("a").is_err(), "a directory is not replaced");
        Ok(())
    }
}
