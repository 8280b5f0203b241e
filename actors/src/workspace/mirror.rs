//! One bare mirror per repository on each node, fetched incrementally; the source of all its workspaces.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use domain::{CloneAs, Repo, RepoId, Sealed};
use sha2::{Digest, Sha256};

use super::clone_url::Credentials;
use super::git::Git;
use super::reach::{self, Reach};
use super::{CloneUrl, Error, check_ref, lfs};
use crate::addresses::Trust;
use crate::vault::{Purpose, Vault};

/// Largest workflow file that is read, in bytes.
pub const MAX_WORKFLOW_BYTES: u64 = 1024 * 1024;
/// Most workflow files of one commit.
pub const MAX_WORKFLOW_FILES: usize = 100;

/// What the name of the directory ends with that has the mirrors of a repository's submodules.
const SUBMODULES: &str = ".submodules";
/// A submodule's mirror, or a large file, that was not asked for in so long is removed.
const UNUSED: Duration = Duration::from_secs(14 * 24 * 3600);

const WORKFLOW_DIRECTORIES: [&str; 4] =
    [".troupe/workflows", ".forgejo/workflows", ".gitea/workflows", ".github/workflows"];

/// A repository and a point in it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Which repository.
    pub repo: RepoId,
    /// Where it is fetched from.
    pub url: CloneUrl,
    /// The event's full ref (`refs/heads/main`), or the name of a branch or tag. May be empty: beside a commit nothing is known
    /// of where it stands, and without one the default branch is meant.
    pub git_ref: String,
    /// The commit; empty when it is to be found from `git_ref`.
    pub commit: String,
}

/// A point of a repository that the mirror has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The source's ref; in full when the source named a branch or tag.
    pub git_ref: String,
    /// The commit's id.
    pub commit: String,
}

