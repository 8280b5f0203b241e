//! Runs git, hardened: no configuration but ours, no hooks, no prompts, an allow-list of protocols, a deadline, bounded
//! output, its own process group, which ends as one, and no credential on any command line.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::reach::Reach;
use crate::addresses;

/// Most bytes that git may write to its standard output: commits, and workflow files, which are smaller.
const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;
/// Last bytes of its error output that are kept.
const KEPT_ERROR_BYTES: usize = 16 * 1024;
/// A server that sends less than a byte a second for so long is given up, in seconds.
const SILENCE_SECONDS: u32 = 120;

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
    /// A server that is not asked.
    #[error("its server is not asked: {source}")]
    Refused {
        /// Why.
        source: addresses::Refused,
    },
    /// git took too long.
    #[error("git {action} did not end within {seconds} s")]
    TimedOut {
        /// The subcommand.
        action: String,
        /// The limit.
        seconds: u64,
    },
    /// git said too much.
    #[error("git {action} wrote more than {limit} bytes; the repository has too much of what was asked for")]
    TooMuchOutput {
        /// The subcommand.
        action: String,
        /// The limit.
        limit: usize,
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
    /// A submodule that is not taken, or cannot be had.
    #[error("submodule {place}: {why}")]
    Submodule {
        /// Where it is.
        place: String,
        /// Why, in words.
        why: String,
    },
    /// Large files that cannot be had.
    #[error("large files (Git LFS): {why}")]
    LargeFiles {
        /// Why, in words.
        why: String,
    },
    /// More workflow files than are read.
    #[error("{path}: {why}")]
    TooLarge {
        /// Which directory.
        path: String,
        /// What was found, what the limit is.
        why: String,
    },
}

pub(super) struct Git<'a> {
    dir: &'a Path,
    deadline: Duration,
    reach: Option<&'a Reach>,
}

impl<'a> Git<'a> {
    pub(super) fn new(dir: &'a Path, deadline: Duration) -> Self {
        Self { dir, deadline, reach: None }
    }

    /// It may ask this server, with its credentials.
    pub(super) fn asking(mut self, reach: &'a Reach) -> Self {
        self.reach = Some(reach);
        self
    }

    /// Runs `git ARGS`; its standard output on success.
    pub(super) async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, Error> {
        let action = action_of(args);
        let ended = tokio::time::timeout(self.deadline, end(&mut self.command(args), &action)).await;
        let (status, stdout, stderr) = ended
            .map_err(|_| Error::TimedOut { action: action.clone(), seconds: self.deadline.as_secs() })??;
        if status.success() {
            return Ok(stdout);
        }
        Err(Error::Failed { action, stderr: self.readable(&stderr) })
    }

    /// Runs `git ARGS`, and of what it writes takes only the beginning, at most so many bytes: it is then ended.
    pub(super) async fn beginning<S: AsRef<OsStr>>(&self, args: &[S], most: u64) -> Result<Vec<u8>, Error> {
        let action = action_of(args);
        let read = tokio::time::timeout(self.deadline, begin(&mut self.command(args), &action, most)).await;
        let (status, bytes, stderr) =
            read.map_err(|_| Error::TimedOut { action: action.clone(), seconds: self.deadline.as_secs() })??;
        match status {
            Some(status) if !status.success() => {
                Err(Error::Failed { action, stderr: self.readable(&stderr) })
            }
            _ => Ok(bytes),
        }
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(self.dir)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        command
    }

    fn environment(&self) -> Vec<(String, String)> {
        let config = [
            ("core.hooksPath", "/dev/null".to_owned()),
            ("core.fsmonitor", "false".to_owned()),
            ("core.askPass", String::new()),
            ("credential.helper", String::new()),
            ("gc.auto", "0".to_owned()),
            ("maintenance.auto", "false".to_owned()),
            // Another server would be asked unchecked, and another repository in the name of this one.
            ("http.followRedirects", "false".to_owned()),
            ("http.lowSpeedLimit", "1".to_owned()),
            ("http.lowSpeedTime", SILENCE_SECONDS.to_string()),
            ("submodule.recurse", "false".to_owned()),
            ("transfer.fsckObjects", "true".to_owned()),
            ("advice.detachedHead", "false".to_owned()),
            ("safe.directory", "*".to_owned()),
            ("init.defaultBranch", "main".to_owned()),
        ];
        let (more_config, more_env) =
            self.reach.map(|reach| (reach.config.clone(), reach.env.clone())).unwrap_or_default();
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
            // No server is asked over SSH but by its address and with its key.
            ("GIT_SSH_COMMAND", "false"),
            ("GIT_OPTIONAL_LOCKS", "0"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        let config: Vec<_> =
            config.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(more_config).collect();
        env.push(("GIT_CONFIG_COUNT".to_owned(), config.len().to_string()));
        for (n, (key, value)) in config.into_iter().enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{n}"), key));
            env.push((format!("GIT_CONFIG_VALUE_{n}"), value));
        }
        env.extend(more_env);
        env
    }

    /// The last 2,000 characters of git's words, without the password should a server have echoed it.
    fn readable(&self, stderr: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(stderr).trim().to_owned();
        if let Some(reach) = self.reach {
            text = reach.credentials.left_out_of(&text);
        }
        let skip = text.chars().count().saturating_sub(2000);
        text.chars().skip(skip).collect()
    }
}

/// The subcommand.
fn action_of<S: AsRef<OsStr>>(args: &[S]) -> String {
    args.first().map(|a| a.as_ref().to_string_lossy().into_owned()).unwrap_or_default()
}

