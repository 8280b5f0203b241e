//! `troupe node --join TOKEN`: a new machine gets its certificate and belongs to a cluster from then on.
//!
//! Each step can be cut off and the whole be run again: key and request are kept in the data directory until all is
//! written, and the cluster answers the same request the same.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use raft_store::disk::LocalDisk;
use raft_store::{JoinError, Newcomer, Papers, Ticket, mark_joined, marked_joined};

use crate::config::Config;
use crate::server;

/// Why a machine did not join.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster was asked, or could not be.
    #[error(transparent)]
    Asked(#[from] JoinError),
    /// Something is there that belongs to a node already.
    #[error(
        "{} is there already: this machine is or was a node. Without --join it starts as that node; to join as a new one, move \
         its data directory, certificate and key away first",
        path.display()
    )]
    There {
        /// Which file.
        path: PathBuf,
    },
    /// The CA's certificate here is another one.
    #[error("{} holds other certificates than the cluster's; move it away (see cluster.ca)", path.display())]
    OtherCa {
        /// Which file.
        path: PathBuf,
    },
    /// Nobody could reach this node.
    #[error(
        "cluster.listen is {listen}, where no other node reaches this one: set cluster.advertise to HOST:PORT"
    )]
    Address {
        /// As configured.
        listen: String,
    },
    /// The node's name.
    #[error(transparent)]
    Name(#[from] links::InvalidPeerName),
    /// The key or the request for a certificate.
    #[error(transparent)]
    Links(#[from] links::Error),
    /// The data directory is in use, or cannot be.
    #[error(transparent)]
    DataDir(#[from] server::Error),
    /// A file cannot be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Joins, unless this machine has done so before.
///
/// # Errors
/// [`Error`]; run again it goes on where it was.
pub async fn join(config: &Config, ticket: &Ticket) -> Result<(), Error> {
    let data = &config.node.data_dir;
    let _lock = server::lock(data)?;
    let unfinished = Unfinished::at(data);
    let mark = || marked_joined(data).map_err(failed("read the mark in", data));
    if mark()?.is_some() && !unfinished.begun() {
        tracing::info!("this machine has joined already; the token is not needed");
        return Ok(());
    }
    if !unfinished.begun() {
        nothing_there(config)?;
    }
    let name: links::PeerName = config.node.name.parse()?;
    let cluster_addr = address(config)?;
    let csr_pem = unfinished.request(&name)?;
    let node = raft_store::identity::load_or_create(&LocalDisk, data).map_err(server::Error::from)?;
    let name = config.node.name.parse().map_err(server::Error::from)?;
    let papers = ticket.join(&Newcomer { node, name, cluster_addr, csr_pem }).await?;
    // First the mark: from here on this machine begins no cluster of its own, whatever is cut off.
    mark_joined(data, papers.cluster).map_err(failed("write the mark in", data))?;
    unfinished.install(config, &papers)?;
    tracing::info!(cluster = %papers.cluster, %node, "joined");
    Ok(())
}

/// Where others will reach this node.
pub(super) fn address(config: &Config) -> Result<String, Error> {
    if !config.cluster.advertise.is_empty() {
        return Ok(config.cluster.advertise.clone());
    }
    let listen = &config.cluster.listen;
    let reachable = listen
        .parse::<std::net::SocketAddr>()
        .is_ok_and(|addr| addr.port() != 0 && !addr.ip().is_unspecified());
    if reachable { Ok(listen.clone()) } else { Err(Error::Address { listen: listen.clone() }) }
}

/// A machine that has a certificate, a key, or a log is a node.
fn nothing_there(config: &Config) -> Result<(), Error> {
    let log = config.node.data_dir.join("log");
    for path in [&config.cluster.cert, &config.cluster.key, &log] {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Error::There { path: path.clone() });
        }
    }
    Ok(())
}

/// What is kept of a join that is not done: the directory `join` in the data directory.
struct Unfinished {
    dir: PathBuf,
}

impl Unfinished {
    fn at(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("join") }
    }

    fn begun(&self) -> bool {
        self.csr().exists()
    }

    fn csr(&self) -> PathBuf {
        self.dir.join("request.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    /// The request for a certificate, made once. The key is written first: a request that is there has its key.
    fn request(&self, name: &links::PeerName) -> Result<String, Error> {
        if self.begun() {
            return fs::read_to_string(self.csr()).map_err(failed("read", &self.csr()));
        }
        let made = links::ca::request(name)?;
        fs::create_dir_all(&self.dir).map_err(failed("make", &self.dir))?;
        write(&self.key(), &made.key_pem, 0o600)?;
        write(&self.csr(), &made.csr_pem, 0o644)?;
        Ok(made.csr_pem)
    }

    /// Writes what was given where the configuration has it, and forgets the request.
    fn install(&self, config: &Config, papers: &Papers) -> Result<(), Error> {
        let key = fs::read_to_string(self.key()).map_err(failed("read", &self.key()))?;
        let ca = &config.cluster.ca;
        match fs::read_to_string(ca) {
            Ok(there) if there.trim() == papers.ca.trim() => {}
            Ok(_) => return Err(Error::OtherCa { path: ca.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => write(ca, &papers.ca, 0o644)?,
            Err(error) => return Err(failed("read", ca)(error)),
        }
        write(&config.cluster.key, &key, 0o600)?;
        write(&config.cluster.cert, &papers.certificate, 0o644)?;
        for path in [self.csr(), self.key()] {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        fs::remove_dir(&self.dir).map_err(failed("remove", &self.dir))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

/// Written aside, synced and renamed: there whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let aside = path.with_extension("new");
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        fs::create_dir_all(dir)?;
        // One that was left has whatever mode it was made with.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(failed("write", path))
}
