//! What a checkout brings beside the files of its commit, from real servers: submodules, large files, tags (bad-input rows 21 to 25).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use actors::workspace::{Checkout, CloneUrl, LargeFiles, Mirrors, Source, Sparse, Submodules, checkout};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::RepoId;
use fixtures::{GitServer, PrivateGit, Result, SshGit, git};

const REPO: RepoId = RepoId(7);
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that checks out.
struct Node {
    dir: tempfile::TempDir,
    mirrors: Mirrors,
}

impl Node {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("workspace"))?;
        let mirrors = Mirrors::new(dir.path().join("mirrors"), PATIENCE);
        Ok(Self { dir, mirrors })
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.workspace().join(path)).ok()
    }

    /// All of a commit, of depth 1; what it is to be beside that is said by `change`.
    async fn checkout(
        &self,
        url: &CloneUrl,
        commit: &str,
        change: impl FnOnce(&mut Checkout),
    ) -> std::result::Result<Vec<String>, String> {
        let (git_ref, commit) = ("refs/heads/main".to_owned(), commit.to_owned());
        let source =
            Source { repo: REPO, url: url.clone(), git_ref: git_ref.clone(), commit: commit.clone() };
        self.mirrors.ensure(&source).await.map_err(|error| error.to_string())?;
        let mirror = self.mirrors.dir(REPO);
        let mut wanted = Checkout {
            objects_seen_at: mirror.join("objects").display().to_string(),
            mirror,
            origin: url.redacted(),
            staging: self.dir.path().join("staging"),
            workspace: self.workspace(),
            path: String::new(),
            git_ref,
            commit,
            depth: 1,
            tags: false,
            sparse: None,
            submodules: None,
            large_files: None,
            owner: None,
            timeout: PATIENCE,
            writing: None,
        };
        change(&mut wanted);
        checkout(wanted).await.map_err(|error| error.to_string())
    }

    fn submodules(&self, url: &CloneUrl, recursive: bool) -> Submodules {
        Submodules { mirrors: self.mirrors.clone(), repo: REPO, url: url.clone(), given: true, recursive }
    }
}

/// A repository beside others, with one commit.
fn repository(root: &Path, name: &str) -> Result<PathBuf> {
    git(root, &["init", "-q", "-b", "main", name])?;
    let repo = root.join(name);
    commit(&repo, name, &format!("the file of {name}"))?;
    Ok(repo)
}

fn commit(repo: &Path, path: &str, text: &str) -> Result<String> {
    fs::write(repo.join(path), text)?;
    git(repo, &["add", "-A"])?;
    git(repo, &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "c"])?;
    head(repo)
}

fn head(repo: &Path) -> Result<String> {
    Ok(git(repo, &["rev-parse", "HEAD"])?.trim().to_owned())
}

/// Commits that at `path` is the commit `link` of the submodule `name`, of which this is said.
fn submodule(repo: &Path, (name, path): (&str, &str), said: &str, link: &str) -> Result<String> {
    fs::create_dir_all(repo.join(path))?;
    git(repo, &["update-index", "--add", "--cacheinfo", &format!("160000,{link},{path}")])?;
    commit(repo, ".gitmodules", &format!("[submodule \"{name}\"]\n\tpath = {path}\n{said}\n"))
}

