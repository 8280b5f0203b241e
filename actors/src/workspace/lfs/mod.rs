//! Large files of a checkout (Git LFS): what stands for them in the commit's tree is replaced by them.
//!
//! They are kept beside the mirror, by their digests. Must not know workspaces.

mod pointer;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use pointer::Object;
use server::{BATCH, Link, Server};

use super::configured::configured;
use super::git::Git;
use super::{CloneUrl, Error, remove_old_files};

/// Files of one checkout.
const MAX_OBJECTS: usize = 20_000;
/// Bytes of them.
const MAX_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Files that are fetched at one time.
const AT_ONCE: usize = 8;
/// A file that is still coming after so long is one that a process left behind when it was killed.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);
/// Files that are named in one command line.
const ARGUMENTS: usize = 200;
/// As `git lfs install --local` has it, but for `process` and `required`, with which git does nothing in an image without git-lfs.
const FILTERS: [(&str, &str); 2] =
    [("filter.lfs.clean", "git-lfs clean -- %f"), ("filter.lfs.smudge", "git-lfs smudge -- %f")];

/// Puts the large files of a commit into its tree, in place of what stands for them; what there is to say of it.
///
/// # Errors
/// [`Error::LargeFiles`] in words, or git's own failure.
pub(super) async fn fill(
    tree: &Path,
    (mirror, commit): (&Path, &str),
    url: &CloneUrl,
    timeout: Duration,
) -> Result<String, Error> {
    let refused = |why: String| Error::LargeFiles { why };
    let git = Git::new(tree, timeout);
    let listed = git.run(&["ls-files", "-z", "--stage", "--", ":(attr:filter=lfs)"]).await?;
    let entries = entries(&String::from_utf8_lossy(&listed));
    let root = tree.to_owned();
    let wanted = tokio::task::spawn_blocking(move || pointers(&root, entries)).await;
    let wanted = wanted.unwrap_or_else(|join| Err(join.to_string())).map_err(refused)?;
    let bytes: u64 = wanted.keys().map(|object| object.size).fold(0, u64::saturating_add);
    if wanted.len() > MAX_OBJECTS || bytes > MAX_BYTES {
        let found = format!("{} of {bytes} bytes", wanted.len());
        return Err(refused(format!("{found}, the limits are {MAX_OBJECTS} of {MAX_BYTES} bytes")));
    }
    let mut said = "large files: none".to_owned();
    if !wanted.is_empty() {
        let server = Server::of(url, told(mirror, commit, timeout).await?.as_deref()).map_err(refused)?;
        let store = mirror.join("lfs/objects");
        said = format!("large files: {}, {bytes} bytes; fetched now: ", wanted.len());
        said += &had(&server, &store, wanted.keys()).await.map_err(refused)?.to_string();
        let infos: Vec<String> = wanted.values().flatten().map(Entry::info).collect();
        let root = tree.to_owned();
        let placed = tokio::task::spawn_blocking(move || place(&root, &store, &wanted)).await;
        let placed = placed.unwrap_or_else(|join| Err(io::Error::other(join)));
        placed.map_err(|source| Error::Io { action: "put large files into the tree".to_owned(), source })?;
        // The index knows the sizes of what stood there, by which git would take each for changed without looking into it.
        for some in infos.chunks(ARGUMENTS) {
            let forget = some.iter().flat_map(|info| ["--cacheinfo", info]);
            let args: Vec<&str> = ["update-index"].into_iter().chain(forget).collect();
            git.run(&args).await?;
        }
    }
    for (key, value) in FILTERS {
        git.run(&["config", key, value]).await?;
    }
    Ok(said)
}

/// The address that `.lfsconfig` tells.
async fn told(mirror: &Path, commit: &str, timeout: Duration) -> Result<Option<String>, Error> {
    let entries = configured(mirror, commit, ".lfsconfig", timeout).await;
    let entries = entries?.map_err(|why| Error::LargeFiles { why: format!(".lfsconfig: {why}") })?;
    let of = |key: &str| entries.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    Ok(of("lfs.url").or_else(|| of("remote.origin.lfsurl")))
}