/// The mirrors of this node, below one directory.
#[derive(Debug, Clone)]
pub struct Mirrors {
    root: PathBuf,
    pub(super) fetch_timeout: Duration,
    vault: Vault,
    // One fetch at a time per repository and one for its submodules; others wait for it and mostly find what they need.
    busy: Arc<Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Mirrors {
    /// Mirrors below `root`, which is made when needed. A fetch may take `fetch_timeout`.
    #[must_use]
    pub fn new(root: PathBuf, fetch_timeout: Duration) -> Self {
        Self { root, fetch_timeout, vault: Vault::default(), busy: Arc::default() }
    }

    /// The same mirrors, with the keys that open the credentials of repositories.
    #[must_use]
    pub fn with_vault(self, vault: Vault) -> Self {
        Self { vault, ..self }
    }

    /// The keys that open the credentials of repositories.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Where a repository is fetched from, with what it is fetched with.
    ///
    /// # Errors
    /// In words, for people: what cannot be fetched from, or opened, or not be sent there. Never shows a credential.
    pub fn url_of(&self, repo: &Repo) -> Result<CloneUrl, String> {
        let url = CloneUrl::parse(&repo.clone_url).map_err(|error| format!("the clone URL: {error}"))?;
        let open = |sealed: &Sealed| {
            let opened = self.vault.open(repo.name.as_str(), Purpose::Fetching, &sealed.0);
            opened.map_err(|error| format!("what {} is fetched with: {error}", repo.name))
        };
        let url = match &repo.access.clone {
            CloneAs::Nobody => Ok(url),
            CloneAs::Token(token) => url.with_token(&open(token)?),
            CloneAs::Key(key) => url.with_key(&open(key)?),
        };
        url.map_err(|error| format!("what {} is fetched with: {error}", repo.name))
    }

    /// The mirror's directory, mounted read-only beside workspaces that share its objects.
    #[must_use]
    pub fn dir(&self, repo: RepoId) -> PathBuf {
        self.root.join(repo.to_string())
    }

    /// Makes sure that the mirror has the source's commit, fetching only when it has not. Where a branch and a
    /// tag have the same name, the branch is meant, as `actions/checkout` has it. A commit may be given by its beginning (12
    /// digits are what Bitbucket Cloud tells); the answer has all of it.
    ///
    /// # Errors
    /// [`Error::BadRef`], [`Error::NoSuchCommit`], or git's own failure (a server that is down among them).
    pub async fn ensure(&self, source: &Source) -> Result<Point, Error> {
        for text in [&source.git_ref, &source.commit] {
            if !text.is_empty() {
                check_ref(text)?;
            }
        }
        if !source.commit.is_empty() && !is_commit_id(&source.commit) && !is_beginning(&source.commit) {
            return Err(Error::BadRef { found: source.commit.clone() });
        }
        let dir = self.dir(source.repo);
        let lock = self.lock(&dir);
        let _one_at_a_time = lock.lock().await;
        self.bring(&dir, source, Trust::Registered).await
    }

    /// The mirror of a submodule's repository, which has this commit. It is the superproject's own: nobody else sees what was
    /// fetched with what that is fetched with, nor do its own runs that may not.
    ///
    /// # Errors
    /// As [`Mirrors::ensure`].
    pub(super) async fn ensure_submodule(
        &self,
        of: RepoId,
        (url, trust): (CloneUrl, Trust),
        commit: &str,
    ) -> Result<PathBuf, Error> {
        let all = self.submodules(of);
        let given = if *url.credentials() == Credentials::Nobody { "as nobody" } else { "as given" };
        let name = hex::encode(Sha256::digest(format!("{given} {}", url.redacted())));
        let dir = all.join(&name[..40]);
        let lock = self.lock(&all);
        let _one_at_a_time = lock.lock().await;
        let source = Source { repo: of, url, git_ref: String::new(), commit: commit.to_owned() };
        self.bring(&dir, &source, trust).await?;
        let used =
            std::fs::File::open(dir.join("HEAD")).and_then(|head| head.set_modified(SystemTime::now()));
        used.map_err(|source| Error::Io { action: "mark a mirror as used".to_owned(), source })?;
        Ok(dir)
    }

    async fn bring(&self, dir: &Path, source: &Source, trust: Trust) -> Result<Point, Error> {
        self.init(dir).await?;
        let point = |commit| Point { git_ref: source.git_ref.clone(), commit };
        if !source.commit.is_empty()
            && let Some(commit) = self.resolve(dir, &source.commit).await
        {
            return Ok(point(commit));
        }
        self.fetch(dir, source, trust).await?;
        let found = match (source.commit.as_str(), source.git_ref.as_str()) {
            ("", "") => self.find(dir, &self.default_branch(source.repo).await?).await,
            ("", git_ref) => self.find(dir, git_ref).await,
            (commit, _) => self.resolve(dir, commit).await.map(point),
        };
        let wanted = [&source.commit, &source.git_ref].into_iter().find(|text| !text.is_empty());
        found.ok_or_else(|| Error::NoSuchCommit {
            wanted: wanted.map_or_else(|| "the default branch".to_owned(), String::clone),
            url: source.url.redacted(),
        })
    }

    /// The branch that the server's `HEAD` stood at when the mirror was last fetched, in full (`refs/heads/main`).
    ///
    /// # Errors
    /// The mirror cannot be read: [`Mirrors::ensure`] makes it.
    pub async fn default_branch(&self, repo: RepoId) -> Result<String, Error> {
        let dir = self.dir(repo);
        let head = Git::new(&dir, self.fetch_timeout).run(&["symbolic-ref", "HEAD"]).await?;
        Ok(String::from_utf8_lossy(&head).trim().to_owned())
    }

    /// Where a full ref, or a branch or tag of this name, points.
    async fn find(&self, dir: &Path, name: &str) -> Option<Point> {
        let full = if name.starts_with("refs/") {
            vec![name.to_owned()]
        } else {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        };
        for git_ref in full {
            if let Some(commit) = self.resolve(dir, &git_ref).await {
                return Some(Point { git_ref, commit });
            }
        }
        None
    }

    /// The workflow files at a commit that [`Mirrors::ensure`] has fetched: `(path, bytes)` in order of their names,
    /// from the first of the four workflow directories that exists. One of more than [`MAX_WORKFLOW_BYTES`] is not read: blanks
    /// stand for it, one more than are allowed, so that it is refused as every bad file is and keeps nobody from the others.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past [`MAX_WORKFLOW_FILES`].
    pub async fn read_workflows(&self, repo: RepoId, commit: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let dir = self.dir(repo);
        let git = Git::new(&dir, self.fetch_timeout);
        for folder in WORKFLOW_DIRECTORIES {
            let listing =
                git.run(&["ls-tree", "-z", "-l", "--full-tree", commit, &format!("{folder}/")]).await?;
            let files = workflow_files(&String::from_utf8_lossy(&listing));
            if files.len() > MAX_WORKFLOW_FILES {
                let why = format!("{} workflow files, the limit is {MAX_WORKFLOW_FILES}", files.len());
                return Err(Error::TooLarge { path: folder.to_owned(), why });
            }
            let mut read = Vec::with_capacity(files.len());
            for (path, object, size) in files {
                let bytes = match size > MAX_WORKFLOW_BYTES {
                    true => vec![b' '; MAX_WORKFLOW_BYTES as usize + 1],
                    false => git.run(&["cat-file", "blob", &object]).await?,
                };
                read.push((path, bytes));
            }
            if !listing.is_empty() {
                return Ok(read);
            }
        }
        Ok(Vec::new())
    }

    /// The message of a commit that [`Mirrors::ensure`] has fetched, all of it.
    ///
    /// # Errors
    /// Git's failure.
    pub async fn message(&self, repo: RepoId, commit: &str) -> Result<String, Error> {
        let dir = self.dir(repo);
        let whole = Git::new(&dir, self.fetch_timeout).run(&["cat-file", "commit", commit]).await?;
        let whole = String::from_utf8_lossy(&whole);
        Ok(whole.split_once("\n\n").map_or_else(String::new, |(_, message)| message.to_owned()))
    }

    /// A file at a commit that [`Mirrors::ensure`] has fetched, by its path; none when there is none of that name, or it is larger
    /// than a workflow may be.
    ///
    /// # Errors
    /// Git's failure.
    pub async fn read_file(&self, repo: RepoId, commit: &str, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let dir = self.dir(repo);
        let git = Git::new(&dir, self.fetch_timeout);
        let listing = git.run(&["ls-tree", "-z", "-l", "--full-tree", commit, "--", path]).await?;
        let listing = String::from_utf8_lossy(&listing);
        // `MODE TYPE OBJECT SIZE<tab>PATH`
        let Some((facts, _)) = listing.trim_end_matches('\0').split_once('\t') else { return Ok(None) };
        let facts: Vec<_> = facts.split_whitespace().collect();
        match facts.as_slice() {
            [_, "blob", object, size] if size.parse().is_ok_and(|size: u64| size <= MAX_WORKFLOW_BYTES) => {
                Ok(Some(git.run(&["cat-file", "blob", object]).await?))
            }
            _ => Ok(None),
        }
    }

    /// Removes mirrors of repositories that are not in use, and are not just fetched; answers whose. Of the others goes what nobody asked
    /// for in a long time: mirrors of submodules, and large files.
    ///
    /// # Errors
    /// That the mirrors cannot be listed, or one of them cannot be removed.
    pub async fn forget(&self, used: impl Fn(RepoId) -> bool) -> io::Result<Vec<RepoId>> {
        let mut entries = match tokio::fs::read_dir(&self.root).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut forgotten = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let (name, dir) = (entry.file_name(), entry.path());
            let Some(name) = name.to_str() else { continue };
            let (name, is_own) = name.strip_suffix(SUBMODULES).map_or((name, true), |name| (name, false));
            let Ok(repo) = name.parse() else { continue };
            let is_used = used(repo);
            let Ok(_nobody_fetches) = self.lock(&dir).try_lock_owned() else { continue };
            let removed = tokio::task::spawn_blocking(move || match (is_used, is_own) {
                (true, true) => lfs::remove_old(&dir, UNUSED),
                (true, false) => remove_old(&dir),
                (false, _) => crate::tree::remove_tree(&dir),
            });
            removed.await.unwrap_or_else(|join| Err(io::Error::other(join)))?;
            forgotten.extend((is_own && !is_used).then_some(repo));
        }
        reach::forget_old_keys(&self.root, self.fetch_timeout.saturating_mul(4))?;
        Ok(forgotten)
    }

