//! Large files of a checkout (Git LFS): what stands for them in the commit's tree is replaced by them.
//!
//! They are kept beside the mirror, by their digests. Must not know workspaces.

mod pointer;
mod server;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use pointer::Object;
use server::{BATCH, Link, Server};
use store::Store;
use tokio_util::sync::CancellationToken;

use super::configured::configured;
use super::git::Git;
use super::{CloneUrl, Error, beginning_of};

/// Files of one checkout.
const MAX_FILES: usize = 20_000;
/// Bytes of them.
const MAX_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Files that are fetched at one time.
const AT_ONCE: usize = 8;
/// Where they are kept, below the mirror.
const OBJECTS: &str = "lfs/objects";
/// The same of those that were had as anybody has them.
const OBJECTS_OF_FORKS: &str = "lfs/objects-of-forks";
/// Files that are named in one command line.
const ARGUMENTS: usize = 200;
/// As `git lfs install --local` has it, but for `process` and `required`, with which git does nothing in an image without git-lfs.
const FILTERS: [(&str, &str); 2] =
    [("filter.lfs.clean", "git-lfs clean -- %f"), ("filter.lfs.smudge", "git-lfs smudge -- %f")];

/// Where the large files of a checkout are had.
#[derive(Debug, Clone)]
pub struct LargeFiles {
    /// Where the repository is fetched from.
    pub url: CloneUrl,
    /// They are had with what that is fetched with, and where `.lfsconfig` says: not for a run whose commits are of somebody who may not
    /// push there, and could name what they may not read. Nor does that run see what others were given.
    pub given: bool,
}

/// Removes those beside a mirror that nobody has asked for in so long.
pub(super) fn remove_old(mirror: &Path, older: Duration) -> io::Result<()> {
    for kept in [OBJECTS, OBJECTS_OF_FORKS] {
        Store::new(mirror.join(kept)).remove_old(older)?;
    }
    Ok(())
}