#[tokio::test]
async fn submodules_are_there_as_far_as_they_are_wanted_and_git_finds_nothing_wrong() -> Result {
    let (server, node) = (GitServer::start("on: push\n")?, Node::new()?);
    let root = server.repo().parent().ok_or("no parent")?.to_owned();
    let inner = repository(&root, "inner")?;
    let lib = repository(&root, "lib")?;
    let of_lib = submodule(&lib, ("inner", "deps/inner"), "url = ../inner", &head(&inner)?)?;
    // Beyond what is wanted.
    commit(&lib, "later", "")?;
    let wanted = submodule(&server.repo(), ("the lib", "vendor/lib"), "url = ../lib", &of_lib)?;
    let url = CloneUrl::parse(&server.url())?;
    for (recursive, said) in [(None, 0), (Some(false), 1), (Some(true), 2)] {
        let submodules = recursive.map(|recursive| node.submodules(&url, recursive));
        let lines = node.checkout(&url, &wanted, |wanted| wanted.submodules = submodules).await?;
        assert_eq!(lines.len(), said, "{lines:?}");
        assert_eq!(node.read("vendor/lib/lib").is_some(), said > 0);
        assert_eq!(node.read("vendor/lib/deps/inner/inner").is_some(), said > 1);
        assert_eq!(git(&node.workspace(), &["status", "--porcelain"])?, "");
    }
    let lib = node.workspace().join("vendor/lib");
    assert_eq!(head(&lib)?, of_lib);
    assert_eq!(git(&lib, &["status", "--porcelain"])?, "");
    assert_eq!(git(&lib, &["rev-list", "--count", "HEAD"])?.trim(), "1", "as deep as the superproject");
    git(&lib, &["fsck", "--no-dangling"])?;
    let status = git(&node.workspace(), &["submodule", "status", "--recursive"])?;
    let marks: Vec<_> = status.lines().map(|line| line.chars().next()).collect();
    assert_eq!(marks, [Some(' '), Some(' ')], "{status}");
    assert_eq!(git(&lib, &["config", "remote.origin.url"])?.trim(), server.url().replace("demo", "lib"));
    Ok(())
}

/// Row 23. The first fence is git's own, when it fetches; the second is asked here with what got past it.
#[tokio::test]
async fn what_a_strangers_gitmodules_asks_for_is_refused_or_not_done() -> Result {
    let (server, node) = (GitServer::start("on: push\n")?, Node::new()?);
    let root = server.repo().parent().ok_or("no parent")?.to_owned();
    let lib = head(&repository(&root, "lib")?)?;
    let other = PrivateGit::start("on: push\n", "", "")?;
    let (url, first) = (CloneUrl::parse(&server.url())?, server.head()?);
    node.checkout(&url, &first, |_| {}).await?;
    let marker = node.dir.path().join("touched");
    // Of what nobody has checked, the beginning is shown, and nothing that moves a reader's eyes.
    let long_path = format!("\"../\u{1b}[31m{}\"", "x".repeat(2000));
    let long_path_shown = format!("submodule ../\\u{{1b}}[31m{}: the path", "x".repeat(72));
    let sections: String = (0..58_000).map(|n| format!("[submodule.{n:x}]u\n")).collect();
    let update = format!("url = ../lib\nupdate = !touch {}", marker.display());
    for (name, said, by_git, words) in [
        ("../x", "url = ../lib".to_owned(), "gitmodulesName", "the name \"../x\""),
        ("x", "url = -u./payload".to_owned(), "gitmodulesUrl", "begins with -"),
        ("x", format!("url = ext::sh -c touch% {}", marker.display()), "", "is not"),
        ("x", format!("url = file://{}/lib", root.display()), "", "\"file\" is not allowed"),
        ("x", format!("url = {}/lib", root.display()), "", "not a URL"),
        ("x", "url = ../../../lib".to_owned(), "", "no address beside"),
        ("x", "url = http://169.254.169.254/x".to_owned(), "", "never called"),
        ("x", format!("url = {}", other.url()), "", "only the server of the repository's own URL"),
        ("x", "url = https://ann:s3cret@127.0.0.1/x".to_owned(), "", "a password in it"),
        ("x", "url".to_owned(), "", "not a URL"),
        ("x", "url = ../lib\n[broken".to_owned(), "", "bad config"),
        ("x", format!("path = {}", long_path), "", long_path_shown.as_str()),
        ("x", sections, "", ".gitmodules: it names more than 500 submodules"),
        ("x", update, "gitmodulesUpdate", ""),
    ] {
        git(&server.repo(), &["reset", "-q", "--hard", &first])?;
        let hostile = submodule(&server.repo(), (name, "lib"), &said, &lib)?;
        if !by_git.is_empty() {
            let refused = node.checkout(&url, &hostile, |_| {}).await.err().ok_or_else(|| said.clone())?;
            assert!(refused.contains(by_git), "{said}: {refused}");
        }
        let from = server.repo().display().to_string();
        git(&node.mirrors.dir(REPO), &["fetch", "-q", &from, "+refs/heads/main:refs/heads/main"])?;
        let submodules = Some(node.submodules(&url, true));
        let done = node.checkout(&url, &hostile, |wanted| wanted.submodules = submodules).await;
        match (done, words) {
            (Ok(_), "") => assert_eq!(node.read("lib/lib").as_deref(), Some("the file of lib")),
            (Err(why), _) if why.contains(words) => {
                assert!(!why.contains("s3cret") && !why.contains('\u{1b}'), "{why}");
                assert!(why.len() < 1000, "{why}");
            }
            (done, _) => return Err(format!("{name} {said}: {done:?}").into()),
        }
        assert!(!marker.exists(), "{said}");
    }
    assert_eq!(other.asked(), [], "another server of this machine was asked");
    // Its own file is a link: it may lead to one of this machine. Git makes no such commit by itself.
    fs::write(root.join("link"), "/etc/gitmodules")?;
    let blob = git(&server.repo(), &["hash-object", "-w", "../link"])?;
    fs::write(root.join("tree"), format!("120000 blob {}\t.gitmodules\n", blob.trim()))?;
    let mut mktree = Command::new("git");
    mktree.arg("mktree").current_dir(server.repo()).stdin(fs::File::open(root.join("tree"))?);
    let tree = String::from_utf8(mktree.output()?.stdout)?;
    let by = ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit-tree", "-m", "c", tree.trim()];
    let hostile = git(&server.repo(), &by)?.trim().to_owned();
    git(&server.repo(), &["update-ref", "refs/heads/main", &hostile])?;
    let refused = node.checkout(&url, &hostile, |_| {}).await.err().ok_or("a link was taken")?;
    assert!(refused.contains("gitmodulesSymlink"), "{refused}");
    let from = server.repo().display().to_string();
    git(&node.mirrors.dir(REPO), &["fetch", "-q", &from, "+refs/heads/main:refs/heads/main"])?;
    let submodules = Some(node.submodules(&url, true));
    let refused = node.checkout(&url, &hostile, |wanted| wanted.submodules = submodules).await;
    assert!(refused.is_err_and(|why| why.contains(".gitmodules")));
    Ok(())
}

