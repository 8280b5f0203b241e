//! Caches of a repository's jobs (`actions/cache`): found by key and scope, restored, and kept at the end of a job that succeeded.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use domain::{CacheEntry, Command, Reply, RepoId, Timestamp};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::inputs::{flag, known};
use super::{Inputs, NativeContext, NativeDone, Post};
use crate::attempt::Beyond;
use crate::caches::archive::Archive;
use crate::caches::{self, Kept, Paths, Places, Root, key};
use crate::executor::{Beside, ContainerId};
use crate::runner::environment::WORKSPACE;

/// Patience with the cluster, when it is told of a cache.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Inputs that mean nothing here.
const IGNORED: [&str; 3] = ["upload-chunk-size", "enablecrossosarchive", "save-always"];

/// What the end of the job must know.
#[derive(Debug, Serialize, Deserialize)]
struct ToKeep {
    key: String,
    path: String,
}

/// `actions/cache`.
pub(super) async fn run(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    let (mut done, hit) = find(ctx, with).await?;
    if !hit {
        let of = |name: &str| with.get(name).cloned().unwrap_or_default();
        let state = serde_json::to_string(&ToKeep { key: of("key"), path: of("path") });
        done.post = Some(Post { on_success: true, state: state.map_err(|e| e.to_string())? });
    }
    Ok(done)
}

/// `actions/cache/restore`.
pub(super) async fn restore(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    Ok(find(ctx, with).await?.0)
}

/// `actions/cache/save`.
pub(super) async fn save(ctx: &NativeContext, with: &Inputs) -> Result<NativeDone, String> {
    let inputs = known(ctx, "actions/cache/save", with, &["key", "path"], &IGNORED).await?;
    keep_or_warn(ctx, inputs.get("key"), inputs.get("path")).await
}

/// What `actions/cache` left for the end of the job.
pub(super) async fn post(ctx: &NativeContext, _: &Inputs, state: &str) -> Result<NativeDone, String> {
    let ToKeep { key, path } = serde_json::from_str(state).map_err(|e| format!("what is to be kept: {e}"))?;
    keep_or_warn(ctx, &key, &path).await
}

/// A cache that cannot be kept is no reason for a job to fail; what is wrong with the workflow is.
async fn keep_or_warn(ctx: &NativeContext, key: &str, path: &str) -> Result<NativeDone, String> {
    key::check(key).map_err(|e| e.to_string())?;
    let paths = Paths::parse(path, &workspace_of(ctx)).map_err(|e| e.to_string())?;
    if let Err(why) = keep(ctx, key, paths).await {
        ctx.lines.warn(&format!("the cache was not saved: {why}")).await;
    }
    Ok(NativeDone::default())
}

fn workspace_of(ctx: &NativeContext) -> String {
    ctx.parts.seen(&ctx.directories.workspace, WORKSPACE)
}

fn repo_of(ctx: &NativeContext) -> Result<(RepoId, &Beyond), String> {
    let (repo, _) =
        ctx.repo.as_ref().ok_or("this run belongs to no repository, and caches are kept by repository")?;
    let beyond = ctx.parts.beyond.get().ok_or("this node keeps no caches")?;
    Ok((*repo, beyond))
}

/// The refs whose caches the run sees.
async fn scopes(ctx: &NativeContext, repo: RepoId) -> Vec<String> {
    let payload: serde_json::Value = serde_json::from_str(&ctx.event.payload).unwrap_or_default();
    let told = payload.pointer("/repository/default_branch").and_then(serde_json::Value::as_str);
    let default = match told {
        Some(branch) => branch.to_owned(),
        // A node that has no mirror of it knows of no default branch.
        None => ctx.parts.mirrors.default_branch(repo).await.unwrap_or_default(),
    };
    key::scopes(&ctx.event, &default)
}

