//! `troupe artifacts`: what an attempt kept, listed or brought here.
//!
//! Nothing is ever written outside the folder that was given, whatever the server says; a file appears under its name
//! only when it is whole.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use domain::AttemptId;
use futures::StreamExt;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::client::escaped;
use super::target::{self, Target};
use super::{Client, Failure, runs, table};
use crate::api::dto::ArtifactView;
use crate::api::page::Page;

/// `troupe artifacts`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A job as RUN.INDEX, or a run: for the list, all its jobs; to download, the one that kept something.
    target: Target,
    /// Those of this attempt; the latest when none is named.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    attempt: Option<u16>,
    /// Brings them into this folder, which is made when it is not there.
    #[arg(long, value_name = "DIR")]
    download: Option<PathBuf>,
    /// Overwrites files that are there.
    #[arg(long, requires = "download")]
    force: bool,
    /// Only these paths; of what has a name, NAME/PATH.
    #[arg(value_name = "PATH", requires = "download")]
    paths: Vec<String>,
}

/// An attempt and what it kept.
type Kept = (AttemptId, Vec<ArtifactView>);

/// Runs the command; the answer is the exit code.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, args: &Args, json: bool) -> Result<u8, Failure> {
    let run = runs::fetch(client, args.target.run()).await?;
    let jobs = args.target.jobs(&run)?;
    if args.attempt.is_some() {
        args.target.job(&run)?;
    }
    let mut all = Vec::<Kept>::new();
    for (id, job) in &jobs {
        let attempt = match target::attempt(*id, job, args.attempt) {
            // A job that was never placed is no reason to keep back what the others kept.
            Err(_) if jobs.len() > 1 => continue,
            attempt => attempt?,
        };
        all.push((attempt, of(client, attempt).await?));
    }
    if all.iter().all(|(_, artifacts)| artifacts.is_empty()) && args.paths.is_empty() {
        table::say("no artifacts");
    }
    let Some(dir) = &args.download else { return list(&all, json) };
    // Files of several jobs could have the same names.
    if jobs.len() > 1 {
        all.retain(|(_, artifacts)| !artifacts.is_empty());
    }
    match <[Kept; 1]>::try_from(all) {
        Ok([(attempt, artifacts)]) => download(client, args, dir, attempt, artifacts, json).await,
        Err(none) if none.is_empty() && args.paths.is_empty() => Ok(0),
        Err(_) => Err(Failure::SeveralJobs { run: args.target.run(), count: jobs.len() }),
    }
}

fn list(all: &[Kept], json: bool) -> Result<u8, Failure> {
    let each = || all.iter().flat_map(|(attempt, artifacts)| artifacts.iter().map(move |one| (attempt, one)));
    if json {
        let item = |(attempt, one): (&AttemptId, &ArtifactView)| json!({ "attempt": attempt.to_string(), "name": one.name, "path": one.path, "size": one.size, "sha256": one.sha256 });
        table::pretty(&json!({ "items": each().map(item).collect::<Vec<_>>(), "next": null }))?;
    } else if each().next().is_some() {
        let row = |(attempt, one): (&AttemptId, &ArtifactView)| {
            vec![
                attempt.job.to_string(),
                one.name.clone(),
                one.path.clone(),
                one.size.to_string(),
                one.sha256.clone(),
            ]
        };
        table::table(&["job", "name", "path", "size", "sha256"], each().map(row))?;
    }
    Ok(0)
}

async fn download(
    client: &Client,
    args: &Args,
    dir: &Path,
    attempt: AttemptId,
    artifacts: Vec<ArtifactView>,
    json: bool,
) -> Result<u8, Failure> {
    let wanted = wanted(artifacts, &args.paths, attempt)?;
    let wanted = wanted.into_iter().map(|artifact| (place_of(&artifact), artifact)).collect();
    bring(client, (dir, args.force), attempt, wanted, |artifact, place| {
        if json {
            return table::line(
                &json!({ "name": artifact.name, "path": artifact.path, "file": place, "size": artifact.size }),
            );
        }
        table::print(&place.display().to_string())
    })
    .await?;
    Ok(0)
}

