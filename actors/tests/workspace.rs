//! Sources against a real git server.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actors::workspace::{Checkout, CloneUrl, Error, MAX_CHANGED_PATHS, Mirrors, Point, Source, checkout};
use domain::RepoId;
use fixtures::{GitServer, PrivateGit, Result, git};

fn mirrors(dir: &Path) -> Mirrors {
    Mirrors::new(dir.join("mirrors"), Duration::from_secs(60))
}

fn source(server: &GitServer, git_ref: &str, commit: &str) -> Result<Source> {
    let url = CloneUrl::parse(&server.url())?;
    Ok(Source { repo: RepoId(7), url, git_ref: git_ref.to_owned(), commit: commit.to_owned() })
}

fn wanted(mirrors: &Mirrors, root: &Path, commit: &str, path: &str, depth: u32) -> Checkout {
    Checkout {
        mirror: mirrors.dir(RepoId(7)),
        objects_seen_at: mirrors.dir(RepoId(7)).join("objects").display().to_string(),
        origin: "git://127.0.0.1/demo".to_owned(),
        staging: root.join("staging"),
        workspace: root.join("workspace"),
        path: path.to_owned(),
        git_ref: "refs/heads/main".to_owned(),
        commit: commit.to_owned(),
        depth,
        tags: false,
        sparse: None,
        submodules: None,
        large_files: None,
        owner: None,
        timeout: Duration::from_secs(60),
        writing: None,
    }
}

#[tokio::test]
async fn a_commit_is_fetched_incrementally_and_its_workflows_read() -> Result {
    let server = GitServer::start("on: push\n")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    let first = mirrors.ensure(&source(&server, "refs/heads/main", "")?).await?.commit;
    assert_eq!(
        mirrors.read_workflows(RepoId(7), &first).await?,
        [(".github/workflows/ci.yml".to_owned(), b"on: push\n".to_vec())]
    );
    let second = server.commit(".troupe/workflows/b.yaml", "on: push # troupe\n")?;
    assert_eq!(mirrors.ensure(&source(&server, "refs/heads/main", &second)?).await?.commit, second);
    // By name: a tag, and then a branch of the same name, which comes first.
    git(&server.repo(), &["tag", "stable", &first])?;
    let stable =
        |git_ref: &str, commit: &str| Point { git_ref: git_ref.to_owned(), commit: commit.to_owned() };
    let found = mirrors.ensure(&source(&server, "stable", "")?).await?;
    assert_eq!(found, stable("refs/tags/stable", &first));
    git(&server.repo(), &["branch", "stable", &second])?;
    let found = mirrors.ensure(&source(&server, "stable", "")?).await?;
    assert_eq!(found, stable("refs/heads/stable", &second));
    let files = mirrors.read_workflows(RepoId(7), &second).await?;
    assert_eq!(files.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>(), [".troupe/workflows/b.yaml"]);
    Ok(())
}

#[tokio::test]
async fn mirrors_of_repositories_that_are_gone_are_removed() -> Result {
    let server = GitServer::start("on: push\n")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    assert_eq!(mirrors.forget(|_| false).await?, [], "there are none yet");
    let other = Source { repo: RepoId(8), ..source(&server, "main", "")? };
    mirrors.ensure(&source(&server, "main", "")?).await?;
    mirrors.ensure(&other).await?;
    fs::create_dir(dir.path().join("mirrors/lost+found"))?;
    assert_eq!(mirrors.forget(|repo| repo == RepoId(7)).await?, [RepoId(8)]);
    assert!(mirrors.dir(RepoId(7)).join("HEAD").exists() && !mirrors.dir(RepoId(8)).exists());
    // It comes back when it is wanted.
    mirrors.ensure(&other).await?;
    assert!(mirrors.dir(RepoId(8)).join("HEAD").exists());
    Ok(())
}

