//! A git checkout with workflows, and `troupe workflow run` in it.

#![allow(dead_code, reason = "each test binary uses its part of this module")]
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const WORK: &str = "at:work";

/// A checkout, and beside it a directory for what a run keeps meanwhile.
///
/// Its name has what separates directories in lists of git's.
pub struct Checkout {
    dir: TempDir,
}

/// What a command did.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Checkout {
    /// With a commit of some files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let this = Self::bare();
        this.git(&["init", "--quiet", "--initial-branch=main", "."]);
        for (path, text) in files {
            this.write(path, text);
        }
        this.commit("first of all");
        this
    }

    /// Directories alone.
    pub fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in [WORK, "tmp"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(WORK).join(path)
    }

    /// Where a run keeps what goes with it.
    pub fn temporary(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
            .args(args)
            .current_dir(self.path(""))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Everything that git keeps of the checkout, but for its reflogs.
    pub fn state(&self) -> Vec<String> {
        let index = std::fs::read(self.path(".git/index")).unwrap();
        let mut all = vec![format!("{index:?}")];
        all.extend(
            [
                &["for-each-ref"][..],
                &["status", "--porcelain"],
                &["count-objects"],
                &["symbolic-ref", "HEAD"],
            ]
            .map(|args| self.git(args)),
        );
        all
    }

    /// `troupe workflow run ARGS`, not started yet.
    pub fn run(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_troupe"));
        command
            .args(["workflow", "run"])
            .args(args)
            .current_dir(self.path(""))
            .env("TMPDIR", self.temporary())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Nothing is there any more that was for the run alone.
    pub fn assert_nothing_kept(&self) {
        let left: Vec<_> =
            std::fs::read_dir(self.temporary()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

/// Runs to the end.
pub fn done(mut command: Command) -> Done {
    command.output().unwrap().into()
}

/// What a file holds.
pub fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}