    fn lock(&self, dir: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(busy.entry(dir.to_owned()).or_default())
    }

    /// The mirrors of a repository's submodules.
    fn submodules(&self, of: RepoId) -> PathBuf {
        self.root.join(format!("{of}{SUBMODULES}"))
    }

    async fn init(&self, dir: &Path) -> Result<(), Error> {
        if !dir.join("HEAD").exists() {
            let io = |source| Error::Io {
                action: format!("make the mirror's directory {}", dir.display()),
                source,
            };
            tokio::fs::create_dir_all(dir).await.map_err(io)?;
            Git::new(dir, self.fetch_timeout).run(&["init", "--quiet", "--bare", "."]).await?;
        }
        Ok(())
    }

    async fn fetch(&self, dir: &Path, source: &Source, trust: Trust) -> Result<(), Error> {
        let reach = Reach::open(&source.url, trust, (&self.root, dir)).await?;
        let url = reach.url.clone();
        let git = Git::new(dir, self.fetch_timeout).asking(&reach);
        let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let args = [
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-recurse-submodules",
            "--end-of-options",
            &url,
            all[0],
            all[1],
        ];
        git.run(&args).await?;
        self.follow_head(dir, &git, &url).await?;
        let beside = |refspec: String| {
            let args = [
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
                "--end-of-options",
                &url,
                &refspec,
            ]
            .map(str::to_owned);
            let git = &git;
            async move {
                if let Err(error) = git.run(&args).await {
                    tracing::debug!(%error, "what is neither of a branch nor of a tag cannot be fetched");
                }
            }
        };
        // A pull request's head, which is under no branch here.
        let elsewhere = ["refs/heads/", "refs/tags/"].iter().all(|known| !source.git_ref.starts_with(known));
        if source.git_ref.starts_with("refs/") && elsewhere {
            beside(format!("+{0}:{0}", source.git_ref)).await;
        }
        // A forced push may have moved the branch on before we came: ask for the commit by its id.
        if is_commit_id(&source.commit) && self.resolve(dir, &source.commit).await.is_none() {
            beside(format!("{0}:refs/troupe/{0}", source.commit)).await;
        }
        Ok(())
    }

