//! Asks git about a person's own checkout, as that person: with their configuration, and without their hooks.
//!
//! Must not know what for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// What a git that called us has set (in a hook, for one), and is about another command than ours.
const OF_OTHERS: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// Whatever the person has configured. An index that is a copy is whole, and no daemon is asked about it.
const CONFIGURED: [&str; 4] = [
    "core.hooksPath=/dev/null",
    "advice.addEmbeddedRepo=false",
    "core.splitIndex=false",
    "core.fsmonitor=false",
];

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not start.
    #[error("cannot start git: {source}; it must be installed")]
    Start {
        /// The system's words.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("git {action} failed in {}: {words}", dir.display())]
    Failed {
        /// The subcommand.
        action: String,
        /// Where.
        dir: PathBuf,
        /// Its words.
        words: String,
    },
    /// It said something that is no text.
    #[error("git {action} wrote something that is not UTF-8")]
    Text {
        /// The subcommand.
        action: String,
    },
}

/// Git in one directory.
#[derive(Debug, Clone)]
pub struct Git {
    dir: PathBuf,
    env: Vec<(&'static str, OsString)>,
}

impl Git {
    /// In this directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), env: Vec::new() }
    }

    /// With a variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Runs `git ARGS`: its standard output, without the end of its last line.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn run(&self, args: &[&str]) -> Result<String, Error> {
        let action = args.first().copied().unwrap_or_default().to_owned();
        let mut command = Command::new("git");
        for name in OF_OTHERS {
            command.env_remove(name);
        }
        command
            .args(CONFIGURED.into_iter().flat_map(|pair| ["-c", pair]))
            .args(args)
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let done = command.output().await.map_err(|source| Error::Start { source })?;
        if !done.status.success() {
            let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            let words = if words.is_empty() { done.status.to_string() } else { words };
            return Err(Error::Failed { action, dir: self.dir.clone(), words });
        }
        let text = String::from_utf8(done.stdout).map_err(|_| Error::Text { action })?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// As [`Git::run`]; none when git ends with an error, as it does where what is asked for is not there.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::Text`].
    pub async fn ask(&self, args: &[&str]) -> Result<Option<String>, Error> {
        match self.run(args).await {
            Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            Err(Error::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
