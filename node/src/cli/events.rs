//! A run's events: the whole run, at first and at each change.
//!
//! Must not know what is done with them.

use domain::RunId;

use super::follow::{Follow, Patience, Say};
use super::{Client, Failure};
use crate::api::dto::RunView;

/// The changes of one run.
pub struct Events {
    client: Client,
    follow: Follow,
}

impl Events {
    /// Of a run that is known.
    #[must_use]
    pub fn of(client: &Client, run: RunId, patience: Patience, say: Say) -> Self {
        let follow = Follow::new(client, format!("/v1/runs/{run}/events"), patience, say);
        Self { client: client.clone(), follow }
    }

    /// Of a run that was made a moment ago, and may not be known to the node that is asked.
    #[must_use]
    pub fn of_new(client: &Client, run: RunId, patience: Patience, say: Say) -> Self {
        let this = Self::of(client, run, patience, say);
        Self { follow: this.follow.may_be_absent(), ..this }
    }

    /// The run now, at first; then as it is after the next change. A connection that broke begins again with the run
    /// as it is then.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn next(&mut self) -> Result<RunView, Failure> {
        let event = self.follow.next().await?;
        serde_json::from_str(&event.data).map_err(|error| self.client.bad(error.to_string()))
    }

    /// The run when it is finished.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn finished(&mut self) -> Result<RunView, Failure> {
        loop {
            let run = self.next().await?;
            if run.outcome.is_some() {
                return Ok(run);
            }
        }
    }
}