/// Restores what is found; true when it is exactly what was asked for.
async fn find(ctx: &NativeContext, with: &Inputs) -> Result<(NativeDone, bool), String> {
    let all = ["key", "path", "restore-keys", "lookup-only", "fail-on-cache-miss"];
    let inputs = known(ctx, "actions/cache", with, &all, &IGNORED).await?;
    let (lookup_only, must) = (
        flag("lookup-only", inputs.get("lookup-only"))?,
        flag("fail-on-cache-miss", inputs.get("fail-on-cache-miss"))?,
    );
    let keys = key::all(inputs.get("key"), inputs.get("restore-keys")).map_err(|e| e.to_string())?;
    let paths = Paths::parse(inputs.get("path"), &workspace_of(ctx)).map_err(|e| e.to_string())?;
    let (repo, beyond) = repo_of(ctx)?;
    let scopes = scopes(ctx, repo).await;
    let state = ctx.parts.replica.state();
    let found =
        key::find(&state, repo, &scopes, paths.version(), &keys).map(|(entry, hit)| (entry.clone(), hit));
    drop(state);
    let mut done = NativeDone::default();
    done.outputs.insert("cache-primary-key".to_owned(), keys[0].clone());
    let restored = match found {
        None => None,
        Some((entry, hit)) if lookup_only => {
            ctx.lines.say(&format!("Cache found and can be restored from key: {}", entry.key)).await;
            Some((entry, hit))
        }
        Some((entry, hit)) => match bring(ctx, beyond, &entry, paths).await {
            Ok(()) => {
                used(ctx, repo, &entry).await;
                ctx.lines
                    .say(&format!("Cache restored from key: {} ({} bytes)", entry.key, entry.size))
                    .await;
                Some((entry, hit))
            }
            Err(why) => {
                ctx.lines
                    .warn(&format!("the cache {} cannot be had now, as if there were none: {why}", entry.key))
                    .await;
                None
            }
        },
    };
    let Some((entry, hit)) = restored else {
        if must {
            return Err(format!("fail-on-cache-miss: there is no cache for the keys {}", keys.join(", ")));
        }
        ctx.lines.say(&format!("Cache not found for input keys: {}", keys.join(", "))).await;
        done.outputs.insert("cache-hit".to_owned(), String::new());
        return Ok((done, false));
    };
    done.outputs.insert("cache-hit".to_owned(), hit.to_string());
    done.outputs.insert("cache-matched-key".to_owned(), entry.key);
    Ok((done, hit))
}

/// The order in which caches go when there is no more room. Nothing depends on it.
async fn used(ctx: &NativeContext, repo: RepoId, entry: &CacheEntry) {
    let CacheEntry { scope, key, version, .. } = entry.clone();
    let told = ctx.parts.replica.propose(Command::UseCache { repo, scope, key, version });
    if let Ok(Err(error)) = tokio::time::timeout(TOLD_WITHIN, told).await {
        tracing::debug!(%error, "that a cache was used is not known to the cluster");
    }
}

