//! One stage: so many clients, each with a request under way at any time, until the time is over.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::figures::Row;

/// How a stage is run.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Clients at one time.
    pub clients: usize,
    /// Nothing is begun after so many seconds.
    pub seconds: u64,
    /// Connections that they share.
    pub connections: usize,
    /// Where to connect to.
    pub nodes: &'a [String],
}

/// Something that sends one record and waits until it is acknowledged.
pub trait Sender: Send + 'static {
    /// Sends record `number` of this client.
    fn send(&mut self, number: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs all clients to the end of the stage.
pub async fn run<S: Sender>(seconds: u64, senders: Vec<S>) -> anyhow::Result<Row> {
    let clients = senders.len();
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        tasks.spawn(async move {
            let (mut nanos, mut errors) = (Vec::new(), BTreeMap::new());
            let mut number = 0;
            while Instant::now() < until {
                let since = Instant::now();
                match sender.send(number).await {
                    Ok(()) => nanos.push(since.elapsed().as_nanos() as u64),
                    Err(error) => *errors.entry(error.to_string()).or_insert(0) += 1,
                }
                number += 1;
            }
            (nanos, errors)
        });
    }
    let (mut nanos, mut errors) = (Vec::new(), BTreeMap::<String, usize>::new());
    while let Some(done) = tasks.join_next().await {
        let (of_one, failed) = done?;
        nanos.extend(of_one);
        for (error, count) in failed {
            *errors.entry(error).or_default() += count;
        }
    }
    Ok(Row::new(clients, begun.elapsed(), nanos, errors))
}
