//! Bytes between nodes: logs and artifacts, as HTTP/2 over links of their own, so that they have flow control and never
//! delay a heartbeat. Members only: the link's certificate is the whole authorisation.
//!
//! Must not know how logs and artifacts are stored ([`Shelf`]).

mod client;
mod server;

use bytes::Bytes;
use domain::{AttemptId, NodeId};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use client::{Client, FetchError};
pub use server::{Options, child};

/// Bytes as they come; an error ends the stream and tells the reader that it is not whole.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// What this node has for others.
pub trait Shelf: Send + Sync + 'static {
    /// Encoded frames of an attempt's log from an offset of output; none when no log of it is here. With `follow`, to the
    /// end of the attempt, however late that is.
    fn log(&self, attempt: AttemptId, from: u64, follow: bool) -> BoxFuture<'_, Option<ByteStream>>;
    /// A kept file by its digest; none when it is not here.
    fn artifact(&self, digest: [u8; 32]) -> BoxFuture<'_, Option<ByteStream>>;
}

/// Fetches what other nodes have kept.
pub trait Others: Send + Sync + 'static {
    /// A kept file, from the node that has it.
    fn artifact(&self, node: NodeId, digest: [u8; 32]) -> BoxFuture<'_, Result<ByteStream, FetchError>>;
}

/// What one asks another node for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// See [`Shelf::log`].
    Log {
        /// Whose.
        attempt: AttemptId,
        /// First byte of output.
        from: u64,
        /// Go on until the end.
        follow: bool,
    },
    /// See [`Shelf::artifact`].
    Artifact {
        /// SHA-256.
        digest: [u8; 32],
    },
}

impl Wanted {
    fn path(&self) -> String {
        match self {
            Self::Log { attempt, from, follow } => {
                format!("/logs/{}/{}/{from}/{}", attempt.job, attempt.number, u8::from(*follow))
            }
            Self::Artifact { digest } => format!("/artifacts/{}", hex::encode(digest)),
        }
    }

    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let wanted = match parts.next()? {
            "logs" => Self::Log {
                attempt: AttemptId { job: parts.next()?.parse().ok()?, number: parts.next()?.parse().ok()? },
                from: parts.next()?.parse().ok()?,
                follow: match parts.next()? {
                    "0" => false,
                    "1" => true,
                    _ => return None,
                },
            },
            "artifacts" => {
                let mut digest = [0; 32];
                hex::decode_to_slice(parts.next()?, &mut digest).ok()?;
                Self::Artifact { digest }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{JobId, RunId};

    #[test]
    fn what_is_wanted_survives_its_path_and_nothing_else_is_read() {
        let attempt = AttemptId { job: JobId { run: RunId(5), index: 1 }, number: 2 };
        for wanted in [
            Wanted::Log { attempt, from: u64::MAX, follow: true },
            Wanted::Log { attempt, from: 0, follow: false },
            Wanted::Artifact { digest: [0xab; 32] },
        ] {
            assert_eq!(Wanted::parse(&wanted.path()), Some(wanted));
            assert_eq!(Wanted::parse(&format!("{}/x", wanted.path())), None);
        }
        for bad in ["", "/", "/logs", "/artifacts/..", "/artifacts/abcd", "/logs/a/1/0/0", "/etc/passwd"] {
            assert_eq!(Wanted::parse(bad), None, "{bad:?}");
        }
    }
}
