//! `troupe drain`.

use std::time::Duration;

use reqwest::Method;

use super::client::escaped;
use super::{Client, Failure, span, table};
use crate::api::dto::{Drain, NodeView};
use crate::api::{Code, Problem};

/// Between two looks at what still runs.
const LOOK: Duration = Duration::from_millis(500);

/// Which node, and what becomes of what it runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name or id.
    node: String,
    /// Allow placements again.
    #[arg(long, conflicts_with_all = ["deadline", "now", "wait"])]
    off: bool,
    /// What still runs after this time is ended, and its jobs are queued again: seconds, or as in 90s, 30m, 12h, 7d; 7 days at
    /// most [default: it may finish].
    #[arg(long, value_name = "TIME", value_parser = span::short_seconds, conflicts_with = "now")]
    deadline: Option<u32>,
    /// What runs there is ended now, and its jobs are queued again.
    #[arg(long)]
    now: bool,
    /// Wait until nothing runs there any more.
    #[arg(long)]
    wait: bool,
}

/// Stops placements on a node, or allows them again.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, args: &Args, json: bool) -> Result<u8, Failure> {
    let Args { node, off, wait, .. } = args;
    let asked = Drain { drain: !off, deadline_seconds: if args.now { Some(0) } else { args.deadline } };
    let path = format!("/v1/nodes/{}/drain", escaped(node));
    let answer = client.call(Method::POST, &path, &asked).await?;
    let words = match asked {
        Drain { drain: false, .. } => "takes jobs".to_owned(),
        Drain { deadline_seconds: None, .. } => "takes no more jobs; those that it has go on".to_owned(),
        Drain { deadline_seconds: Some(0), .. } => {
            "takes no more jobs; those that it has are ended and queued again".to_owned()
        }
        Drain { deadline_seconds: Some(seconds), .. } => format!(
            "takes no more jobs; those that it has go on for {}, then they are ended and queued again",
            table::duration(u64::from(seconds) * 1000)
        ),
    };
    client.told(&answer, &format!("{node} {words}"), json)?;
    if *wait {
        until_idle(client, node).await?;
    }
    Ok(0)
}

/// Until the node holds no job, with a word whenever their number changes.
async fn until_idle(client: &Client, node: &str) -> Result<(), Failure> {
    let path = format!("/v1/nodes/{}", escaped(node));
    let mut said = None;
    loop {
        let seen: NodeView = client.get(&path).await?;
        match seen.busy {
            0 => return Ok(()),
            _ if !seen.drain => {
                let why = format!("{node} takes jobs again: somebody has ended its drain");
                return Err(Problem::new(Code::Conflict, why).into());
            }
            busy if said != Some(busy) => {
                let (jobs, run) = if busy == 1 { ("job", "runs") } else { ("jobs", "run") };
                table::say(&format!("{busy} {jobs} still {run} there"));
                said = Some(busy);
            }
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}
