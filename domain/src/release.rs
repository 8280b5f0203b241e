//! Releases of Troupe, and which commands a cluster may use while its nodes are of different ones.
//!
//! A node that does not know a command cannot apply it, and must stop. So a command is used only when every node of the
//! cluster is of a release that knows it: the cluster's release is the lowest that its nodes have said.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterState, Command};

/// A release, as far as what nodes say to each other depends on it: patches differ in nothing that others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// Of `MAJOR.MINOR.PATCH`.
    pub major: u16,
    /// Of `MAJOR.MINOR.PATCH`.
    pub minor: u16,
}

impl Release {
    /// Before all: what is used while nobody has said which release it is.
    pub const NONE: Self = Self { major: 0, minor: 0 };
    /// The first.
    pub const FIRST: Self = Self { major: 0, minor: 1 };

    /// Of a version as nodes say it. One that cannot be read is taken for the first: a node's word must not be able to stop
    /// the cluster.
    #[must_use]
    pub fn of(version: &str) -> Self {
        let mut parts = version.split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Self { major, minor },
            _ => Self::FIRST,
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Command {
    /// The first release that knows this command. A new one is listed with the release that brings it, so that no older node
    /// ever finds it in the log.
    #[must_use]
    pub fn since(&self) -> Release {
        match self {
            // Before any node is known.
            Self::InitCluster { .. } | Self::RegisterNode(_) => Release::NONE,
            Self::SetDrain { .. }
            | Self::LoseNode { .. }
            | Self::PutRepo { .. }
            | Self::RemoveRepo { .. }
            | Self::CreateToken { .. }
            | Self::RevokeToken { .. }
            | Self::AcceptDelivery { .. }
            | Self::AssignExpansion { .. }
            | Self::ExpandDelivery { .. }
            | Self::DeferDelivery { .. }
            | Self::SubmitRun { .. }
            | Self::Rerun { .. }
            | Self::CancelRun { .. }
            | Self::Place { .. }
            | Self::Unplace { .. }
            | Self::Report(_)
            | Self::NoticeSent { .. }
            | Self::ForgetRuns { .. }
            | Self::CreateJoinToken { .. }
            | Self::Join { .. }
            | Self::RemoveMember { .. }
            | Self::PauseRun { .. }
            | Self::ResumeRun { .. }
            | Self::DecideJob { .. }
            | Self::ApproveRun { .. }
            | Self::PutSecret { .. }
            | Self::RemoveSecret { .. }
            | Self::PutCache { .. }
            | Self::UseCache { .. }
            | Self::RemoveCaches { .. }
            | Self::Tick { .. }
            | Self::PutVariable { .. }
            | Self::RemoveVariable { .. }
            | Self::PutEnvironment { .. }
            | Self::RemoveEnvironment { .. }
            | Self::ReviewJob { .. }
            | Self::EndBackoff { .. } => Release::FIRST,
        }
    }
}

impl ClusterState {
    /// The lowest release of its nodes, the lost among them: they come back. None before any node is known.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        self.nodes.iter().map(|(_, node)| Release::of(&node.version)).min()
    }

    /// Whether every node knows this command; else the release that is needed and the one that the cluster has.
    ///
    /// # Errors
    /// The two releases.
    pub fn knows(&self, command: &Command) -> Result<(), (Release, Release)> {
        let (needed, release) = (command.since(), self.release());
        match release {
            Some(release) if release < needed => Err((needed, release)),
            _ => Ok(()),
        }
    }
}