/// Brings artifacts of an attempt into a folder, which is made when it is not there, each to its place in it, and tells of each; what is
/// there already is overwritten when `force` says so.
///
/// # Errors
/// [`Failure`]; nothing is written outside the folder, and nothing that is not what was kept.
pub async fn bring(
    client: &Client,
    (dir, force): (&Path, bool),
    attempt: AttemptId,
    wanted: Vec<(String, ArtifactView)>,
    mut tell: impl FnMut(&ArtifactView, &Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let in_dir = |source| Failure::Folder { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(in_dir)?;
    let folder = Folder { path: dir, force };
    // Whatever stops one is found before the first is fetched.
    let places = wanted.iter().map(|(place, _)| folder.place(place)).collect::<Result<Vec<_>, _>>()?;
    for ((name, artifact), place) in wanted.iter().zip(&places) {
        let file = fetch(client, attempt, artifact, dir).await?;
        folder.put(file, name, place)?;
        tell(artifact, place)?;
    }
    Ok(())
}

/// What an attempt kept.
///
/// # Errors
/// [`Failure`].
pub async fn of(client: &Client, attempt: AttemptId) -> Result<Vec<ArtifactView>, Failure> {
    let page: Page<ArtifactView> = client.get(&target::path(attempt, "/artifacts")).await?;
    Ok(page.items)
}

/// Where it goes in the folder: what has a name goes into a folder of that name.
fn place_of(artifact: &ArtifactView) -> String {
    match artifact.name.as_str() {
        "" => artifact.path.clone(),
        name => format!("{name}/{}", artifact.path),
    }
}

/// All, or those of the paths that are named.
fn wanted(
    all: Vec<ArtifactView>,
    paths: &[String],
    attempt: AttemptId,
) -> Result<Vec<ArtifactView>, Failure> {
    if paths.is_empty() {
        return Ok(all);
    }
    let one = |path: &String| {
        let found = all.iter().find(|artifact| place_of(artifact) == *path).cloned();
        found.ok_or_else(|| Failure::NoArtifact { attempt, path: path.clone() })
    };
    paths.iter().map(one).collect()
}

/// Brings one into a temporary file of the folder, and checks that it is what was kept.
async fn fetch(
    client: &Client,
    attempt: AttemptId,
    artifact: &ArtifactView,
    dir: &Path,
) -> Result<NamedTempFile, Failure> {
    let parts: Vec<_> = artifact.path.split('/').map(escaped).collect();
    let path = target::path(attempt, &format!("/artifacts/{}", parts.join("/")));
    let named = (!artifact.name.is_empty()).then_some([("name", &artifact.name)]);
    let response = client.send(Method::GET, &path, |request| request.query(&named)).await?;
    // Readable by whom the umask says, as any file made by a command.
    let mut file = tempfile::Builder::new()
        .prefix(".troupe-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(|source| Failure::Folder { path: dir.to_owned(), source })?;
    let corrupt = |what: String| Failure::Corrupt { path: artifact.path.clone(), what };
    let (mut digest, mut size, mut stream) = (Sha256::new(), 0_u64, response.bytes_stream());
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| client.broken(&error))?;
        size += bytes.len() as u64;
        if size > artifact.size {
            return Err(corrupt(format!("it has more than {} bytes", artifact.size)));
        }
        digest.update(&bytes);
        file.write_all(&bytes)?;
    }
    if size != artifact.size {
        return Err(corrupt(format!("it has {size} bytes instead of {}", artifact.size)));
    }
    let found = hex::encode(digest.finalize());
    if found != artifact.sha256 {
        return Err(corrupt(format!("its SHA-256 is {found} instead of {}", artifact.sha256)));
    }
    Ok(file)
}

/// Where files go.
struct Folder<'a> {
    path: &'a Path,
    force: bool,
}

impl Folder<'_> {
    /// Where an artifact goes: always below the folder, and through no link that leads out of it.
    fn place(&self, artifact: &str) -> Result<PathBuf, Failure> {
        let refuse = |why| Failure::UnsafePath { path: artifact.to_owned(), why };
        let parts: Vec<&str> = artifact.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || matches!(*part, "." | "..") || part.contains('\0')) {
            return Err(refuse("it is not a plain relative path"));
        }
        let mut place = self.path.to_owned();
        for (at, part) in parts.iter().enumerate() {
            place.push(part);
            let last = at + 1 == parts.len();
            match std::fs::symlink_metadata(&place) {
                Ok(found) if !last && !found.is_dir() => {
                    return Err(refuse("a part of it is there already, and is not a folder"));
                }
                Ok(found) if last && found.is_dir() => return Err(refuse("a folder is there already")),
                Ok(_) if last && !self.force => return Err(Failure::Exists { path: place }),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(place)
    }

    /// Gives a whole file its name.
    fn put(&self, file: NamedTempFile, artifact: &str, place: &Path) -> Result<(), Failure> {
        // Looked at again: the last one that was written may have made a folder or a file of this name.
        self.place(artifact)?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|source| Failure::Folder { path: parent.to_owned(), source })?;
        }
        let named = if self.force { file.persist(place) } else { file.persist_noclobber(place) };
        match named {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::Exists { path: place.to_owned() })
            }
            Err(error) => Err(error.error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_have_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { path: dir.path(), force: true };
        for path in ["../x", "a/../../x", "/etc/x", "a//x", "", ".", "./x", "a/.", "a/", "x\0y"] {
            let refused = folder.place(path);
            assert!(matches!(refused, Err(Failure::UnsafePath { .. })), "{path:?}: {refused:?}");
        }
        for path in ["x", "a/b/c", "..x", "a/...", "a\\..\\b"] {
            assert_eq!(folder.place(path).unwrap(), dir.path().join(path));
        }
    }

    #[test]
    fn a_link_in_the_folder_is_not_followed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        let folder = Folder { path: dir.path(), force: true };
        assert!(matches!(folder.place("out/x"), Err(Failure::UnsafePath { .. })));
        // The link itself may be replaced by a file: that writes in the folder.
        let mut file = NamedTempFile::new_in(dir.path()).unwrap();
        file.write_all(b"new").unwrap();
        let place = folder.place("out").unwrap();
        folder.put(file, "out", &place).unwrap();
        assert_eq!(std::fs::read(dir.path().join("out")).unwrap(), b"new");
        assert!(outside.path().read_dir().unwrap().next().is_none());
    }

    #[test]
    fn what_is_there_stays_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "old").unwrap();
        let folder = Folder { path: dir.path(), force: false };
        assert!(matches!(folder.place("x"), Err(Failure::Exists { .. })));
        assert!(matches!(folder.place("x/y"), Err(Failure::UnsafePath { .. })));
        assert!(Folder { force: true, ..folder }.place("x").is_ok());
    }
}