#[tokio::test]
async fn submodules_that_hold_each_other_end_at_a_limit() -> Result {
    let (server, node) = (GitServer::start("on: push\n")?, Node::new()?);
    let mut link = server.head()?;
    // Each commit has the one before as its submodule: twelve levels, one of which can be reached by no path that is short enough.
    for _ in 0..12 {
        link = submodule(&server.repo(), ("self", "s"), "url = ../demo", &link)?;
    }
    let url = CloneUrl::parse(&server.url())?;
    let submodules = Some(node.submodules(&url, true));
    let refused = node.checkout(&url, &link, |wanted| wanted.submodules = submodules).await;
    assert!(refused.is_err_and(|why| why.contains("10 levels")));
    assert_eq!(fs::read_dir(node.workspace())?.count(), 0, "nothing is half there");
    Ok(())
}

/// Row 25: what a repository is fetched with goes to no other server, and is of no use to strangers.
#[tokio::test]
async fn a_private_submodule_is_had_with_its_superprojects_token_and_not_for_a_fork() -> Result {
    let server = PrivateGit::start("on: push\n", "x-access-token", "r1ght-t0ken")?;
    let node = Node::new()?;
    let root = server.repo().parent().ok_or("no parent")?.to_owned();
    let lib = head(&repository(&root, "lib")?)?;
    let wanted = submodule(&server.repo(), ("lib", "lib"), "url = ../lib", &lib)?;
    let url = CloneUrl::parse(&server.url())?.with_token("r1ght-t0ken")?;
    for (given, number) in [(false, 0), (true, 1), (false, 0)] {
        let submodules = Submodules { given, ..node.submodules(&url, true) };
        let done = node.checkout(&url, &wanted, |wanted| wanted.submodules = Some(submodules)).await;
        match done {
            Ok(lines) => assert_eq!(lines.len(), number, "{lines:?}"),
            // What a run that may was given is not there for one that may not.
            Err(why) => assert!(number == 0 && why.contains("terminal prompts disabled"), "{why}"),
        }
    }
    assert_eq!(node.read("lib/lib").as_deref(), Some("the file of lib"));
    let kept = Command::new("grep").args(["-r", "t0ken"]).arg(node.dir.path()).output()?;
    assert!(kept.status.code() == Some(1) && kept.stdout.is_empty(), "{kept:?}");
    Ok(())
}

