//! Nodes that join with a token, work, and are removed for ever.

use super::{Command, Kind, Move, NODES, NodeId, Refusal, Reply, Timestamp, TokenId, World, pick};

/// Guests have ids from here on.
const FIRST: u64 = 100;

impl World {
    /// A token is made and used: once, whoever tries to use it again.
    pub(super) fn admit(&mut self, one: Move) -> Result<(), String> {
        let id = self.mint();
        let token_hash = [(one.a % 251) as u8; 32];
        let expires_at = Timestamp(self.state.now.0 + 60_000);
        let made = Command::CreateJoinToken {
            id: TokenId(id),
            name: "guest".to_owned(),
            hash: token_hash,
            expires_at,
        };
        if self.apply(made)? != Reply::Done {
            return Ok(());
        }
        let node = NodeId(FIRST + u64::try_from(id).unwrap_or(u64::MAX));
        // Some names are taken.
        let name = format!("n{}", 1 + one.b % (NODES + 5));
        let taken = self.state.nodes.iter().any(|(_, node)| node.name.as_str() == name);
        let join = |node, request| -> Result<Command, String> {
            let name = name.parse().map_err(|e| format!("{e}"))?;
            Ok(Command::Join { token_hash, node, name, cluster_addr: "h:1".to_owned(), request })
        };
        let reply = self.apply(join(node, [1; 32])?)?;
        let known = self.state.admitted.contains(&node);
        if (reply == Reply::Done) != known || known && taken {
            return Err(format!("joining as {name} was answered {reply:?}, admitted: {known}"));
        }
        if !known {
            return Ok(());
        }
        let again = self.apply(join(node, [1; 32])?)?;
        let other = self.apply(join(NodeId(node.0 + 1_000_000), [1; 32])?)?;
        let forged = self.apply(join(node, [2; 32])?)?;
        if again != Reply::Done || other == Reply::Done || forged == Reply::Done {
            return Err(format!("a token was used twice: {again:?}, {other:?}, {forged:?}"));
        }
        self.seen.joined += 1;
        self.register_as(node, &name)
    }

    /// A guest is removed, once it is lost if it has jobs, and never comes back.
    pub(super) fn remove_guest(&mut self, one: Move) -> Result<(), String> {
        let guests: Vec<_> = self
            .state
            .nodes
            .iter()
            .filter(|(id, _)| id.0 >= FIRST)
            .map(|(id, node)| (*id, node.name.clone()))
            .collect();
        let Some((node, name)) = pick(&guests, one.a).cloned() else { return Ok(()) };
        let lost = self.state.nodes.get(&node).is_some_and(|node| node.lost);
        if !lost && self.state.held_jobs(node).next().is_some() {
            let early = self.apply(Command::RemoveMember { node, name: name.clone() })?;
            if !matches!(early, Reply::Refused(Refusal::WrongState { .. })) {
                return Err(format!("the removal of a node that has jobs was answered {early:?}"));
            }
            self.lose(node)?;
        }
        self.live.remove(&node);
        let reply = self.apply(Command::RemoveMember { node, name: name.clone() })?;
        if reply != Reply::Done {
            return Err(format!("the removal of a node without jobs was answered {reply:?}"));
        }
        self.seen.removed += 1;
        let back = self.apply_registration(node, name.as_str())?;
        if !matches!(back, Reply::Refused(Refusal::WrongState { .. })) {
            return Err(format!("a removed node that registers was answered {back:?}"));
        }
        self.apply(Command::RemoveMember { node, name }).map(drop)
    }

    /// None is left.
    pub(super) fn remove_guests(&mut self) -> Result<(), String> {
        while self.state.nodes.iter().any(|(id, _)| id.0 >= FIRST) {
            self.remove_guest(Move { kind: Kind::RemoveGuest, a: 0, b: 0 })?;
        }
        Ok(())
    }
}
