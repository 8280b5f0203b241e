//! Nodes that drain: for good, until a deadline, or because their process stops.

use super::{
    AttemptReport, ClusterState, Command, Move, NODES, NodeId, Outcome, Progress, Refusal, Reply, Timestamp,
    World,
};

impl World {
    /// A node drains, with or without a deadline, or takes jobs again; or its present life leaves.
    pub(super) fn drain(&mut self, one: Move) -> Result<(), String> {
        let node = NodeId(1 + one.a % NODES);
        let drain = one.b.is_multiple_of(3);
        let until = (drain && one.b.is_multiple_of(2)).then(|| Timestamp(self.clock + one.a % 40));
        let boot = self.boots.get(&node).copied().ok_or("it never registered")?;
        let life = one.b.is_multiple_of(5).then_some(boot);
        match self.apply(Command::SetDrain { node, drain, until, life })? {
            Reply::Done => {}
            other => return Err(format!("a drain was answered {other:?}")),
        }
        self.seen.left += u64::from(life.is_some() && drain);
        if drain || life.is_some() {
            return Ok(());
        }
        // What makes no sense is refused.
        let (until, earlier) = (Some(Timestamp(1)), domain::BootId(u64::MAX));
        let never = self.apply(Command::SetDrain { node, drain, until, life: None })?;
        let late = self.apply(Command::SetDrain { node, drain: true, until: None, life: Some(earlier) })?;
        match (&never, &late) {
            (Reply::Refused(Refusal::Invalid { .. }), Reply::Refused(Refusal::WrongState { .. })) => Ok(()),
            other => Err(format!("drains that make no sense were answered {other:?}")),
        }
    }

    /// A loss counts, unless its node's time to drain was over.
    pub(super) fn excused(&mut self, before: &ClusterState, report: &AttemptReport) -> Result<(), String> {
        let lost = matches!(report.what, Progress::Finished { outcome: Outcome::Lost, .. });
        let id = report.attempt.job;
        let (Some(job), Some(now)) = (before.jobs.get(&id), self.state.jobs.get(&id)) else { return Ok(()) };
        // Refused, or told before.
        if !lost || now.fence == job.fence {
            return Ok(());
        }
        let node = before.nodes.get(&report.node).ok_or("a report of nobody was taken")?;
        let over = node.is_drained_by(self.state.now);
        self.seen.excused += u64::from(over);
        let counted = now.losses - job.losses;
        if counted == u16::from(!over) {
            Ok(())
        } else {
            Err(format!("{counted} losses of {id} were counted; its node's time to drain was over: {over}"))
        }
    }
}