#[tokio::test]
async fn mirrors_of_submodules_go_with_their_superprojects() -> Result {
    let (server, node) = (GitServer::start("on: push\n")?, Node::new()?);
    let lib = head(&repository(server.repo().parent().ok_or("no parent")?, "lib")?)?;
    let wanted = submodule(&server.repo(), ("lib", "lib"), "url = ../lib", &lib)?;
    let url = CloneUrl::parse(&server.url())?;
    let submodules = Some(node.submodules(&url, true));
    node.checkout(&url, &wanted, |wanted| wanted.submodules = submodules).await?;
    let mirrors = node.dir.path().join(format!("mirrors/{REPO}.submodules"));
    let there = || fs::read_dir(&mirrors).map_or(0, Iterator::count);
    assert_eq!((node.mirrors.forget(|_| true).await?, there()), (vec![], 1));
    // Nobody asked for it in a long time.
    let mirror = fs::read_dir(&mirrors)?.next().ok_or("no mirror")??.path();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(15 * 24 * 3600);
    fs::File::open(mirror.join("HEAD"))?.set_modified(long_ago)?;
    assert_eq!((node.mirrors.forget(|_| true).await?, there()), (vec![], 0));
    assert_eq!(node.mirrors.forget(|_| false).await?, [REPO]);
    assert!(!mirrors.exists());
    Ok(())
}

#[tokio::test]
async fn tags_and_branches_are_seen_as_far_as_history_is() -> Result {
    let (server, node) = (GitServer::start("on: push\n")?, Node::new()?);
    let repo = server.repo();
    git(&repo, &["tag", "v1"])?;
    let second = server.commit("file", "two")?;
    git(&repo, &["-c", "user.name=t", "-c", "user.email=t@example.com", "tag", "-a", "-m", "x", "v2"])?;
    git(&repo, &["branch", "topic/x", "v1"])?;
    // The name of what was pushed is in the way of another one.
    git(&repo, &["branch", "main-2", "v1"])?;
    let url = CloneUrl::parse(&server.url())?;
    for (depth, tags, seen) in [
        (1, false, vec!["refs/remotes/origin/main"]),
        (1, true, vec!["refs/remotes/origin/main", "refs/tags/v2"]),
        (2, true, vec!["refs/remotes/origin/main", "refs/tags/v1", "refs/tags/v2"]),
        (
            0,
            false,
            vec![
                "refs/remotes/origin/main",
                "refs/remotes/origin/main-2",
                "refs/remotes/origin/topic/x",
                "refs/tags/v1",
                "refs/tags/v2",
            ],
        ),
    ] {
        node.checkout(&url, &second, |wanted| (wanted.depth, wanted.tags) = (depth, tags)).await?;
        let found =
            git(&node.workspace(), &["for-each-ref", "--format=%(refname)", "refs/remotes", "refs/tags"])?;
        assert_eq!(found.lines().collect::<Vec<_>>(), seen, "{depth} {tags}");
        git(&node.workspace(), &["fsck", "--no-dangling"])?;
    }
    assert_eq!(git(&node.workspace(), &["describe"])?.trim(), "v2");
    Ok(())
}

