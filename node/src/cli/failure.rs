//! Why a command fails, and its exit code (docs/cli.md).
//!
//! Must not know which command failed.

use std::path::PathBuf;

use domain::{AttemptId, JobId, RunId};
use raft_store::JoinError as Asked;

use super::join::Error as JoinError;
use super::run::machine::Error as Local;
use crate::api::Code;
use crate::server::Error as ServerError;

/// The exit code of what may go well at another time.
const UNAVAILABLE: u8 = 5;
/// The exit code of a node that was removed: starting it again does not help.
const REMOVED: u8 = 7;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API refused.
    #[error("{0}")]
    Problem(#[from] crate::api::Problem),
    /// No answer.
    #[error("cannot reach {tried}; does a node run there? (--addr, TROUPE_ADDR)")]
    Unreachable {
        /// Which addresses, each with the library's words.
        tried: String,
    },
    /// An address that cannot be asked.
    #[error(
        "the address {addr:?} is not acceptable: {why}; http://HOST:PORT is expected (--addr, TROUPE_ADDR)"
    )]
    Address {
        /// As given.
        addr: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that no path of the API can have.
    #[error("{found:?} is no name of anything")]
    Name {
        /// As given.
        found: String,
    },
    /// A token that cannot be sent.
    #[error("the token is not acceptable: visible ASCII characters are expected (--token, TROUPE_TOKEN)")]
    TokenText,
    /// The API wants a token, and none was given.
    #[error("no token: set TROUPE_TOKEN, or give --token")]
    NoToken,
    /// A change that was asked for, and no answer came.
    #[error("{addr} gave no answer: {why}; the change may or may not have been made")]
    Unanswered {
        /// Which address.
        addr: String,
        /// The library's words.
        why: String,
    },
    /// An answer that makes no sense.
    #[error("{addr} answered something that is not Troupe's API: {why}")]
    BadAnswer {
        /// Which address.
        addr: String,
        /// What is wrong.
        why: String,
    },
    /// An answer that ended before its end.
    #[error("the connection to {addr} broke: {why}")]
    Broken {
        /// Which address.
        addr: String,
        /// What happened.
        why: String,
    },
    /// The library of the client did not start.
    #[error("cannot make an HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// A file that was named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Input {
        /// Which; `-` is the standard input.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A folder that was named cannot be made or written in.
    #[error("cannot write in {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The run has no job of that index.
    #[error("run {} has no job {}", job.run, job.index)]
    NoJob {
        /// Which.
        job: JobId,
    },
    /// The job was never placed.
    #[error("job {job} has no attempt, it is {state}{}", if *finished { "" } else { "; `troupe logs --follow` waits for one" })]
    NoAttempt {
        /// Which.
        job: JobId,
        /// Its state, or how it ended.
        state: String,
        /// There will be none.
        finished: bool,
    },
    /// What is about one job was asked of a run with several.
    #[error("run {run} has {count} jobs: name one as {run}.INDEX")]
    SeveralJobs {
        /// Which.
        run: RunId,
        /// How many.
        count: usize,
    },
    /// No such file among an attempt's artifacts.
    #[error("attempt {attempt} kept no file {path:?}")]
    NoArtifact {
        /// Which attempt.
        attempt: AttemptId,
        /// What was asked for.
        path: String,
    },
    /// A path that could lead out of the folder that was given.
    #[error("the artifact {path:?} is not written: {why}")]
    UnsafePath {
        /// What the server says.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something is there already.
    #[error("{} exists; --force overwrites it", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// What came is not what was kept.
    #[error("the artifact {path:?} is not what was kept: {what}; nothing was written")]
    Corrupt {
        /// Which.
        path: String,
        /// Found, and expected.
        what: String,
    },
    /// A directory in which nothing can be measured.
    #[error("cannot measure the disk of {}: {source} (see --disk)", dir.display())]
    Disk {
        /// Which.
        dir: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// More connections than this process may have.
    #[error(
        "{wanted} open files are needed, this process may have {allowed}; raise `ulimit -Hn`, or ask for fewer"
    )]
    OpenFiles {
        /// How many.
        wanted: u64,
        /// The limit that only the system's administrator raises.
        allowed: u64,
    },
    /// The first of many did not go well, so that nothing can be measured.
    #[error("the first {kind} failed, so that there is nothing to measure: {why}")]
    FirstJob {
        /// Of what.
        kind: &'static str,
        /// Its words.
        why: String,
    },
    /// Configuration.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// Telemetry.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::Error),
    /// The node did not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The machine did not join.
    #[error(transparent)]
    Join(#[from] super::join::Error),
    /// The cluster was not recovered.
    #[error(transparent)]
    Recover(#[from] raft_store::recovery::RecoverError),
    /// Certificates.
    #[error(transparent)]
    Links(#[from] links::Error),
    /// The cluster did not do what a bench waited for.
    #[error("waited in vain for {what}; the logs of the nodes say why")]
    Failover {
        /// What was waited for.
        what: &'static str,
    },
    /// A command that was given as an option.
    #[error("{command:?} ended with {status}")]
    Hook {
        /// Which.
        command: String,
        /// How it ended.
        status: String,
    },
    /// No sources for a run here.
    #[error(transparent)]
    Sources(#[from] super::run::checkout::Error),
    /// No machine for a run here, or not all of it could be removed.
    #[error(transparent)]
    Machine(#[from] super::run::machine::Error),
    /// The workflow does not want the event.
    #[error("{file}: no run, because {why}; --event tells of another event, --input asks for it by hand")]
    NoRun {
        /// Which file.
        file: String,
        /// In words.
        why: String,
    },
    /// The run was not made.
    #[error("the run cannot be made: {why}")]
    NotMade {
        /// In words.
        why: String,
    },
    /// A job that was named.
    #[error("{file} has no job {job:?}; it has: {jobs}")]
    NoSuchJob {
        /// Which file.
        file: String,
        /// As given.
        job: String,
        /// The ids that there are.
        jobs: String,
    },
    /// A secret that was named has no value.
    #[error("the secret {name} has no value: set the variable {name}, or give --secret {name}=VALUE")]
    NoSecret {
        /// Its name.
        name: String,
    },
    /// By somebody, before the run was over.
    #[error("interrupted before the run was over")]
    Interrupted,
    /// Writing out.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.code.exit_code(),
            Self::Unreachable { .. }
            | Self::Unanswered { .. }
            | Self::BadAnswer { .. }
            | Self::Broken { .. } => UNAVAILABLE,
            Self::Config(_)
            | Self::Address { .. }
            | Self::TokenText
            | Self::Name { .. }
            | Self::Input { .. }
            | Self::Folder { .. }
            | Self::SeveralJobs { .. }
            | Self::Disk { .. }
            | Self::OpenFiles { .. }
            | Self::Sources(_)
            | Self::NoSuchJob { .. }
            | Self::NoSecret { .. }
            | Self::Server(
                ServerError::Certificates(_) | ServerError::WrongCertificate { .. } | ServerError::CaKey(_),
            )
            | Self::Join(JoinError::Address { .. } | JoinError::Name(_)) => 2,
            Self::Server(ServerError::Removed { .. }) => REMOVED,
            Self::Join(JoinError::Asked(Asked::Unavailable(_))) => UNAVAILABLE,
            Self::Join(
                JoinError::Asked(Asked::Refused(_)) | JoinError::There { .. } | JoinError::OtherCa { .. },
            ) => 4,
            Self::Machine(Local::Engine { .. }) => UNAVAILABLE,
            Self::FirstJob { .. } | Self::Failover { .. } | Self::Hook { .. } | Self::Interrupted => 1,
            Self::NoRun { .. } | Self::NoJob { .. } | Self::NoAttempt { .. } | Self::NoArtifact { .. } => 3,
            Self::Exists { .. } | Self::NoToken | Self::Links(links::Error::Exists { .. }) => 4,
            Self::Telemetry(_)
            | Self::Server(_)
            | Self::Links(_)
            | Self::Join(_)
            | Self::Recover(_)
            | Self::Machine(_)
            | Self::NotMade { .. }
            | Self::Output(_)
            | Self::Http(_)
            | Self::UnsafePath { .. }
            | Self::Corrupt { .. } => 6,
        }
    }

    /// True when the same request may go well at another time, or at another node.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.exit_code() == UNAVAILABLE
    }

    /// True when output is on a node that is away, or was cut off on its way.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.code == Code::OutputUnavailable,
            other => matches!(other, Self::Broken { .. }),
        }
    }

    /// True when there is no such thing, or not yet.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.code == Code::NotFound)
    }

    /// True when whoever read our output has gone.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}
