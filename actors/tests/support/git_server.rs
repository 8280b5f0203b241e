//! A `git daemon` on 127.0.0.1 that each test starts for itself, with one repository, `demo`.
#![allow(dead_code, reason = "shared by tests that use parts")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use actors::workspace::{CloneUrl, Source};
use domain::RepoId;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

pub struct Server {
    daemon: Child,
    dir: tempfile::TempDir,
    pub port: u16,
    // Held open: the daemon ends when it cannot write its log.
    _log: BufReader<ChildStderr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Server {
    /// A server with one repository, `demo`, that has one commit on `main`.
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        git(dir.path(), &["init", "-q", "-b", "main", "demo"])?;
        // Not through `git daemon`, whose child would outlive it.
        let programs = git(dir.path(), &["--exec-path"])?;
        let mut daemon = Command::new(Path::new(programs.trim()).join("git-daemon"))
            .args(["--verbose", "--export-all", "--listen=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--base-path={}", dir.path().display()))
            .stderr(Stdio::piped())
            .spawn()?;
        let mut first = String::new();
        let mut log = BufReader::new(daemon.stderr.take().ok_or("no stderr")?);
        log.read_line(&mut first)?;
        assert!(first.contains("Ready"), "git daemon: {first}");
        TcpStream::connect(("127.0.0.1", port))?;
        let server = Self { daemon, dir, port, _log: log };
        server.commit(".github/workflows/ci.yml", "on: push\n")?;
        Ok(server)
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("demo")
    }

    pub fn commit(&self, path: &str, text: &str) -> Result<String> {
        let file = self.repo().join(path);
        fs::create_dir_all(file.parent().ok_or("no parent")?)?;
        fs::write(file, text)?;
        git(&self.repo(), &["add", "-A"])?;
        git(
            &self.repo(),
            &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "c"],
        )?;
        Ok(git(&self.repo(), &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/demo", self.port)
    }

    pub fn source(&self, git_ref: &str, commit: &str) -> Result<Source> {
        let url = CloneUrl::parse(&self.url())?;
        Ok(Source { repo: RepoId(7), url, git_ref: git_ref.to_owned(), commit: commit.to_owned() })
    }
}

pub fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("git").args(args).current_dir(dir).output()?;
    if !output.status.success() {
        return Err(format!("git {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