#[tokio::test]
async fn what_a_push_changed_is_known_whatever_was_before_it() -> Result {
    let server = GitServer::start("on: push\n")?;
    let dir = tempfile::tempdir()?;
    let (mirrors, repo) = (mirrors(dir.path()), RepoId(7));
    let first = server.head()?;
    let second = server.commit("docs/a b.md", "one")?;
    git(&server.repo(), &["checkout", "-q", "-b", "topic", &first])?;
    server.commit("src/one", "1")?;
    let topic = server.commit("src/\u{e9}", "2")?;
    git(&server.repo(), &["checkout", "-q", "main"])?;
    let third = server.commit("docs/c.md", "two")?;
    git(&server.repo(), &["mv", "docs/c.md", "docs/d.md"])?;
    let renamed = server.commit("docs/e.md", "three")?;
    mirrors.ensure(&source(&server, "refs/heads/main", &renamed)?).await?;
    assert_eq!(mirrors.default_branch(repo).await?, "refs/heads/main");
    let zeros = "0".repeat(40);
    let gone = "1".repeat(40);
    for (before, after, wanted) in [
        (&first, &third, vec!["docs/a b.md", "docs/c.md"]),
        (&second, &third, vec!["docs/c.md"]),
        (&third, &third, vec![]),
        // Both names of what was renamed.
        (&third, &renamed, vec!["docs/c.md", "docs/d.md", "docs/e.md"]),
        // Forced, and what was before is still there: both sides differ.
        (&second, &topic, vec!["docs/a b.md", "src/one", "src/\u{e9}"]),
        // New, or forced over what is gone: since it left the default branch.
        (&zeros, &topic, vec!["src/one", "src/\u{e9}"]),
        (&gone, &topic, vec!["src/one", "src/\u{e9}"]),
        (&String::new(), &topic, vec!["src/one", "src/\u{e9}"]),
        // New, and of the default branch: what the commit changed itself, of the very first all.
        (&zeros, &second, vec!["docs/a b.md"]),
        (&zeros, &first, vec![".github/workflows/ci.yml"]),
    ] {
        assert_eq!(mirrors.changed_paths(repo, before, after).await?, wanted, "{before}..{after}");
    }
    let found = mirrors.changed_paths_of_pull_request(repo, &third, &topic).await?;
    assert_eq!(found, ["src/one", "src/\u{e9}"]);
    let error = mirrors.changed_paths(repo, "--output=x", &topic).await.unwrap_err();
    assert!(matches!(error, Error::BadRef { .. }), "{error}");
    let error = mirrors.changed_paths(repo, &first, &gone).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn of_very_many_changed_paths_the_first_ones_count() -> Result {
    let server = GitServer::start("on: push\n")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    let first = server.head()?;
    let folder = server.repo().join("many/".to_owned() + &"x".repeat(200));
    fs::create_dir_all(&folder)?;
    for number in 0..MAX_CHANGED_PATHS + 2000 {
        fs::write(folder.join(format!("{:0100}", number)), "")?;
    }
    let second = server.commit("zz", "")?;
    mirrors.ensure(&source(&server, "refs/heads/main", &second)?).await?;
    let found = mirrors.changed_paths(RepoId(7), &first, &second).await?;
    // The limit of bytes comes before that of paths, and no path is cut.
    assert!((2000..MAX_CHANGED_PATHS).contains(&found.len()), "{}", found.len());
    assert!(found.iter().all(|path| path.len() == "many/".len() + 201 + 100));
    Ok(())
}

#[tokio::test]
async fn the_default_branch_and_the_heads_of_pull_requests_are_found() -> Result {
    let server = GitServer::start("on: push\n")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    let first = server.head()?;
    git(&server.repo(), &["checkout", "-q", "-b", "trunk"])?;
    let second = server.commit("file", "x")?;
    let found = mirrors.ensure(&source(&server, "", "")?).await?;
    assert_eq!((found.git_ref.as_str(), found.commit), ("refs/heads/trunk", second.clone()));
    git(&server.repo(), &["symbolic-ref", "HEAD", "refs/heads/main"])?;
    let found = mirrors.ensure(&source(&server, "", "")?).await?;
    assert_eq!((found.git_ref.as_str(), &found.commit), ("refs/heads/main", &first));
    // By the beginning of its id, which is all that Bitbucket Cloud tells.
    let found = mirrors.ensure(&source(&server, "refs/heads/trunk", &second[..12])?).await?;
    assert_eq!(found.commit, second);
    let refused = mirrors.ensure(&source(&server, "refs/heads/trunk", &second[..11])?).await.unwrap_err();
    assert!(matches!(refused, Error::BadRef { .. }), "{refused}");
    // A fork's commits are under no branch of the repository.
    git(&server.repo(), &["checkout", "-q", "--detach"])?;
    let third = server.commit("file", "y")?;
    git(&server.repo(), &["update-ref", "refs/pull/1/head", &third])?;
    git(&server.repo(), &["checkout", "-q", "main"])?;
    let found = mirrors.ensure(&source(&server, "refs/pull/1/head", &third)?).await?;
    assert_eq!((found.git_ref.as_str(), &found.commit), ("refs/pull/1/head", &third));
    let found = mirrors.ensure(&source(&server, "refs/pull/1/head", "")?).await?;
    assert_eq!(found.commit, third);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_said() -> Result {
    let server = GitServer::start("on: push\n")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    let absent = "0123456789012345678901234567890123456789";
    let error = mirrors.ensure(&source(&server, "refs/heads/main", absent)?).await.unwrap_err();
    assert!(matches!(&error, Error::NoSuchCommit { wanted, .. } if wanted == absent), "{error}");
    let error = mirrors.ensure(&source(&server, "--upload-pack=touch", "")?).await.unwrap_err();
    assert!(matches!(error, Error::BadRef { .. }), "{error}");
    let url = CloneUrl::parse(&server.url().replace("demo", "absent"))?;
    let error = mirrors.ensure(&Source { url, ..source(&server, "refs/heads/main", "")? }).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn credentials_reach_neither_the_command_line_nor_the_error() -> Result {
    let dir = tempfile::tempdir()?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = CloneUrl::parse(&format!("http://user:s3cret@127.0.0.1:{closed}/demo"))?;
    let source =
        Source { repo: RepoId(1), url, git_ref: "refs/heads/main".to_owned(), commit: String::new() };
    let error = mirrors(dir.path()).ensure(&source).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1") && !error.contains("s3cret"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_checkout_is_a_usable_clone_of_the_wanted_depth() -> Result {
    let server = GitServer::start("on: push\n")?;
    server.commit("file", "one")?;
    let second = server.commit("file", "two")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    mirrors.ensure(&source(&server, "refs/heads/main", &second)?).await?;
    let workspace = dir.path().join("workspace");
    fs::create_dir(&workspace)?;
    for (depth, commits) in [(1, "1"), (2, "2"), (0, "3"), (9, "3")] {
        fs::write(workspace.join("left-over"), "x")?;
        checkout(wanted(&mirrors, dir.path(), &second, "", depth)).await?;
        assert_eq!(fs::read_to_string(workspace.join("file"))?, "two");
        assert!(!workspace.join("left-over").exists());
        assert_eq!(git(&workspace, &["rev-list", "--count", "HEAD"])?.trim(), commits, "depth {depth}");
        assert_eq!(git(&workspace, &["status", "--porcelain", "--branch"])?.trim(), "## main...origin/main");
    }
    checkout(wanted(&mirrors, dir.path(), &second, "sub/dir", 1)).await?;
    assert_eq!(fs::read_to_string(workspace.join("sub/dir/file"))?, "two");
    let error = checkout(wanted(&mirrors, dir.path(), &second, "../out", 1)).await.unwrap_err();
    assert!(matches!(error, Error::BadPath { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn of_a_history_with_merges_the_commits_are_seen_that_a_shallow_clone_has() -> Result {
    let server = GitServer::start("on: push\n")?;
    let repo = server.repo();
    for file in ["pp", "p"] {
        server.commit(file, file)?;
    }
    // A branch that is longer than the way to where it began, one that is shorter, and one into the other.
    let by = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let merge =
        |branch: &str| git(&repo, &[&by[..], &["merge", "-q", "--no-ff", "-m", "m", branch]].concat());
    git(&repo, &["checkout", "-q", "-b", "feature"])?;
    for file in ["a", "b"] {
        server.commit(file, file)?;
    }
    git(&repo, &["checkout", "-q", "main"])?;
    merge("feature")?;
    git(&repo, &["checkout", "-q", "-b", "other", "HEAD~1"])?;
    server.commit("c", "c")?;
    merge("feature")?;
    git(&repo, &["checkout", "-q", "main"])?;
    merge("other")?;
    let last = git(&repo, &["rev-parse", "HEAD"])?.trim().to_owned();
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    mirrors.ensure(&source(&server, "refs/heads/main", &last)?).await?;
    fs::create_dir(dir.path().join("workspace"))?;
    let seen = |at: &Path| -> Result<Vec<String>> {
        let mut seen: Vec<_> = git(at, &["rev-list", "HEAD"])?.lines().map(str::to_owned).collect();
        seen.sort();
        Ok(seen)
    };
    for depth in 1..10 {
        let clone = dir.path().join(format!("clone-{depth}"));
        let (from, to) = (format!("file://{}", repo.display()), clone.display().to_string());
        git(dir.path(), &["clone", "-q", "--depth", &depth.to_string(), "--branch", "main", &from, &to])?;
        checkout(wanted(&mirrors, dir.path(), &last, "", depth)).await?;
        assert_eq!(seen(&dir.path().join("workspace"))?, seen(&clone)?, "depth {depth}");
    }
    Ok(())
}

#[tokio::test]
async fn a_private_repository_is_fetched_with_its_token_and_with_no_other() -> Result {
    let server = PrivateGit::start("on: push\n", "x-access-token", "r1ght-t0ken")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    let fetched = |token: &str| -> Result<Source> {
        let url = CloneUrl::parse(&server.url())?;
        let url = if token.is_empty() { url } else { url.with_token(token)? };
        Ok(Source { repo: RepoId(7), url, git_ref: "main".to_owned(), commit: String::new() })
    };
    for (token, words) in [("", "terminal prompts disabled"), ("wr0ng-t0ken", "Authentication failed")] {
        let error = mirrors.ensure(&fetched(token)?).await.unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("t0ken"), "{error}");
    }
    mirrors.ensure(&fetched("r1ght-t0ken")?).await?;
    // Nothing of it stays: neither in the mirror nor beside it.
    let kept = Command::new("grep").args(["-r", "t0ken"]).arg(dir.path()).output()?;
    assert!(kept.status.code() == Some(1) && kept.stdout.is_empty(), "{kept:?}");
    Ok(())
}

#[tokio::test]
async fn no_redirect_is_followed_and_nobody_else_is_sent_the_token() -> Result {
    let server = PrivateGit::start("on: push\n", "x-access-token", "r1ght-t0ken")?;
    let other = PrivateGit::start("on: push\n", "", "")?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    for to in [&other.url(), "http://169.254.169.254", "file:///etc"] {
        server.redirect(Some(to));
        let url = CloneUrl::parse(&server.url())?.with_token("r1ght-t0ken")?;
        let source = Source { repo: RepoId(7), url, git_ref: "main".to_owned(), commit: String::new() };
        let error = mirrors.ensure(&source).await.unwrap_err().to_string();
        assert!(error.contains("302") && !error.contains("t0ken"), "{error}");
    }
    assert_eq!(other.asked(), [], "the other server was asked");
    Ok(())
}

#[tokio::test]
async fn servers_that_nobody_may_ask_are_not_asked() -> Result {
    let dir = tempfile::tempdir()?;
    for url in ["http://169.254.169.254/x", "git://[fe80::1]/x", "ssh://git@0.0.0.0/x"] {
        let url = CloneUrl::parse(url)?;
        let source = Source { repo: RepoId(1), url, git_ref: "main".to_owned(), commit: String::new() };
        let error = mirrors(dir.path()).ensure(&source).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_private_key_is_a_file_of_this_user_alone_for_as_long_as_git_runs() -> Result {
    use std::os::unix::fs::PermissionsExt;
    if Command::new("ssh").arg("-V").output().is_err() {
        println!("skipped: there is no ssh here");
        return Ok(());
    }
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nczNjcmV0\n-----END OPENSSH PRIVATE KEY-----";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let dir = tempfile::tempdir()?;
    let mirrors = mirrors(dir.path());
    let url = CloneUrl::parse(&format!("ssh://git@{address}/x.git"))?.with_key(key)?;
    let source = Source { repo: RepoId(1), url, git_ref: "main".to_owned(), commit: String::new() };
    let keys = dir.path().join("mirrors/.keys");
    let seen = async {
        // ssh has taken all options by then, and says its name.
        let (mut asked, _) = listener.accept().await?;
        let mut banner = [0; 8];
        tokio::io::AsyncReadExt::read_exact(&mut asked, &mut banner).await?;
        let files: Vec<_> = fs::read_dir(&keys)?.collect::<std::io::Result<_>>()?;
        let modes = (fs::metadata(&keys)?.permissions().mode(), files[0].metadata()?.permissions().mode());
        let text = fs::read_to_string(files[0].path())?;
        Result::Ok((banner, files.len(), (modes.0 & 0o777, modes.1 & 0o777), text))
    };
    let (fetched, seen) = tokio::join!(mirrors.ensure(&source), seen);
    assert_eq!(seen?, (*b"SSH-2.0-", 1, (0o700, 0o600), format!("{key}\n")));
    let error = fetched.unwrap_err().to_string();
    assert!(!error.contains("czNjcmV0"), "{error}");
    assert_eq!(fs::read_dir(&keys)?.count(), 0, "it is gone with git");
    Ok(())
}
