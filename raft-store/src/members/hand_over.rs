//! The leader makes another voter lead: before it stops, before it is removed, or because somebody asked.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::NodeId;
use tokio::time::Instant;

use super::rules::successor;
use super::{Members, MembersError};

impl Members {
    /// Makes `to`, or the voter that has the most, lead; answers who leads then. This node goes on as a follower.
    pub(crate) async fn hand_over(&self, to: Option<NodeId>) -> Result<NodeId, MembersError> {
        let refused =
            |why: String| MembersError::Refused { what: "leadership is not handed over".to_owned(), why };
        let Some((seen, _)) = self.look() else { return Err(MembersError::Unavailable) };
        let voters: BTreeSet<u64> = seen.configs.iter().flatten().copied().collect();
        let target = match to {
            Some(NodeId(id)) if id == seen.me => return Ok(NodeId(id)),
            Some(NodeId(id)) => {
                let peer = seen.peers.get(&id).ok_or(MembersError::NotFound { node: NodeId(id) })?;
                if !voters.contains(&id) {
                    return Err(refused(format!("{} does not vote; only voters lead", peer.address.name)));
                }
                if peer.silent > self.rules.heard_within {
                    let name = &peer.address.name;
                    return Err(refused(format!("{name} was not heard for {} ms", peer.silent.as_millis())));
                }
                id
            }
            None => successor(&seen, &self.rules)
                .ok_or_else(|| refused("no other voter can be reached".to_owned()))?,
        };
        let since = Instant::now();
        let mut leadership = self.leadership.clone();
        let stopped = |error: &dyn std::fmt::Display| refused(error.to_string());
        self.raft.trigger().transfer_leader(target).await.map_err(|e| stopped(&e))?;
        let other = leadership.wait_for(|now| now.leader.as_ref().is_some_and(|(id, _)| *id != seen.me));
        let leader = match tokio::time::timeout(self.patience(), other).await {
            Ok(Ok(now)) => now.leader.as_ref().map_or(target, |(id, _)| *id),
            Ok(Err(error)) => return Err(stopped(&error)),
            Err(_) => {
                let millis = self.patience().as_millis();
                return Err(refused(format!("nobody took over within {millis} ms; an election goes on")));
            }
        };
        let millis = since.elapsed().as_millis() as u64;
        tracing::info!(leader = %NodeId(leader), millis, "handed over");
        Ok(NodeId(leader))
    }

    /// Longer than an election takes that follows a hand-over that went wrong.
    fn patience(&self) -> Duration {
        self.timings.election * 4
    }
}
