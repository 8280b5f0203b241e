//! Closed-loop clients of etcd, RabbitMQ and NATS JetStream: each sends the next record as soon as the one before is
//! acknowledged. Prints figures in the form of `troupe bench submit --json`, so that one script shows both.
//!
//! Must not know Troupe.

mod etcd;
mod figures;
mod nats;
mod rabbit;
mod stage;

use clap::{Parser, ValueEnum};

/// Bytes of each record, as in `troupe bench submit`.
const RECORD_BYTES: usize = 512;

/// What is measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    /// Puts of fresh keys.
    Etcd,
    /// Persistent messages to one quorum queue, with publisher confirms.
    Rabbitmq,
    /// Messages to one JetStream stream of three replicas in files, each acknowledged.
    Nats,
}

/// Measures a cluster of another system with closed-loop clients.
#[derive(Debug, Parser)]
struct Args {
    /// Which system.
    peer: Peer,
    /// Addresses of its nodes, HOST:PORT, divided by commas; connections are spread over them.
    #[arg(long, value_delimiter = ',', required = true)]
    nodes: Vec<String>,
    /// Clients of each stage.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1024")]
    clients: Vec<usize>,
    /// Seconds of each stage.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that the clients share; no more than clients.
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut stages = Vec::new();
    for clients in args.clients.iter().copied() {
        let stage = stage::Stage {
            clients,
            seconds: args.seconds,
            connections: args.connections.clamp(1, clients),
            nodes: &args.nodes,
        };
        stages.push(match args.peer {
            Peer::Etcd => etcd::run(&stage).await?,
            Peer::Rabbitmq => rabbit::run(&stage).await?,
            Peer::Nats => nats::run(&stage).await?,
        });
    }
    let name = args.peer.to_possible_value().map(|value| value.get_name().to_owned());
    let report = serde_json::json!({ "through": name, "record_bytes": RECORD_BYTES, "stages": stages });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
