//! Applies commands: one file per family. Deterministic in `(state, index, entry)`.
//!
//! Each family's functions check everything first and change the state only when nothing can be refused any more.

mod admit;
mod caches;
mod cluster;
mod deciding;
mod deliveries;
mod environments;
mod groups;
mod jobs;
mod members;
mod nodes;
mod pausing;
mod placing;
mod reports;
mod repos;
mod retention;
mod retrying;
mod runs;
mod secrets;
mod triggers;
mod variables;

pub use admit::Hold;

use crate::{
    ClusterState, Command, Effect, Entry, Fence, LogIndex, Refusal, Reply, Repo, RunId, Token, shared,
};

/// Keys forgotten by one entry at most, so that no entry is slow.
const KEYS_FORGOTTEN_PER_ENTRY: usize = 16;

/// What the application of one entry works with.
struct Applying<'a> {
    state: &'a mut ClusterState,
    /// This entry's index as a fence.
    fence: Fence,
    effects: Vec<Effect>,
    /// Runs of which something changed by what others did: to be settled when the command is done.
    touched: Vec<RunId>,
}

type Answer = Result<Reply, Refusal>;

impl ClusterState {
    /// Applies one committed entry. Deterministic in `(self, index, entry)`; never fails: a command that cannot be done
    /// changes nothing but replicated time and the memory of old keys, and answers [`Reply::Refused`].
    pub fn apply(&mut self, index: LogIndex, entry: &Entry) -> (Reply, Vec<Effect>) {
        self.now = self.now.max(entry.at);
        let mut applying =
            Applying { state: self, fence: Fence(index), effects: Vec::new(), touched: Vec::new() };
        applying.forget_old_keys(KEYS_FORGOTTEN_PER_ENTRY);
        let reply = applying.command(&entry.command).unwrap_or_else(Reply::Refused);
        while let Some(run) = applying.touched.pop() {
            applying.settle(run);
        }
        let effects = applying.effects;
        (reply, effects)
    }
}

impl Applying<'_> {
    fn command(&mut self, command: &Command) -> Answer {
        match command {
            Command::InitCluster { cluster, token, token_hash } => {
                self.init_cluster(*cluster, *token, *token_hash)
            }
            Command::CreateToken { id, name, hash, right, expires_at } => {
                let (name, created_at) = (name.clone(), self.state.now);
                let token = Token { name, hash: *hash, right: *right, created_at, expires_at: *expires_at };
                self.create_token(*id, token)
            }
            Command::RevokeToken { id } => self.revoke_token(*id),
            Command::RegisterNode(facts) => self.register_node(facts),
            Command::SetDrain { node, drain, until, life } => self.set_drain(*node, *drain, *until, *life),
            Command::LoseNode { node, boot } => self.lose_node(*node, *boot),
            Command::PutRepo { id, name, clone_url, webhook_secret, labels, access, approve_forks, over } => {
                let (webhook_secret, access) = (webhook_secret.clone(), access.clone());
                let (name, clone_url, labels) = (name.clone(), clone_url.clone(), labels.clone());
                let (next_number, created_at) = (1, self.state.now);
                let approve_forks = *approve_forks;
                let repo = Repo {
                    name,
                    clone_url,
                    webhook_secret,
                    access,
                    approve_forks,
                    labels,
                    next_number,
                    created_at,
                    version: self.fence,
                };
                self.put_repo(*id, repo, *over)
            }
            Command::RemoveRepo { id } => self.remove_repo(*id),
            Command::AcceptDelivery { id, repo, key, digest, event, only_path } => {
                self.accept_delivery(*id, *repo, key, *digest, event, only_path)
            }
            Command::AssignExpansion { delivery, node } => self.assign_expansion(*delivery, *node),
            Command::ExpandDelivery {
                delivery,
                fence,
                commit,
                git_ref,
                payload,
                runs,
                reason,
                triggers,
                numbers_from,
            } => {
                let found = (commit.as_str(), git_ref.as_str(), payload.as_str());
                let made = (runs.as_slice(), reason.as_str(), *numbers_from);
                self.expand_delivery(*delivery, *fence, found, made, triggers.as_ref())
            }
            Command::DeferDelivery { delivery, fence, reason, not_before } => {
                self.defer_delivery(*delivery, *fence, reason, *not_before)
            }
            Command::SubmitRun { key, digest, sender, run, max_open_jobs } => {
                self.submit_run(key, *digest, sender, run, *max_open_jobs)
            }
            Command::Rerun { id, of, sender, key } => self.rerun_once(*id, *of, sender, key),
            Command::CancelRun { run, force } => self.cancel_run(*run, *force),
            Command::Place { placements } => self.place(placements),
            Command::Unplace { attempt, fence, reason } => self.unplace(*attempt, *fence, reason),
            Command::Report(report) => self.report(report),
            Command::NoticeSent { run, fence } => self.notice_sent(*run, *fence),
            Command::ForgetRuns { runs } => self.forget_runs(runs),
            Command::CreateJoinToken { id, name, hash, expires_at } => {
                self.create_join_token(*id, name, *hash, *expires_at)
            }
            Command::Join { token_hash, node, name, cluster_addr, request } => {
                let joining = members::Joining { node: *node, name, cluster_addr, request: *request };
                self.join(*token_hash, &joining)
            }
            Command::RemoveMember { node, name } => self.remove_member(*node, name),
            Command::PauseRun { run, sender } => self.pause_run(*run, sender),
            Command::ResumeRun { run } => self.resume_run(*run),
            Command::DecideJob { job, verdict } => self.decide_job(*job, verdict),
            Command::ApproveRun { run, sender } => self.approve_run(*run, sender),
            Command::PutSecret { repo, name, value } => self.put_secret(*repo, name, value),
            Command::RemoveSecret { repo, name } => self.remove_secret(*repo, name),
            Command::PutCache { repo, entry, most_bytes } => self.put_cache(*repo, entry, *most_bytes),
            Command::UseCache { repo, scope, key, version } => {
                self.use_cache(&(*repo, shared(scope), shared(key), *version))
            }
            Command::RemoveCaches { repo, scope, key_prefix } => self.remove_caches(*repo, scope, key_prefix),
            Command::Tick { id, repo, path, cron, zone, due } => {
                self.tick(*id, *repo, (path, cron, zone), *due)
            }
            Command::PutVariable { repo, name, value } => self.put_variable(*repo, name, value),
            Command::RemoveVariable { repo, name } => self.remove_variable(*repo, name),
            Command::PutEnvironment { repo, name, approval } => self.put_environment(*repo, name, *approval),
            Command::RemoveEnvironment { repo, name } => self.remove_environment(*repo, name),
            Command::ReviewJob { job, approve, sender } => self.review_job(*job, *approve, sender),
            Command::EndBackoff { job } => self.end_backoff(*job),
        }
    }
}

fn not_found(what: &str, id: impl std::fmt::Display) -> Refusal {
    Refusal::NotFound { what: what.to_owned(), id: id.to_string() }
}

fn invalid(field: &str, why: impl Into<String>) -> Refusal {
    Refusal::Invalid { field: field.to_owned(), why: why.into() }
}

fn wrong_state(what: impl std::fmt::Display, state: impl std::fmt::Display, wanted: &str) -> Refusal {
    Refusal::WrongState { what: what.to_string(), state: state.to_string(), wanted: wanted.to_owned() }
}

/// A reason as it is kept: at most 2,000 characters.
fn clipped(reason: &str) -> std::sync::Arc<str> {
    crate::shared(&reason.chars().take(2000).collect::<String>())
}
