//! etcd: each record is the value of a fresh key. Answered when a quorum has synced it and it is applied.

use etcd_client::{Client, KvClient};

use crate::RECORD_BYTES;
use crate::figures::Row;
use crate::stage::{self, Sender, Stage};

struct Putter {
    kv: KvClient,
    prefix: String,
    value: Vec<u8>,
}

impl Sender for Putter {
    async fn send(&mut self, number: u64) -> anyhow::Result<()> {
        self.kv.put(format!("{}/{number}", self.prefix), self.value.clone(), None).await?;
        Ok(())
    }
}

pub async fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut connections = Vec::new();
    for index in 0..stage.connections {
        let node = &stage.nodes[index % stage.nodes.len()];
        connections.push(Client::connect([format!("http://{node}")], None).await?.kv_client());
    }
    let run = std::process::id();
    let putters = (0..stage.clients).map(|client| Putter {
        kv: connections[client % connections.len()].clone(),
        prefix: format!("bench/{run}/{}/{client}", stage.clients),
        value: vec![b'x'; RECORD_BYTES],
    });
    stage::run(stage.seconds, putters.collect()).await
}