/// A file of the commit.
struct Entry {
    mode: String,
    blob: String,
    path: String,
}

impl Entry {
    /// As `git update-index` takes it.
    fn info(&self) -> String {
        format!("{},{},{}", self.mode, self.blob, self.path)
    }
}

/// The regular files in the output of `ls-files --stage`: `MODE BLOB STAGE<tab>PATH`.
fn entries(listed: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (facts, path) = line.split_once('\t')?;
        let mut facts = facts.split(' ').map(str::to_owned);
        let (mode, blob) = (facts.next()?, facts.next()?);
        mode.starts_with("100").then(|| Entry { mode, blob, path: path.to_owned() })
    };
    listed.split_terminator('\0').filter_map(entry).collect()
}

/// What files stand for, and which.
fn pointers(tree: &Path, entries: Vec<Entry>) -> Result<BTreeMap<Object, Vec<Entry>>, String> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for entry in entries {
        let path = tree.join(&entry.path);
        let named = |why: String| format!("{}: {why}", entry.path);
        match fs::symlink_metadata(&path) {
            // Not of the files that are wanted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(named(error.to_string())),
            Ok(found) if !found.is_file() || found.len() > pointer::MAX_BYTES => continue,
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(|error| named(error.to_string()))?;
        if let Some(object) = Object::read(&bytes).map_err(named)? {
            all.entry(object).or_default().push(entry);
        }
    }
    Ok(all)
}

fn kept_at(store: &Path, object: &Object) -> PathBuf {
    store.join(&object.oid[..2]).join(&object.oid[2..4]).join(&object.oid)
}

/// Fetches those that are not kept yet; how many.
async fn had(server: &Server, store: &Path, wanted: impl Iterator<Item = &Object>) -> Result<usize, String> {
    let io = |error: io::Error| format!("{}: {error}", store.display());
    tokio::fs::create_dir_all(store).await.map_err(io)?;
    let mut missing = Vec::new();
    for object in wanted {
        if !tokio::fs::try_exists(kept_at(store, object)).await.map_err(io)? {
            missing.push(object.clone());
        }
    }
    let left = store.to_owned();
    let removed = tokio::task::spawn_blocking(move || remove_old_files(&left, LEFT_OVER)).await;
    removed.unwrap_or_else(|join| Err(io::Error::other(join))).map_err(io)?;
    for some in missing.chunks(BATCH) {
        let links = server.find(some).await?;
        let loading: Vec<_> =
            some.iter().zip(links).map(|(object, link)| load(server, store, object, link)).collect();
        futures::stream::iter(loading).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    }
    Ok(missing.len())
}

async fn load(server: &Server, store: &Path, object: &Object, link: Link) -> Result<(), String> {
    let io = |error: io::Error| format!("{}: {error}", store.display());
    // Gone when it does not become the object.
    let file = tempfile::NamedTempFile::new_in(store).map_err(io)?;
    server.load(&link, object, file.path()).await?;
    let at = kept_at(store, object);
    tokio::fs::create_dir_all(at.parent().unwrap_or(store)).await.map_err(io)?;
    file.persist(at).map(drop).map_err(|error| io(error.error))
}

/// No container sees the tree, and git has made what is in it: there is no link at these paths.
fn place(tree: &Path, store: &Path, wanted: &BTreeMap<Object, Vec<Entry>>) -> io::Result<()> {
    for (object, entries) in wanted {
        for Entry { path, .. } in entries {
            let mut to = fs::OpenOptions::new().write(true).truncate(true).open(tree.join(path))?;
            io::copy(&mut fs::File::open(kept_at(store, object))?, &mut to)?;
        }
    }
    Ok(())
}