#[tokio::test]
async fn of_a_sparse_checkout_the_files_that_are_wanted_are_there() -> Result {
    let (server, node) = (GitServer::start("on: push\n")?, Node::new()?);
    for path in ["src/a.rs", "src/deep/b.rs", "docs/c.md"] {
        server.commit(path, path)?;
    }
    let (wanted, url) = (server.commit("top", "top")?, CloneUrl::parse(&server.url())?);
    for (patterns, cone, there) in [
        (&["src"][..], true, [true, true, false, true]),
        (&["/src/*.rs", "/docs/*"], false, [true, false, true, false]),
        (&["nowhere"], true, [false, false, false, true]),
    ] {
        let patterns = patterns.iter().map(|text| (*text).to_owned()).collect();
        node.checkout(&url, &wanted, |wanted| wanted.sparse = Some(Sparse { patterns, cone })).await?;
        let found = ["src/a.rs", "src/deep/b.rs", "docs/c.md", "top"].map(|path| node.read(path).is_some());
        assert_eq!(found, there);
        assert_eq!(git(&node.workspace(), &["status", "--porcelain"])?, "");
    }
    Ok(())
}

fn had_from(url: &CloneUrl) -> LargeFiles {
    LargeFiles { url: url.clone(), given: true }
}

#[tokio::test]
async fn large_files_are_had_with_the_repositorys_token_and_are_what_they_should_be() -> Result {
    let server = PrivateGit::start("on: push\n", "x-access-token", "r1ght-t0ken")?;
    let node = Node::new()?;
    let repo = server.repo();
    fs::create_dir(repo.join("a b"))?;
    fs::write(repo.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n")?;
    fs::write(repo.join("a b/one.bin"), server.large_file(b"the first one"))?;
    fs::write(repo.join("two.bin"), server.large_file(&[7; 100_000]))?;
    fs::write(repo.join("same.bin"), server.large_file(b"the first one"))?;
    fs::write(repo.join("plain.bin"), "it stands for itself")?;
    symlink("two.bin", repo.join("link.bin"))?;
    let wanted = commit(&repo, "pointer.txt", &server.large_file(b"not of the attribute"))?;
    let url = CloneUrl::parse(&server.url())?.with_token("r1ght-t0ken")?;
    let large = |wanted: &mut Checkout| wanted.large_files = Some(had_from(&url));
    // Without being asked for, and when they are not what they should be.
    node.checkout(&url, &wanted, |_| {}).await?;
    assert!(node.read("two.bin").is_some_and(|text| text.starts_with("version ")));
    server.spoil_large_files();
    let refused = node.checkout(&url, &wanted, large).await.err().ok_or("what is wrong was taken")?;
    assert!(refused.contains("not what its pointer says"), "{refused}");
    server.spoil_large_files();
    // What a process that was killed left behind goes when the mirrors are looked through.
    let (left, store) = (Duration::from_secs(25 * 3600), node.mirrors.dir(REPO).join("lfs/objects"));
    let left_over = fs::File::create(store.join(".tmp-left"))?;
    left_over.set_modified(std::time::SystemTime::now() - left)?;
    for fetched in [2, 0] {
        let said = node.checkout(&url, &wanted, large).await?;
        assert_eq!(said, [format!("large files: 3, 100026 bytes; fetched now: {fetched}")]);
        assert_eq!(node.read("a b/one.bin").as_deref(), Some("the first one"));
        assert_eq!(node.read("same.bin").as_deref(), Some("the first one"));
        assert_eq!(node.read("two.bin").map(|text| text.len()), Some(100_000));
        assert_eq!(node.read("plain.bin").as_deref(), Some("it stands for itself"));
        assert!(node.read("pointer.txt").is_some_and(|text| text.starts_with("version ")));
    }
    assert_eq!(node.mirrors.forget(|_| true).await?, []);
    assert!(fs::read_dir(&store)?.all(|entry| entry.is_ok_and(|entry| entry.path().is_dir())));
    // An image without git-lfs: git takes them for changed, and goes on.
    let found = Command::new("sh").args(["-c", "command -v git"]).output()?.stdout;
    let mut status = Command::new(String::from_utf8(found)?.trim());
    status
        .args(["--no-optional-locks", "status", "--porcelain"])
        .current_dir(node.workspace())
        .env("PATH", "/nonexistent");
    let status = status.output()?;
    let said = String::from_utf8(status.stdout)?;
    assert!(status.status.success() && said.contains(" M two.bin\n"), "{} {said}", status.status);
    match Command::new("git-lfs").arg("version").output() {
        // What should be a pointer and is none is changed for every git-lfs.
        Ok(_) => assert_eq!(git(&node.workspace(), &["status", "--porcelain"])?, " M plain.bin\n"),
        Err(_) => println!("not looked at: there is no git-lfs here to say that nothing is changed"),
    }
    let kept = Command::new("grep").args(["-r", "t0ken"]).arg(node.dir.path()).output()?;
    assert!(kept.status.code() == Some(1) && kept.stdout.is_empty(), "{kept:?}");
    Ok(())
}

/// Row 25: what a run that may was given is not there for one that may not, nor does that one say where it is asked for.
#[tokio::test]
async fn large_files_of_a_forks_run_are_had_as_anybody_has_them() -> Result {
    let server = PrivateGit::start("on: push\n", "x-access-token", "r1ght-t0ken")?;
    let node = Node::new()?;
    let repo = server.repo();
    fs::write(repo.join(".gitattributes"), "*.bin filter=lfs\n")?;
    fs::write(repo.join(".lfsconfig"), format!("[lfs]\n\turl = {}/told.git/info/lfs\n", server.url()))?;
    let wanted = commit(&repo, "one.bin", &server.large_file(b"the first one"))?;
    let url = CloneUrl::parse(&server.url())?.with_token("r1ght-t0ken")?;
    let batch = |path: &str, who: &str| (format!("/team/{path}.git/info/lfs/objects/batch"), who.to_owned());
    node.checkout(&url, &wanted, |wanted| wanted.large_files = Some(had_from(&url))).await?;
    assert!(server.asked().contains(&batch("demo/told", "x-access-token:r1ght-t0ken")));
    let before = server.asked().len();
    let strangers = LargeFiles { given: false, ..had_from(&url) };
    let refused = node.checkout(&url, &wanted, |wanted| wanted.large_files = Some(strangers)).await;
    assert!(refused.as_ref().is_err_and(|why| why.contains("401")), "{refused:?}");
    assert_eq!(server.asked()[before..], [batch("demo", "")]);
    // What anybody may have, it has, too.
    let open = PrivateGit::start("on: push\n", "", "")?;
    fs::write(open.repo().join(".gitattributes"), "*.bin filter=lfs\n")?;
    let wanted = commit(&open.repo(), "one.bin", &open.large_file(b"the first one"))?;
    let (url, node) = (CloneUrl::parse(&open.url())?, Node::new()?);
    let strangers = LargeFiles { given: false, ..had_from(&url) };
    node.checkout(&url, &wanted, |wanted| wanted.large_files = Some(strangers)).await?;
    assert_eq!(node.read("one.bin").as_deref(), Some("the first one"));
    assert!(!node.mirrors.dir(REPO).join("lfs/objects").exists(), "beside what others were given");
    Ok(())
}

#[tokio::test]
async fn what_is_kept_of_large_files_is_looked_at_before_it_is_taken() -> Result {
    let (server, node) = (PrivateGit::start("on: push\n", "", "")?, Node::new()?);
    let repo = server.repo();
    fs::write(repo.join(".gitattributes"), "*.bin filter=lfs\n")?;
    let pointer = server.large_file(b"the first one");
    let first = commit(&repo, "one.bin", &pointer)?;
    let url = CloneUrl::parse(&server.url())?;
    let large = |wanted: &mut Checkout| wanted.large_files = Some(had_from(&url));
    node.checkout(&url, &first, large).await?;
    let oid = pointer.split(['\n', ':']).find(|part| part.len() == 64).ok_or("no oid")?;
    let kept = node.mirrors.dir(REPO).join("lfs/objects").join(&oid[..2]).join(&oid[2..4]).join(oid);
    // Half written, another of the same size, and empty.
    for spoilt in ["the first", "the other one", ""] {
        fs::write(&kept, spoilt)?;
        let said = node.checkout(&url, &first, large).await?;
        assert_eq!(said, ["large files: 1, 13 bytes; fetched now: 1"], "{spoilt}");
        assert_eq!(node.read("one.bin").as_deref(), Some("the first one"));
        assert_eq!(fs::read_to_string(&kept)?, "the first one");
    }
    // Its content is there, but it is not what this pointer says.
    for beside in [false, true] {
        let second = commit(&repo, "two.bin", &pointer.replace("size 13", "size 12"))?;
        let refused = node.checkout(&url, &second, large).await.err().ok_or("a wrong size was taken")?;
        assert!(refused.contains("not what its pointer says (12 bytes)"), "{beside}: {refused}");
        git(&repo, &["rm", "-q", "--ignore-unmatch", "one.bin"])?;
    }
    assert_eq!(fs::read_to_string(&kept)?, "the first one");
    Ok(())
}

#[tokio::test]
async fn large_files_that_nobody_asked_for_in_a_long_time_are_removed() -> Result {
    let (server, node) = (PrivateGit::start("on: push\n", "", "")?, Node::new()?);
    fs::write(server.repo().join(".gitattributes"), "*.bin filter=lfs\n")?;
    let pointer = server.large_file(b"the first one");
    let first = commit(&server.repo(), "one.bin", &pointer)?;
    let url = CloneUrl::parse(&server.url())?;
    let oid = pointer.split(['\n', ':']).find(|part| part.len() == 64).ok_or("no oid")?;
    for (given, store) in [(true, "lfs/objects"), (false, "lfs/objects-of-forks")] {
        let kept = node.mirrors.dir(REPO).join(store).join(&oid[..2]).join(&oid[2..4]).join(oid);
        let large = |wanted: &mut Checkout| wanted.large_files = Some(LargeFiles { given, ..had_from(&url) });
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(15 * 24 * 3600);
        for fetched in [1, 0] {
            let said = node.checkout(&url, &first, large).await?;
            assert_eq!(said, [format!("large files: 1, 13 bytes; fetched now: {fetched}")]);
            assert_eq!((node.mirrors.forget(|_| true).await?, kept.exists()), (vec![], true), "just used");
            fs::File::open(&kept)?.set_modified(long_ago)?;
        }
        assert_eq!((node.mirrors.forget(|_| true).await?, kept.exists()), (vec![], false));
    }
    Ok(())
}

/// Row 24: no server, and no file, sends this node elsewhere, and nobody else is sent the token.
#[tokio::test]
async fn large_files_are_had_from_nobody_whom_nobody_registered() -> Result {
    let server = PrivateGit::start("on: push\n", "x-access-token", "r1ght-t0ken")?;
    let other = PrivateGit::start("on: push\n", "", "")?;
    let node = Node::new()?;
    let repo = server.repo();
    fs::write(repo.join(".gitattributes"), "*.bin filter=lfs\n")?;
    let first = commit(&repo, "one.bin", &server.large_file(b"the first one"))?;
    let url = CloneUrl::parse(&server.url())?.with_token("r1ght-t0ken")?;
    let large = |wanted: &mut Checkout| wanted.large_files = Some(had_from(&url));
    let elsewhere = other.url().replace("/team/demo", "");
    for (to, words) in [
        (elsewhere.as_str(), "only the server of the repository's own URL"),
        ("http://169.254.169.254", "never called"),
        ("file:///etc", "no address of http"),
    ] {
        server.large_files_at(Some(to));
        let refused = node.checkout(&url, &first, large).await.err().ok_or(to.to_owned())?;
        assert!(refused.contains(words) && !refused.contains("t0ken"), "{refused}");
    }
    server.large_files_at(None);
    let own = server.url().replace("/team/demo", "");
    for (to, words) in [
        (elsewhere.as_str(), "only the server of the repository's own URL"),
        ("http://169.254.169.254", "never called"),
        ("file:///etc", "no address of http"),
        (own.as_str(), "redirects more than 3 times"),
    ] {
        server.large_files_moved(Some(to));
        let refused = node.checkout(&url, &first, large).await.err().ok_or(to.to_owned())?;
        assert!(refused.contains(words) && !refused.contains("t0ken"), "{refused}");
    }
    server.large_files_moved(None);
    let gone = PrivateGit::start("on: push\n", "", "")?.large_file(b"of another server");
    let absent = commit(&repo, "two.bin", &gone)?;
    let refused = node.checkout(&url, &absent, large).await.err().ok_or("it was had")?;
    // The fixture's server says back what it was sent.
    let sent = STANDARD.encode("x-access-token:r1ght-t0ken");
    assert!(refused.contains("does not have object") && refused.contains("Basic ***"), "{refused}");
    assert!(!refused.contains("t0ken") && !refused.contains(&sent), "{refused}");
    for told in [elsewhere.as_str(), "http://169.254.169.254/x", "file:///etc/x"] {
        let told = commit(&repo, ".lfsconfig", &format!("[lfs]\n\turl = {told}\n"))?;
        let refused = node.checkout(&url, &told, large).await.err().ok_or("it was asked")?;
        assert!(refused.contains(".lfsconfig"), "{refused}");
    }
    assert_eq!(other.asked(), [], "the other server was asked");
    // Another address of the same server may be told.
    git(&repo, &["rm", "-q", "two.bin"])?;
    let own = format!("{}.git/info/lfs", server.url());
    let told = commit(&repo, ".lfsconfig", &format!("[lfs]\n\turl = {own}\n"))?;
    node.checkout(&url, &told, large).await?;
    assert_eq!(node.read("one.bin").as_deref(), Some("the first one"));
    let over_ssh = CloneUrl::parse("ssh://git@127.0.0.1/team/demo")?;
    let refused = node.checkout(&url, &first, |wanted| wanted.large_files = Some(had_from(&over_ssh))).await;
    assert!(refused.is_err_and(|why| why.contains("over http and https alone")));
    Ok(())
}

#[tokio::test]
async fn a_repository_is_had_over_ssh_with_its_key_from_the_server_that_was_known_first() -> Result {
    let Some(mut server) = SshGit::start("on: push\n")? else { return Ok(()) };
    let node = Node::new()?;
    let root = server.repo().parent().ok_or("no parent")?.to_owned();
    let lib = head(&repository(&root, "lib")?)?;
    let first = submodule(&server.repo(), ("lib", "lib"), "url = ../lib", &lib)?;
    let with = |key: &str| -> Result<CloneUrl> { Ok(CloneUrl::parse(&server.url())?.with_key(key)?) };
    let wrong = with(&server.key("wrong")?)?;
    let refused = node.checkout(&wrong, &first, |_| {}).await.err().ok_or("a stranger was let in")?;
    assert!(refused.contains("Permission denied (publickey)"), "{refused}");
    assert!(!refused.contains("PRIVATE KEY"), "{refused}");
    let nobody = CloneUrl::parse(&server.url())?;
    assert!(node.checkout(&nobody, &first, |_| {}).await.is_err_and(|why| why.contains("Permission denied")));
    let right = with(&server.key("right")?)?;
    let submodules = Some(node.submodules(&right, true));
    node.checkout(&right, &first, |wanted| wanted.submodules = submodules).await?;
    assert_eq!(node.read("lib/lib").as_deref(), Some("the file of lib"));
    let kept = Command::new("grep").args(["-r", "PRIVATE KEY"]).arg(node.dir.path()).output()?;
    assert!(kept.status.code() == Some(1) && kept.stdout.is_empty(), "{kept:?}");
    let known = fs::read_to_string(node.dir.path().join("mirrors/known_hosts"))?;
    let at = server.address();
    assert!(known.starts_with(&format!("[{}]:{} ", at.ip(), at.port())), "{known}");
    // Somebody else answers at its address: nothing is fetched before a person has looked.
    server.become_another()?;
    let second = commit(&server.repo(), "more", "")?;
    let refused = node.checkout(&right, &second, |_| {}).await.err().ok_or("another server was believed")?;
    assert!(refused.contains("Host key verification failed"), "{refused}");
    fs::remove_file(node.dir.path().join("mirrors/known_hosts"))?;
    node.checkout(&right, &second, |_| {}).await?;
    assert!(node.read("more").is_some());
    Ok(())
}
