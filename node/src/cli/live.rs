//! The live view of a run on a terminal: one line per job, redrawn as it changes and as time goes.
//!
//! Must not know how events come.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::RunId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::events::Events;
use super::follow::{Patience, Say};
use super::nodes::Names;
use super::table::{duration, now, plain};
use super::target::standing;
use super::{Client, Failure, jobs};
use crate::api::dto::{JobView, RunView};

/// How often the lines are drawn while nothing changes.
const DRAW: Duration = Duration::from_millis(200);

/// The lines on the terminal.
pub struct Live {
    client: Client,
    terminal: MultiProgress,
    lines: BTreeMap<String, ProgressBar>,
    names: Names,
}

impl Live {
    /// No lines yet, on the standard output.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let terminal = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Self { client: client.clone(), terminal, lines: BTreeMap::new(), names: Names::default() }
    }

    /// Draws until the run is finished; the lines stay.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn follow(mut self, id: RunId) -> Result<RunView, Failure> {
        let terminal = self.terminal.clone();
        let say: Say = Arc::new(move |text: &str| {
            // A message that cannot be drawn is lost with the terminal that it was for.
            drop(terminal.println(format!("troupe: {}", plain(text))));
        });
        let mut events = Events::of(&self.client, id, Patience::default(), say);
        let mut clock = tokio::time::interval(DRAW);
        let mut run: Option<RunView> = None;
        loop {
            let mut next = pin!(events.next());
            let now = loop {
                tokio::select! {
                    changed = &mut next => break changed?,
                    _ = clock.tick() => if let Some(run) = &run { self.draw(run) },
                }
            };
            if !self.names.know(now.jobs.iter().filter_map(|job| job.node.as_deref())) {
                self.names = Names::fetch(&self.client).await?;
            }
            self.draw(&now);
            if now.outcome.is_some() {
                // The last line is left without its end.
                println!();
                return Ok(now);
            }
            run = Some(now);
        }
    }

    fn draw(&mut self, run: &RunView) {
        let width = run.jobs.iter().map(|job| plain(&job.key).chars().count()).max().unwrap_or(0);
        let now = now();
        for job in &run.jobs {
            let line = self.lines.entry(job.id.clone()).or_insert_with(|| {
                self.terminal.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")))
            });
            if line.is_finished() {
                continue;
            }
            let text = text(job, &self.names, width, now);
            if job.outcome.is_some() {
                line.set_style(style("  {wide_msg}"));
                line.finish_with_message(text);
            } else {
                line.set_message(text);
                line.tick();
            }
        }
    }
}

/// The template is ours; one that cannot be read would only look different.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Key, state, node, how long it has been in that state (once finished, how long it ran), and why it waits or failed.
fn text(job: &JobView, names: &Names, width: usize, now: u64) -> String {
    let since = match job.state.as_str() {
        "running" | "finished" => job.started_at,
        "placed" => job.placed_at,
        _ => job.queued_at,
    };
    let until = job.finished_at.unwrap_or(now);
    let elapsed = since.map_or_else(|| "-".to_owned(), |since| duration(until.saturating_sub(since)));
    let again = if job.attempts > 1 { format!("  attempt {}", job.attempts) } else { String::new() };
    let why = job.reason.as_deref().map(|why| format!("  {}", plain(why))).unwrap_or_default();
    let (key, node) = (plain(&job.key), plain(names.of(jobs::node(job))));
    format!("{key:width$}  {:<9}  {node:<12}  {elapsed:<6}{again}{why}", plain(standing(job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, outcome: Option<&str>) -> JobView {
        JobView {
            id: "x.0".to_owned(),
            key: "te\u{1b}st".to_owned(),
            name: String::new(),
            group: None,
            form: String::new(),
            state: state.to_owned(),
            outcome: outcome.map(str::to_owned),
            attempts: 2,
            node: Some("0000000000000001".to_owned()),
            reason: (state == "queued").then(|| "no room\u{7}".to_owned()),
            cancel_requested: false,
            environment: None,
            approved_by: None,
            retry_at: None,
            priority: 0,
            labels: Vec::new(),
            queued_at: Some(1_000),
            placed_at: Some(2_000),
            started_at: Some(3_000),
            finished_at: outcome.map(|_| 6_500),
            paused_at: None,
        }
    }

    #[test]
    fn a_line_says_key_state_node_and_time() {
        let line = |job: &JobView| text(job, &Names::default(), 6, 5_000);
        let queued = "te\u{fffd}st   queued     -             4.0s    attempt 2  no room\u{fffd}";
        assert_eq!(line(&job("queued", None)), queued, "the node that lost it is not where it is");
        assert!(line(&job("running", None)).contains("running    0000000000000001  2.0s"));
        assert!(line(&job("finished", Some("failed"))).contains("failed     0000000000000001  3.5s"));
    }
}
