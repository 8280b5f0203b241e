//! `troupe bench`: figures of a running cluster, each beside a base line that this machine gives in the same minute.
//!
//! Ratios travel between machines, absolute figures do not; so no figure is shown without what it is measured against.
//! What fails is counted and said, and is part of no latency.

mod course;
mod disk;
mod docker;
mod door;
mod failover;
mod figures;
mod jobs;
mod load;
mod options;
mod phases;
mod scrape;
mod submit;
mod withdraw;
mod work;

use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use super::{Client, Failure, table};

/// `troupe bench`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Durable submits over the cluster's links or the HTTP API, beside fdatasync on this machine.
    Submit(submit::Args),
    /// Whole jobs, beside `docker run --rm IMAGE true` in alternating rounds.
    Jobs(jobs::Args),
    /// How long no submit is accepted when the leader goes, beside fdatasync on this machine.
    Failover(failover::Args),
}

/// Runs a command; the answer is the exit code: 1 when anything that was measured failed.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, command: Command, json: bool) -> Result<u8, Failure> {
    match command {
        Command::Submit(args) => ended_in_order(|stop| submit::run(client, args, json, stop)).await,
        Command::Jobs(args) => ended_in_order(|stop| jobs::run(client, args, json, stop)).await,
        Command::Failover(args) => ended_in_order(|stop| failover::run(args, json, stop)).await,
    }
}

/// Work that is told to stop by the first interrupt, so that it leaves nothing behind, and dropped at the second.
async fn ended_in_order<W: Future<Output = Result<u8, Failure>>>(
    begin: impl FnOnce(CancellationToken) -> W,
) -> Result<u8, Failure> {
    let stop = CancellationToken::new();
    let mut work = std::pin::pin!(begin(stop.clone()));
    tokio::select! {
        done = &mut work => return done,
        signal = tokio::signal::ctrl_c() => signal?,
    }
    table::say(
        "interrupted: what is under way ends, and what was submitted is cancelled; again to end at once",
    );
    stop.cancel();
    tokio::select! {
        done = work => done,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            table::say("ended at once: `troupe runs --outcome open` has what is left");
            Ok(1)
        }
    }
}
