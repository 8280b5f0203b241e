//! Runs git, hardened: no configuration but ours, no hooks, no prompts, an allow-list of protocols, a deadline, its own
//! process group, and no credential on any command line.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::CloneUrl;

/// What can go wrong with sources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// git could not be started or its directory not be used.
    #[error("git: {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// git ended with an error.
    #[error("git {action} failed: {stderr}")]
    Failed {
        /// The subcommand.
        action: String,
        /// The end of its error output, credentials left out.
        stderr: String,
    },
    /// git took too long.
    #[error("git {action} did not end within {seconds} s")]
    TimedOut {
        /// The subcommand.
        action: String,
        /// The limit.
        seconds: u64,
    },
    /// A ref or commit that is not acceptable.
    #[error(
        "{found:?} is not an acceptable ref (no leading -, no control characters, at most 255 characters)"
    )]
    BadRef {
        /// As found.
        found: String,
    },
    /// A path that leaves the workspace.
    #[error("path {found:?} is not acceptable: it must be relative, without .. and without symbolic links")]
    BadPath {
        /// As found.
        found: String,
    },
    /// The repository has no such commit or ref.
    #[error("{wanted} was not found in {url}")]
    NoSuchCommit {
        /// What was looked for.
        wanted: String,
        /// Where, without credentials.
        url: String,
    },
    /// More workflow files, or larger ones, than are read.
    #[error("{path}: {why}")]
    TooLarge {
        /// Which file or directory.
        path: String,
        /// What was found, what the limit is.
        why: String,
    },
}

pub(super) struct Git<'a> {
    dir: &'a Path,
    deadline: Duration,
    credentials: Option<(String, String)>,
}

impl<'a> Git<'a> {
    pub(super) fn new(dir: &'a Path, deadline: Duration) -> Self {
        Self { dir, deadline, credentials: None }
    }

    /// Sends the URL's user and password as a header that git reads from its environment.
    pub(super) fn with_credentials_of(mut self, url: &CloneUrl) -> Self {
        self.credentials = url.basic_credentials();
        self
    }

    /// Runs `git ARGS`; its standard output on success.
    pub(super) async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, Error> {
        let action = args.first().map(|a| a.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(self.dir)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0);
        for (key, value) in self.environment() {
            command.env(key, value);
        }
        let output = tokio::time::timeout(self.deadline, command.output())
            .await
            .map_err(|_| Error::TimedOut { action: action.clone(), seconds: self.deadline.as_secs() })?
            .map_err(|source| Error::Io { action: action.clone(), source })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Error::Failed { action, stderr: self.readable(&output.stderr) })
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut config = vec![
            ("core.hooksPath", "/dev/null".to_owned()),
            ("core.fsmonitor", "false".to_owned()),
            ("core.askPass", String::new()),
            ("credential.helper", String::new()),
            ("gc.auto", "0".to_owned()),
            ("maintenance.auto", "false".to_owned()),
            ("http.followRedirects", "initial".to_owned()),
            ("submodule.recurse", "false".to_owned()),
            ("transfer.fsckObjects", "true".to_owned()),
            ("advice.detachedHead", "false".to_owned()),
            ("safe.directory", "*".to_owned()),
            ("init.defaultBranch", "main".to_owned()),
        ];
        if let Some((user, password)) = &self.credentials {
            use base64::Engine as _;
            let token = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            config.push(("http.extraHeader", format!("Authorization: Basic {token}")));
        }
        let mut env: Vec<(String, String)> = [
            (
                "PATH",
                std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()).as_str(),
            ),
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOW_PROTOCOL", "https:http:ssh:git"),
            ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=10"),
            ("GIT_OPTIONAL_LOCKS", "0"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        env.push(("GIT_CONFIG_COUNT".to_owned(), config.len().to_string()));
        for (n, (key, value)) in config.into_iter().enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{n}"), key.to_owned()));
            env.push((format!("GIT_CONFIG_VALUE_{n}"), value));
        }
        env
    }

    /// The last 2,000 characters of git's words, without the password should a server have echoed it.
    fn readable(&self, stderr: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(stderr).trim().to_owned();
        if let Some((_, password)) = self.credentials.as_ref().filter(|(_, p)| !p.is_empty()) {
            text = text.replace(password, "***");
        }
        let skip = text.chars().count().saturating_sub(2000);
        text.chars().skip(skip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The URL's own checks come first; this is the second fence, should a URL be found that they let through.
    #[tokio::test]
    async fn git_itself_refuses_what_runs_commands_or_reads_this_machine()
    -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let (git, marker) = (Git::new(dir.path(), Duration::from_secs(60)), dir.path().join("touched"));
        git.run(&["init", "-q", "--bare", "there"]).await?;
        let there = dir.path().join("there").display().to_string();
        for (url, words) in [
            (format!("ext::touch {}", marker.display()), "transport 'ext' not allowed"),
            ("fd::0".to_owned(), "transport 'fd' not allowed"),
            (format!("file://{there}"), "transport 'file' not allowed"),
            (there, "transport 'file' not allowed"),
            // After `--`, no text is an option.
            (format!("--upload-pack=touch {}", marker.display()), "blocked"),
            (format!("ssh://-oProxyCommand=touch {}/x", marker.display()), "strange hostname"),
        ] {
            let refused = git.run(&["ls-remote", "--", &url]).await.err().ok_or_else(|| url.clone())?;
            assert!(
                matches!(&refused, Error::Failed { stderr, .. } if stderr.contains(words)),
                "{url}: {refused}"
            );
            assert!(!marker.exists(), "{url}");
        }
        Ok(())
    }
}