    /// The mirror's `HEAD` stands where the server's does. A server that does not say leaves it as it is.
    async fn follow_head(&self, dir: &Path, git: &Git<'_>, url: &str) -> Result<(), Error> {
        let said = git.run(&["ls-remote", "--symref", "--end-of-options", url, "HEAD"]).await?;
        let said = String::from_utf8_lossy(&said);
        let head = said.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        if let Some(head) = head.filter(|head| head.starts_with("refs/heads/") && check_ref(head).is_ok()) {
            Git::new(dir, self.fetch_timeout).run(&["symbolic-ref", "HEAD", head]).await?;
        }
        Ok(())
    }

    pub(super) async fn resolve(&self, dir: &Path, name: &str) -> Option<String> {
        let peeled = format!("{name}^{{commit}}");
        let git = Git::new(dir, self.fetch_timeout);
        let found = git.run(&["rev-parse", "--quiet", "--verify", "--end-of-options", &peeled]).await.ok()?;
        let id = String::from_utf8_lossy(&found).trim().to_owned();
        is_commit_id(&id).then_some(id)
    }
}

/// Removes what nobody has asked for in a long time.
fn remove_old(mirrors: &Path) -> io::Result<()> {
    let too_old = SystemTime::now().checked_sub(UNUSED);
    for entry in std::fs::read_dir(mirrors)? {
        let dir = entry?.path();
        let used = match std::fs::metadata(dir.join("HEAD")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            metadata => Some(metadata?.modified()?),
        };
        // One without a HEAD was never whole.
        if used.is_none_or(|used| too_old.is_some_and(|limit| used < limit)) {
            crate::tree::remove_tree(&dir)?;
        }
    }
    Ok(())
}

pub(super) fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The beginning of a commit's id, long enough to be one's alone.
fn is_beginning(text: &str) -> bool {
    (12..40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// `(path, object id, size)` of the regular YAML files in the output of `ls-tree -z -l`.
fn workflow_files(listing: &str) -> Vec<(String, String, u64)> {
    listing
        .split('\0')
        .filter_map(|record| {
            let (meta, path) = record.split_once('\t')?;
            let mut fields = meta.split_ascii_whitespace();
            let (mode, _kind, object, size) =
                (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let yaml = path.ends_with(".yml") || path.ends_with(".yaml");
            (yaml && mode.starts_with("100")).then_some((
                path.to_owned(),
                object.to_owned(),
                size.parse().ok()?,
            ))
        })
        .collect()
}
