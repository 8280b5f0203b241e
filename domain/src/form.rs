//! How jobs and runs are written and hashed: with the fields of their kinds among their own, whoever shares them.
//!
//! The order of these fields is the encoding: it never changes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Concurrency, Condition, DeliveryId, Event, Fence, Form, Job, JobKind, JobState, Labels, NodeId, Outcome,
    RepoId, Resources, Retry, Run, RunId, RunKind, Timestamp,
};

#[derive(Serialize, Deserialize, Hash)]
struct JobForm<Text, Set, List, Group> {
    key: Text,
    name: Text,
    group: Option<u16>,
    form: Form,
    may_fail: bool,
    concurrency: Option<Group>,
    state: JobState,
    priority: i8,
    condition: Condition,
    lasting: bool,
    cancel_requested: bool,
    attempts: u16,
    retry: Retry,
    spread: bool,
    environment: Option<Text>,
    losses: u16,
    failures: u16,
    node: NodeId,
    fence: Fence,
    labels: Set,
    resources: Resources,
    queued_at: Timestamp,
    placed_at: Timestamp,
    started_at: Timestamp,
    finished_at: Timestamp,
    needs: List,
}

impl Job {
    fn form(&self) -> JobForm<&str, &Labels, &[u16], &Concurrency> {
        JobForm {
            key: &self.key,
            name: &self.name,
            group: self.group,
            form: self.form,
            may_fail: self.may_fail,
            concurrency: self.concurrency.as_deref(),
            state: self.state,
            priority: self.priority,
            condition: self.condition,
            lasting: self.lasting,
            cancel_requested: self.cancel_requested,
            attempts: self.attempts,
            retry: self.retry,
            spread: self.spread,
            environment: self.environment.as_deref(),
            losses: self.losses,
            failures: self.failures,
            node: self.node,
            fence: self.fence,
            labels: &self.labels,
            resources: self.resources,
            queued_at: self.queued_at,
            placed_at: self.placed_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            needs: &self.needs,
        }
    }
}

impl Hash for Job {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.form().hash(hasher);
    }
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.form().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = JobForm::<Arc<str>, Labels, Arc<[u16]>, Arc<Concurrency>>::deserialize(deserializer)?;
        let kind = JobKind {
            key: form.key,
            name: form.name,
            group: form.group,
            form: form.form,
            may_fail: form.may_fail,
            concurrency: form.concurrency,
            priority: form.priority,
            condition: form.condition,
            lasting: form.lasting,
            retry: form.retry,
            spread: form.spread,
            environment: form.environment,
            labels: form.labels,
            resources: form.resources,
            needs: form.needs,
        };
        Ok(Self {
            kind: Arc::new(kind),
            state: form.state,
            cancel_requested: form.cancel_requested,
            attempts: form.attempts,
            losses: form.losses,
            failures: form.failures,
            node: form.node,
            fence: form.fence,
            queued_at: form.queued_at,
            placed_at: form.placed_at,
            started_at: form.started_at,
            finished_at: form.finished_at,
        })
    }
}

#[derive(Serialize, Deserialize, Hash)]
struct RunForm<Text, Cause, Group> {
    repo: Option<RepoId>,
    number: u64,
    delivery: Option<DeliveryId>,
    rerun_of: Option<RunId>,
    rerun_by: Option<Text>,
    name: Text,
    title: Text,
    path: Text,
    event: Cause,
    jobs: u16,
    declared: u16,
    concurrency: Option<Group>,
    open_jobs: u16,
    created_at: Timestamp,
    finished_at: Timestamp,
    outcome: Option<Outcome>,
    cancel_requested: bool,
    error: Option<Text>,
}

impl Run {
    fn form(&self) -> RunForm<&str, &Event, &Concurrency> {
        RunForm {
            repo: self.repo,
            number: self.number,
            delivery: self.delivery,
            rerun_of: self.rerun_of,
            rerun_by: self.rerun_by.as_deref(),
            name: &self.name,
            title: &self.title,
            path: &self.path,
            event: &self.event,
            jobs: self.jobs,
            declared: self.declared,
            concurrency: self.concurrency.as_deref(),
            open_jobs: self.open_jobs,
            created_at: self.created_at,
            finished_at: self.finished_at,
            outcome: self.outcome,
            cancel_requested: self.cancel_requested,
            error: self.error.as_deref(),
        }
    }
}

impl Hash for Run {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.form().hash(hasher);
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.form().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = RunForm::<Arc<str>, Arc<Event>, Arc<Concurrency>>::deserialize(deserializer)?;
        let kind = RunKind {
            repo: form.repo,
            delivery: form.delivery,
            rerun_of: form.rerun_of,
            rerun_by: form.rerun_by,
            name: form.name,
            title: form.title,
            path: form.path,
            event: form.event,
            jobs: form.jobs,
            declared: form.declared,
            concurrency: form.concurrency,
            error: form.error,
        };
        Ok(Self {
            kind: Arc::new(kind),
            number: form.number,
            open_jobs: form.open_jobs,
            created_at: form.created_at,
            finished_at: form.finished_at,
            outcome: form.outcome,
            cancel_requested: form.cancel_requested,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are written.
    const JOB: &str = concat!(
        r#"{"key":"build","name":"Build","group":3,"form":"Job","may_fail":true,"concurrency":null,"state":{"Waiting":1},"priority":-2,"condition":"Always","lasting":true,"cancel_requested":true,"#,
        r#""attempts":1,"retry":{"attempts":3,"backoff_seconds":30,"lost":true,"failed":true,"timed_out":false},"#,
        r#""spread":true,"environment":"live","losses":2,"failures":1,"node":4,"fence":5,"labels":["big","linux"],"#,
        r#""resources":{"cpu_millis":6,"memory_mib":7},"queued_at":8,"placed_at":9,"started_at":10,"#,
        r#""finished_at":11,"needs":[12,13]}"#
    );
    const RUN: &str = concat!(
        r#"{"repo":1,"number":2,"delivery":3,"rerun_of":4,"rerun_by":"bob","name":"ci","title":"T","path":"ci.yml","event":{"kind":"Push","#,
        r#""git_ref":"refs/heads/main","commit":"c","before":"","sender":"ada","title":"t","payload":"","from_fork":false,"#,
        r#""base_ref":"","cause":null},"jobs":5,"declared":4,"concurrency":null,"#,
        r#""open_jobs":6,"created_at":7,"finished_at":8,"outcome":"Lost","cancel_requested":true,"error":"ci.yml:1:1: no"}"#
    );

    fn hash(value: &impl Hash) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn jobs_and_runs_are_written_and_hashed_as_ever() -> Result<(), serde_json::Error> {
        let (job, run): (Job, Run) = (serde_json::from_str(JOB)?, serde_json::from_str(RUN)?);
        assert_eq!(serde_json::to_string(&job)?, JOB);
        assert_eq!(serde_json::to_string(&run)?, RUN);
        assert_eq!((hash(&job), hash(&run)), (0x1c6b_4fac_dff3_9640, 0xb2c6_5320_1fd3_7a46));
        Ok(())
    }
}
