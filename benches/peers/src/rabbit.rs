//! RabbitMQ: persistent messages to one quorum queue, each confirmed: a quorum has it in its log, synced.

use anyhow::ensure;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::RECORD_BYTES;
use crate::figures::Row;
use crate::stage::{self, Sender, Stage};

struct Publisher {
    channel: Channel,
    queue: String,
    body: Vec<u8>,
}

impl Sender for Publisher {
    async fn send(&mut self, _number: u64) -> anyhow::Result<()> {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let queue = self.queue.as_str().into();
        let confirm = self.channel.basic_publish("".into(), queue, options, &self.body, persistent).await?;
        let confirmed = confirm.await?;
        ensure!(matches!(confirmed, Confirmation::Ack(_)), "not confirmed");
        Ok(())
    }
}

pub async fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut connections = Vec::new();
    for index in 0..stage.connections {
        let node = &stage.nodes[index % stage.nodes.len()];
        let properties = ConnectionProperties::default();
        connections.push(Connection::connect(&format!("amqp://guest:guest@{node}/%2f"), properties).await?);
    }
    let queue = format!("bench-{}-{}", std::process::id(), stage.clients);
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString(LongString::from("quorum"));
    arguments.insert("x-queue-type".into(), quorum);
    let control = connections[0].create_channel().await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    control.queue_declare(queue.as_str().into(), options, arguments).await?;
    let mut publishers = Vec::new();
    for client in 0..stage.clients {
        let channel = connections[client % connections.len()].create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        publishers.push(Publisher { channel, queue: queue.clone(), body: vec![b'x'; RECORD_BYTES] });
    }
    let row = stage::run(stage.seconds, publishers).await?;
    control.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    Ok(row)
}