/// Puts the large files of a commit into its tree, in place of what stands for them; what there is to say of it.
///
/// # Errors
/// [`Error::LargeFiles`] in words, or git's own failure.
pub(super) async fn fill(
    tree: &Path,
    (mirror, commit): (&Path, &str),
    from: &LargeFiles,
    timeout: Duration,
) -> Result<String, Error> {
    let refused = |why: String| Error::LargeFiles { why };
    let git = Git::new(tree, timeout);
    let listed = git.run(&["ls-files", "-z", "--stage", "--", ":(attr:filter=lfs)"]).await?;
    let entries = entries(&String::from_utf8_lossy(&listed));
    let root = tree.to_owned();
    let wanted = tokio::task::spawn_blocking(move || pointers(&root, entries)).await;
    let wanted = wanted.unwrap_or_else(|join| Err(join.to_string())).map_err(refused)?;
    let (files, bytes) = measure(&wanted).map_err(refused)?;
    let mut said = "large files: none".to_owned();
    if !wanted.is_empty() {
        let (url, told, kept) = match from.given {
            true => (from.url.clone(), told(mirror, commit, timeout).await?, OBJECTS),
            false => (from.url.clone().with_nothing(), None, OBJECTS_OF_FORKS),
        };
        let server = Server::of(&url, told.as_deref()).map_err(refused)?;
        let store = Store::new(mirror.join(kept));
        let infos: Vec<String> = wanted.values().flatten().map(Entry::info).collect();
        let fetched = bring(tree, &server, &store, Arc::new(wanted)).await?;
        said = format!("large files: {files}, {bytes} bytes; fetched now: {fetched}");
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

/// How many files they become, and how many bytes.
fn measure(wanted: &Wanted) -> Result<(usize, u64), String> {
    let files: usize = wanted.values().map(Vec::len).sum();
    let sizes = wanted.iter().map(|(object, entries)| object.size.saturating_mul(entries.len() as u64));
    let bytes = sizes.fold(0, u64::saturating_add);
    if files > MAX_FILES || bytes > MAX_BYTES {
        let found = format!("{files} of {bytes} bytes");
        return Err(format!("{found}, the limits are {MAX_FILES} of {MAX_BYTES} bytes"));
    }
    Ok((files, bytes))
}

/// Puts them where they stand, and fetches before what is not kept; how many. What was kept and is spoilt is fetched anew.
async fn bring(tree: &Path, server: &Server, store: &Store, wanted: Arc<Wanted>) -> Result<usize, Error> {
    let refused = |why: String| Error::LargeFiles { why };
    // Whoever waits for this may go away, and a thread does not end with that.
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let (mut fetched, objects) = (0, wanted.keys().cloned().collect::<Vec<_>>());
    for _ in 0..2 {
        fetched += had(server, store, &objects).await.map_err(refused)?;
        let (root, store, wanted, stop) = (tree.to_owned(), store.clone(), wanted.clone(), stop.clone());
        let placed = tokio::task::spawn_blocking(move || place(&root, &store, &wanted, &stop)).await;
        let placed = placed.unwrap_or_else(|join| Err(io::Error::other(join)));
        let failed = |source| Error::Io { action: "put large files into the tree".to_owned(), source };
        if placed.map_err(failed)? {
            return Ok(fetched);
        }
    }
    Err(refused(
        "what this node keeps of them is spoilt, also when it was fetched anew; look at its disk".to_owned(),
    ))
}

/// The address that `.lfsconfig` tells.
async fn told(mirror: &Path, commit: &str, timeout: Duration) -> Result<Option<String>, Error> {
    let entries = configured(mirror, commit, ".lfsconfig", timeout).await;
    let entries = entries?.map_err(|why| Error::LargeFiles { why: format!(".lfsconfig: {why}") })?;
    let of = |key: &str| entries.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    Ok(of("lfs.url").or_else(|| of("remote.origin.lfsurl")))
}

/// What files stand for, and which.
type Wanted = BTreeMap<Object, Vec<Entry>>;

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

/// What files stand for.
fn pointers(tree: &Path, entries: Vec<Entry>) -> Result<Wanted, String> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for entry in entries {
        let path = tree.join(&entry.path);
        let named = |why: String| format!("{}: {why}", beginning_of(&entry.path));
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

/// Fetches those that are not kept yet; how many.
async fn had(server: &Server, store: &Store, wanted: &[Object]) -> Result<usize, String> {
    let (looking, objects) = (store.clone(), wanted.to_vec());
    let missing = tokio::task::spawn_blocking(move || looking.missing(&objects)).await;
    let missing = missing.unwrap_or_else(|join| Err(io::Error::other(join))).map_err(unkept)?;
    for some in missing.chunks(BATCH) {
        let links = server.find(some).await?;
        let loading: Vec<_> =
            some.iter().zip(links).map(|(object, link)| load(server, store, object, link)).collect();
        futures::stream::iter(loading).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    }
    Ok(missing.len())
}

async fn load(server: &Server, store: &Store, object: &Object, link: Link) -> Result<(), String> {
    let file = store.file().map_err(unkept)?;
    server.load(&link, object, file.path()).await?;
    store.keep(object, file).map_err(unkept)
}

fn unkept(error: io::Error) -> String {
    format!("what this node keeps of them: {error}")
}

/// Puts all of them where they stand; false when some that are kept are not what they should be. No container sees the tree, and git has
/// made what is in it: there is no link at these paths.
fn place(tree: &Path, store: &Store, wanted: &Wanted, stop: &CancellationToken) -> io::Result<bool> {
    let mut all = true;
    for (object, entries) in wanted {
        for Entry { path, .. } in entries {
            all &= store.write(object, &tree.join(path), stop)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(paths: usize, size: u64) -> Wanted {
        let entry = |n: usize| Entry { mode: String::new(), blob: String::new(), path: n.to_string() };
        [(Object { oid: "ab".repeat(32), size }, (0..paths).map(entry).collect())].into()
    }

    #[test]
    fn a_large_file_counts_as_often_as_it_is_written() {
        assert_eq!(measure(&at(2, MAX_BYTES / 2)), Ok((2, MAX_BYTES)));
        for (paths, size) in [(3, MAX_BYTES / 2), (2, u64::MAX), (MAX_FILES + 1, 0)] {
            let why = measure(&at(paths, size)).err().unwrap_or_default();
            assert!(why.contains("the limits are"), "{paths} {size}: {why}");
        }
    }

    #[test]
    fn nothing_is_written_for_those_who_do_not_wait_any_more() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (store, stop) = (Store::new(dir.path().join("store")), CancellationToken::new());
        let wanted = at(1, 0);
        for object in wanted.keys() {
            assert_eq!(store.missing(std::slice::from_ref(object))?.len(), 1);
            store.keep(object, store.file()?)?;
        }
        fs::write(dir.path().join("0"), "what stands for it")?;
        stop.cancel();
        let stopped = place(dir.path(), &store, &wanted, &stop);
        assert!(stopped.is_err_and(|error| error.to_string().contains("nobody waits")));
        Ok(())
    }
}
