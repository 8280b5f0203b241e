//! Links between nodes: one cluster port, mutual TLS only, three protocols told apart by ALPN.
//!
//! A fourth, for machines that have no certificate yet and ask for one, is kept apart from them ([`join`]). Also the
//! cluster's certificate authority. Must not know what is said over a link: Raft, actors and bulk are built on
//! it by raft-store and actors.

pub mod ca;
mod dialer;
mod identity;
pub mod join;
mod keepalive;
mod peer_name;
mod port;
mod protocol;
mod refusal;
mod rotation;
mod stream;
#[cfg(test)]
mod versions_tests;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use dialer::Dialer;
pub use identity::{Files, Identity};
pub use peer_name::{InvalidPeerName, PeerName};
pub use port::{Counters, Limits, Port};
pub use protocol::{Protocol, Versions};
pub use stream::LinkStream;

/// A stream to another node whose certificate was checked.
#[derive(Debug)]
pub struct Link {
    /// Bytes both ways. Holds the link's place on the port until it is dropped.
    pub stream: LinkStream,
    /// The name in the other's certificate.
    pub peer: PeerName,
    /// The other's address.
    pub remote: SocketAddr,
    /// The version of the protocol that both speak.
    pub version: u16,
}

/// What can go wrong with links and certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file is there that must not be overwritten.
    #[error("{} exists already; remove it, or choose another directory", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{}: {why}", path.display())]
    BadFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate outside its validity.
    #[error("the certificate in {} is not valid now (from {from} to {to}); issue a new one with `troupe ca issue`", path.display())]
    NotValidNow {
        /// Which file.
        path: PathBuf,
        /// Start of validity.
        from: String,
        /// End of validity.
        to: String,
    },
    /// A certificate that other members will not accept.
    #[error(
        "the certificate in {} does not stand with the CA in {}: {why}; issue it with that CA (`troupe ca issue`), or \
         take the ca.pem of the CA that issued it",
        cert.display(), ca.display()
    )]
    NotOfThisCa {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the CA's certificate.
        ca: PathBuf,
        /// The library's words.
        why: String,
    },
    /// A key of another certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}; take the two that one `troupe ca issue` made, or issue \
         both anew",
        key.display(), cert.display()
    )]
    WrongKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        cert: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {why}")]
    Issue {
        /// The library's words.
        why: String,
    },
    /// A request for a certificate that is not fulfilled.
    #[error("the request for a certificate is refused: {why}")]
    Request {
        /// What is wrong with it.
        why: String,
    },
    /// A name that is not acceptable.
    #[error(transparent)]
    Name(#[from] InvalidPeerName),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source} (another process may use it; see cluster.listen)")]
    Bind {
        /// Which address.
        addr: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Which address.
        addr: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {addr} failed: {source}")]
    Handshake {
        /// Which address.
        addr: String,
        /// The library's words.
        source: std::io::Error,
    },
    /// Too slow.
    #[error("no link to {addr} within {millis} ms")]
    TimedOut {
        /// Which address.
        addr: String,
        /// The limit.
        millis: u128,
    },
    /// Builds that are too far from each other.
    #[error(
        "{addr} speaks version {theirs} of {protocol}, this node {ours}: the two builds are too far apart; upgrade one \
         release after the other"
    )]
    NoCommonVersion {
        /// Which address.
        addr: String,
        /// Which protocol.
        protocol: &'static str,
        /// The other's.
        theirs: Versions,
        /// Ours.
        ours: Versions,
    },
    /// A member of the cluster, but not the one that was meant.
    #[error("{addr} has the certificate of {found:?}, expected {expected:?}")]
    WrongPeer {
        /// Which address.
        addr: String,
        /// Who was meant.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// A certificate of our CA without a node's name in it.
    #[error("the certificate of {addr} names no node")]
    Nameless {
        /// Which address.
        addr: String,
    },
    /// Who answered is no member of the cluster that is to be joined.
    #[error(
        "{addr} has no certificate of the CA that the token names: it belongs to another cluster, or the CA was changed \
         since; make a new token"
    )]
    WrongCa {
        /// Which address.
        addr: String,
    },
    /// A conversation with a machine that is no member did not come to its end.
    #[error("the conversation with {remote} about joining broke: {source}")]
    Conversation {
        /// The other's address.
        remote: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// The protocol's receiver was taken before.
    #[error("the links of protocol {protocol} were taken already")]
    Taken {
        /// Which protocol.
        protocol: &'static str,
    },
}