/// Gets a cache's bytes here and takes them apart.
async fn bring(ctx: &NativeContext, beyond: &Beyond, entry: &CacheEntry, paths: Paths) -> Result<(), String> {
    let archive = ctx.parts.obtain(entry.node, entry.digest, entry.size).await?;
    let container = Inside::of(ctx, &paths).await?;
    let home = container.as_ref().map(|inside| inside.home.clone()).unwrap_or_default();
    let (directories, limits, size) = (ctx.directories.clone(), beyond.cache, entry.size);
    let spool = tokio::fs::symlink_metadata(&directories.spool).await.map_err(|e| e.to_string())?;
    let owner = (spool.uid() != rustix::process::geteuid().as_raw()).then(|| (spool.uid(), spool.gid()));
    let writing = ctx.writing.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let _writing = writing;
        std::fs::create_dir_all(&directories.staging)?;
        let mut tar = tempfile::tempfile_in(&directories.staging)?;
        let places = Places {
            workspace: &directories.workspace,
            owner,
            home: &home,
            container: io::BufWriter::new(&mut tar),
        };
        let done = caches::unpack(io::BufReader::new(archive), size, &paths, limits, places);
        let done = done.map_err(io::Error::other)?;
        io::Seek::rewind(&mut tar)?;
        Ok::<_, io::Error>((done, tar))
    });
    let (done, tar) = unpacked.await.map_err(|join| join.to_string())?.map_err(|e| e.to_string())?;
    if done.of_container > 0 {
        let inside = container.ok_or("it has files of a container, and there is none")?;
        let tar = ReaderStream::new(tokio::fs::File::from_std(tar));
        inside.beside(ctx)?.give(&inside.id, tar.boxed()).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Keeps what the paths choose, and tells the cluster.
async fn keep(ctx: &NativeContext, key: &str, paths: Paths) -> Result<(), String> {
    let (repo, beyond) = repo_of(ctx)?;
    if !key::may_keep(&ctx.event) {
        ctx.lines.say("Caches are not saved for commits of those who may not push here.").await;
        return Ok(());
    }
    let (scope, version) = (key::own_scope(&ctx.event), paths.version());
    let same = |entry: &CacheEntry| entry.scope == scope && entry.key == key && entry.version == version;
    let state = ctx.parts.replica.state();
    // One of a node that is lost gives way: nobody can have it.
    let is_there = state.caches_of(repo).any(|(_, entry)| same(entry) && state.can_be_had(entry));
    drop(state);
    if is_there {
        ctx.lines.say(&format!("Cache with the key {key} is there already, not saving.")).await;
        return Ok(());
    }
    let inside = Inside::of(ctx, &paths).await?;
    let (parts, workspace, limits) =
        (Arc::clone(&ctx.parts), ctx.directories.workspace.clone(), beyond.cache);
    let packed = tokio::task::spawn_blocking(move || {
        let blobs = parts.blobs.clone();
        blobs.put_by(|to| pack(to, &parts, (&workspace, inside), &paths, limits).map_err(io::Error::other))
    });
    let (size, digest, kept) = packed.await.map_err(|join| join.to_string())?.map_err(|e| e.to_string())?;
    for line in &kept.left_out {
        ctx.lines.say(&format!("not kept: {line}")).await;
    }
    if kept.left_out_count > kept.left_out.len() as u64 {
        ctx.lines.say(&format!("not kept, in all: {}", kept.left_out_count)).await;
    }
    if kept.entries == 0 {
        return Err("none of its paths is there".to_owned());
    }
    if size > beyond.caches_bytes {
        return Err(format!(
            "it has {size} bytes, a repository's caches have {} at most",
            beyond.caches_bytes
        ));
    }
    let now = Timestamp(0);
    let entry = CacheEntry {
        scope,
        key: key.to_owned(),
        version,
        size,
        digest,
        node: ctx.parts.options.node,
        created_at: now,
        used_at: now,
    };
    let told = ctx.parts.replica.propose(Command::PutCache { repo, entry, most_bytes: beyond.caches_bytes });
    match tokio::time::timeout(TOLD_WITHIN, told).await {
        Err(_) => return Err(format!("the cluster did not take it within {TOLD_WITHIN:?}")),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(Reply::Refused(refusal))) => return Err(refusal.to_string()),
        Ok(Ok(_)) => {}
    }
    ctx.lines.say(&format!("Cache saved with key: {key} ({size} bytes, {} of files)", kept.bytes)).await;
    Ok(())
}

/// Blocking.
fn pack<W: io::Write>(
    to: W,
    parts: &crate::attempt::Parts,
    (workspace, inside): (&std::path::Path, Option<Inside>),
    paths: &Paths,
    limits: caches::Limits,
) -> Result<(W, Kept), caches::Error> {
    let failed = |e: &dyn std::fmt::Display| caches::Error::Io {
        action: "read files of the container".to_owned(),
        source: io::Error::other(e.to_string()),
    };
    let mut archive = Archive::new(to, limits)?;
    archive.add_workspace(workspace, paths)?;
    let runtime = tokio::runtime::Handle::current();
    if let Some(inside) = inside {
        let beside = parts.executor.beside().ok_or_else(|| failed(&NO_CONTAINERS))?;
        for root in [Root::Home, Root::Container] {
            for head in paths.heads(root) {
                let path = inside.path(root, &head);
                let taken = runtime.block_on(beside.take(&inside.id, &path)).map_err(|e| failed(&e))?;
                let Some(tar) = taken else { continue };
                let tar = SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other)));
                archive.add_container(tar, (root, &head), paths)?;
            }
        }
    }
    let (kept, to) = archive.finish()?;
    Ok((to, kept))
}