/// git and whatever it started (the program that talks to the server): all of it ends when nobody waits for it any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // None when git was waited for: its number may be another's by now.
        let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id as i32)) else { return };
        if let Err(error) = kill_process_group(group, Signal::KILL) {
            tracing::warn!(%error, "git cannot be killed");
        }
    }
}

/// Runs it to its end: how it ended, its output, and the end of its error output.
async fn end(command: &mut Command, action: &str) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Error> {
    let io = |source| Error::Io { action: action.to_owned(), source };
    let mut group = Group(command.spawn().map_err(io)?);
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    // To their ends before git is waited for: whoever holds them open longer than git is of the group, and is killed with it.
    let (stdout, stderr) = tokio::try_join!(whole(stdout, action), last(stderr, action))?;
    Ok((group.0.wait().await.map_err(io)?, stdout, stderr))
}

/// Runs it until it has written so much, or to its end: how it ended, if it did, and the beginning of its output.
async fn begin(
    command: &mut Command,
    action: &str,
    most: u64,
) -> Result<(Option<ExitStatus>, Vec<u8>, Vec<u8>), Error> {
    let io = |source| Error::Io { action: action.to_owned(), source };
    let mut group = Group(command.spawn().map_err(io)?);
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let mut bytes = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(most).read_to_end(&mut bytes).await.map_err(io)?;
    }
    if bytes.len() as u64 >= most {
        return Ok((None, bytes, Vec::new()));
    }
    let stderr = last(stderr, action).await?;
    Ok((Some(group.0.wait().await.map_err(io)?), bytes, stderr))
}

async fn whole(from: Option<impl AsyncRead + Unpin>, action: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let read = from.take(MAX_OUTPUT_BYTES as u64 + 1).read_to_end(&mut bytes).await;
        read.map_err(|source| Error::Io { action: action.to_owned(), source })?;
    }
    if bytes.len() > MAX_OUTPUT_BYTES {
        return Err(Error::TooMuchOutput { action: action.to_owned(), limit: MAX_OUTPUT_BYTES });
    }
    Ok(bytes)
}

async fn last(from: Option<impl AsyncRead + Unpin>, action: &str) -> Result<Vec<u8>, Error> {
    let (mut kept, mut buffer) = (Vec::new(), vec![0; KEPT_ERROR_BYTES]);
    let Some(mut from) = from else { return Ok(kept) };
    loop {
        let read = from.read(&mut buffer).await;
        let read = read.map_err(|source| Error::Io { action: action.to_owned(), source })?;
        if read == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&buffer[..read]);
        kept.drain(..kept.len().saturating_sub(KEPT_ERROR_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use tokio::net::TcpListener;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    /// Longer than any test waits for anything.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Processes that have this in their command line.
    fn running(mark: &str) -> Result<usize> {
        let mut found = 0;
        for entry in fs::read_dir("/proc")? {
            let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
            found += usize::from(String::from_utf8_lossy(&line).contains(mark));
        }
        Ok(found)
    }

    async fn gone(mark: &str) -> Result {
        let gone = async {
            while running(mark)? > 0 {
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, gone).await?
    }

    /// A server that takes connections and never answers.
    async fn silent() -> Result<(String, TcpListener)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok((format!("http://127.0.0.1:{}/silent", listener.local_addr()?.port()), listener))
    }

    #[tokio::test]
    async fn git_and_its_children_are_gone_when_the_time_is_up() -> Result {
        let dir = tempfile::tempdir()?;
        let (url, _listener) = silent().await?;
        let git = Git::new(dir.path(), Duration::from_secs(1));
        let error = git.run(&["ls-remote", "--end-of-options", &url]).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        gone(&url).await
    }

    #[tokio::test]
    async fn git_and_its_children_are_gone_when_nobody_waits_any_more() -> Result {
        let dir = tempfile::tempdir()?;
        let (url, listener) = silent().await?;
        let (path, mut waiting) = (dir.path().to_owned(), tokio::task::JoinSet::new());
        let asked = url.clone();
        waiting.spawn(async move {
            Git::new(&path, PATIENCE).run(&["ls-remote", "--end-of-options", &asked]).await.is_ok()
        });
        let _open = tokio::time::timeout(PATIENCE, listener.accept()).await??;
        assert!(running(&url)? >= 2, "git and what talks to the server");
        waiting.shutdown().await;
        gone(&url).await
    }

    #[tokio::test]
    async fn output_is_bounded_and_of_errors_the_end_is_kept() -> Result {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("large"), vec![b'x'; MAX_OUTPUT_BYTES + 1])?;
        let git = Git::new(dir.path(), PATIENCE);
        git.run(&["init", "--quiet", "."]).await?;
        let object = String::from_utf8(git.run(&["hash-object", "-w", "large"]).await?)?;
        let error = git.run(&["cat-file", "blob", object.trim()]).await.unwrap_err();
        assert!(matches!(&error, Error::TooMuchOutput { limit: MAX_OUTPUT_BYTES, .. }), "{error}");
        let long = format!("{}the end", "x".repeat(2 * KEPT_ERROR_BYTES));
        let error = git.run(&["rev-parse", "--verify", &long]).await.unwrap_err();
        assert!(matches!(&error, Error::Failed { stderr, .. } if stderr.chars().count() <= 2000), "{error}");
        let kept = last(Some(long.as_bytes()), "x").await?;
        assert!(kept.len() == KEPT_ERROR_BYTES && kept.ends_with(b"the end"));
        Ok(())
    }

    /// The URL's own checks come first; this is the second fence, should a URL be found that they let through.
    #[tokio::test]
    async fn git_itself_refuses_what_runs_commands_or_reads_this_machine() -> Result {
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
