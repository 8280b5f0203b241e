//! Commands that need no other node: `node`, `config`, `ca`.
//!
//! Must not know the HTTP API.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, join, table};
use crate::config::{Config, reference};
use crate::server::Server;
use crate::{open_files, telemetry};

/// `troupe config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// The configuration as a node would take it, environment included.
    Print {
        /// The file; without one, defaults and environment alone.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Every setting with its meaning and default.
    Reference,
}

/// `troupe ca`.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Makes the CA: ca.pem and ca-key.pem.
    Init {
        /// Where the files go.
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Makes a node's certificate and key.
    Issue {
        /// The node's name, as in its configuration's node.name.
        #[arg(value_parser = peer_name)]
        name: links::PeerName,
        /// Where the CA is.
        #[arg(long, value_name = "DIR", default_value = ".")]
        ca: PathBuf,
        /// Where the files go.
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Days until it expires, 1 to 3650.
        #[arg(long, value_name = "N", default_value_t = 825, value_parser = clap::value_parser!(i64).range(1..=3650))]
        days: i64,
    },
}

/// Runs a node until a signal that ends it; SIGHUP reads the certificates again.
pub async fn node(path: Option<&Path>, ticket: Option<&raft_store::Ticket>) -> Result<(), Failure> {
    let mut config = Config::load(path)?;
    telemetry::log(&config.log)?;
    open_files::leave_room(&mut config.http);
    if let Some(ticket) = ticket {
        join::join(&config, ticket).await?;
    }
    let handle = telemetry::metrics()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut server = Server::start(&config).await?;
    if let Err(error) = server.serve_metrics(&config.metrics.listen, handle).await {
        server.stop().await;
        return Err(error.into());
    }
    let mut failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => server.reload_certificates(),
            error = server.failed() => break Some(error),
        }
    };
    if failed.is_none() {
        let left = server.leave();
        tokio::select! {
            () = left => {}
            _ = terminate.recv() => tracing::warn!("a second signal: what runs here goes on"),
            _ = interrupt.recv() => tracing::warn!("a second signal: what runs here goes on"),
            error = server.failed() => failed = Some(error),
        }
    }
    tracing::info!(error = failed.as_ref().map(tracing::field::display), "stopping");
    if let Some(crate::server::Error::Removed { .. }) = failed {
        server.end_attempts().await;
    }
    server.stop().await;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Prints the configuration or its reference.
pub fn config(command: &ConfigCommand, json: bool) -> Result<(), Failure> {
    let text = match command {
        ConfigCommand::Print { config } => {
            let config = Config::load(config.as_deref())?;
            if json {
                return table::pretty(&config);
            }
            toml::to_string(&config).map_err(std::io::Error::other)?
        }
        ConfigCommand::Reference => reference(),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn peer_name(text: &str) -> Result<links::PeerName, links::InvalidPeerName> {
    text.parse()
}

/// Makes a CA or a certificate; prints where.
pub fn ca(command: &CaCommand, json: bool) -> Result<(), Failure> {
    let (cert, key) = match command {
        CaCommand::Init { dir } => {
            links::ca::init(dir)?;
            (dir.join("ca.pem"), dir.join("ca-key.pem"))
        }
        CaCommand::Issue { name, ca, out, days } => {
            let files = links::ca::issue(ca, out, name, *days)?;
            (files.cert, files.key)
        }
    };
    if json {
        return table::pretty(&serde_json::json!({ "cert": cert, "key": key }));
    }
    writeln!(std::io::stdout(), "{}\n{}", cert.display(), key.display())?;
    Ok(())
}