const NO_CONTAINERS: &str =
    "the jobs of this node are plain processes: only paths in the workspace can be cached";

/// The job's container, as far as caches have something in it.
struct Inside {
    id: ContainerId,
    /// Its home directory, absolute.
    home: String,
}

impl Inside {
    /// None when all paths are in the workspace.
    async fn of(ctx: &NativeContext, paths: &Paths) -> Result<Option<Self>, String> {
        if paths.heads(Root::Home).is_empty() && paths.heads(Root::Container).is_empty() {
            return Ok(None);
        }
        let beside = ctx.parts.executor.beside().ok_or(NO_CONTAINERS)?;
        let found = ctx.parts.container(ctx.attempt, ctx.fence).await.map_err(|e| e.to_string())?;
        let id = found.ok_or("the job's container is gone")?.id;
        let home = home(ctx, beside, &id).await?;
        if !home.starts_with('/') || home.split('/').any(|part| part == "..") {
            return Err(format!("HOME is {home:?}, which is no absolute path"));
        }
        Ok(Some(Self { id, home: home.trim_end_matches('/').to_owned() }))
    }

    fn beside<'a>(&self, ctx: &'a NativeContext) -> Result<&'a dyn Beside, String> {
        ctx.parts.executor.beside().ok_or_else(|| NO_CONTAINERS.to_owned())
    }

    fn path(&self, root: Root, head: &str) -> String {
        match root {
            Root::Home => format!("{}/{head}", self.home),
            _ => format!("/{head}"),
        }
    }
}

/// As the steps see it: what their environment says, else the container's, else what its list of users says.
async fn home(ctx: &NativeContext, beside: &dyn Beside, id: &ContainerId) -> Result<String, String> {
    let said = |env: &[(String, String)]| {
        let home = env.iter().rev().find(|(name, value)| name == "HOME" && !value.is_empty());
        home.map(|(_, value)| value.clone())
    };
    if let Some(home) = said(&ctx.env) {
        return Ok(home);
    }
    let made = beside.made_with(id).await.map_err(|e| e.to_string())?;
    if let Some(home) = said(&made.env) {
        return Ok(home);
    }
    let user = made.user.split(':').next().filter(|user| !user.is_empty()).unwrap_or("0").to_owned();
    let taken = beside.take(id, "/etc/passwd").await.map_err(|e| e.to_string())?;
    let Some(tar) = taken else { return Ok("/root".to_owned()) };
    let read = tokio::task::spawn_blocking(move || {
        let mut tar = tar::Archive::new(SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other))));
        let mut users = String::new();
        if let Some(entry) = tar.entries()?.next() {
            io::Read::read_to_string(&mut io::Read::take(entry?, 1 << 20), &mut users)?;
        }
        Ok::<_, io::Error>(users)
    });
    let users = read.await.map_err(|join| join.to_string())?.map_err(|e| format!("/etc/passwd: {e}"))?;
    Ok(home_of(&users, &user).unwrap_or_else(|| "/root".to_owned()))
}

fn home_of(users: &str, user: &str) -> Option<String> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = fields.filter(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
    own.next()?.get(5).filter(|home| !home.is_empty()).map(|home| (*home).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_home_is_in_the_list_by_name_or_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nno:x:5\n";
        assert_eq!(home_of(users, "0").as_deref(), Some("/root"));
        assert_eq!(home_of(users, "me").as_deref(), Some("/home/me"));
        assert_eq!(home_of(users, "1000").as_deref(), Some("/home/me"));
        assert_eq!(home_of(users, "no"), None);
        assert_eq!(home_of(users, "ghost"), None);
    }
}
