//! NATS JetStream: messages to one stream of three replicas in files. Acknowledged when a quorum has written them; the
//! files are synced later, at an interval.

use std::time::Duration;

use async_nats::jetstream::{self, Context, stream::Config, stream::StorageType};

use crate::RECORD_BYTES;
use crate::figures::Row;
use crate::stage::{self, Sender, Stage};

struct Publisher {
    stream: Context,
    subject: String,
    payload: Vec<u8>,
}

impl Sender for Publisher {
    async fn send(&mut self, _number: u64) -> anyhow::Result<()> {
        self.stream.publish(self.subject.clone(), self.payload.clone().into()).await?.await?;
        Ok(())
    }
}

pub async fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut connections = Vec::new();
    for index in 0..stage.connections {
        let node = &stage.nodes[index % stage.nodes.len()];
        connections.push(jetstream::new(async_nats::connect(node).await?));
    }
    let subject = format!("bench-{}-{}", std::process::id(), stage.clients);
    let config = Config {
        name: subject.clone(),
        subjects: vec![subject.clone()],
        storage: StorageType::File,
        num_replicas: 3,
        ..Default::default()
    };
    connections[0].create_stream(config).await?;
    // The nodes hear of a new stream one after the other; until then they refuse what is sent to it.
    for connection in &connections {
        while connection.publish(subject.clone(), "first".into()).await?.await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let publishers = (0..stage.clients).map(|client| Publisher {
        stream: connections[client % connections.len()].clone(),
        subject: subject.clone(),
        payload: vec![b'x'; RECORD_BYTES],
    });
    let row = stage::run(stage.seconds, publishers.collect()).await?;
    connections[0].delete_stream(&subject).await?;
    Ok(row)
}
