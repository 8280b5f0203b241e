//! Carries out what the rules ask for while this node leads: one change, then a new look.
//!
//! Must not know why a change is due: that is `rules`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::alias::LogIdOf;
use openraft::raft::Precondition;

use super::Members;
use super::rules::{Change, Seen, decide};
use crate::types::{NodeAddress, TypeConfig};

/// Runs until it is dropped.
pub(crate) async fn run(members: Arc<Members>) {
    let mut silent = BTreeSet::new();
    let mut tick = tokio::time::interval(members.timings.heartbeat * 2);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        members.caller.book.learn(members.metrics().membership_config.nodes());
        // A cluster that has no id yet is still being begun, by those that it begins with.
        if members.view.current().state.cluster.is_none() {
            continue;
        }
        let Some((seen, based_on)) = members.look() else { continue };
        tell(&mut silent, &seen, members.rules.heard_within);
        let Some(change) = decide(&seen, &members.rules) else { continue };
        members.carry_out(change, based_on).await;
    }
}

/// Says once of each member that it is not heard any more, and that it is heard again.
fn tell(silent: &mut BTreeSet<u64>, seen: &Seen, heard_within: Duration) {
    for (id, peer) in &seen.peers {
        let node = &peer.address;
        if peer.silent <= heard_within {
            if silent.remove(id) {
                tracing::info!(%node, "a member is heard again");
            }
        } else if silent.insert(*id) {
            tracing::warn!(%node, "a member is not heard any more");
        }
    }
}

impl Members {
    async fn carry_out(&self, change: Change, based_on: Option<LogIdOf<TypeConfig>>) {
        tracing::info!(?change, "a change of the members");
        let wanted: ChangeMembers<u64, NodeAddress> = match change {
            Change::HandOver => {
                if let Err(error) = self.hand_over(None).await {
                    tracing::warn!(%error, "this node was removed and leads");
                }
                return;
            }
            // No voter more or fewer: what is left of a change that is half done becomes whole.
            Change::Flatten => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Change::Readdress(id, address) => ChangeMembers::SetNodes(BTreeMap::from([(id, address)])),
            Change::Add(id, address) => ChangeMembers::AddNodes(BTreeMap::from([(id, address)])),
            Change::Voters(voters) => ChangeMembers::ReplaceAllVoters(voters),
            Change::Drop(id) => ChangeMembers::RemoveNodes(BTreeSet::from([id])),
        };
        // Decided on one membership, valid for that one alone.
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: based_on };
        let mut leadership = self.leadership.clone();
        tokio::select! {
            biased;
            changed = self.raft.change_membership_if(wanted, true, [unchanged]) => match changed {
                Ok(done) => tracing::info!(index = done.log_id.index, "the members have changed"),
                Err(error) => tracing::warn!(%error, "the members did not change; looked at again"),
            },
            // Whoever leads then looks at what there is.
            _ = leadership.wait_for(|now| !now.is_me) => {}
        }
    }
}
