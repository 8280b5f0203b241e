//! Jobs that could begin and are held: for their next try, and for the review of their environment. And what strangers fill.

mod support;

use domain::JobState::{Finished, Held, Queued};
use domain::{
    Command, Event, EventKind, Form, Hold, JobId, NewJob, NodeId, Outcome, Placement, Refusal, Reply,
    Resources, Retry, RunId, Timestamp,
};
use support::{Cluster, NODE, REPO, job, run};

const RETRY: Retry = Retry { attempts: 3, backoff_seconds: 10, lost: true, failed: true, timed_out: false };

fn with_retry(retry: Retry) -> NewJob {
    NewJob { retry, ..NewJob::named("a") }
}

fn end_backoff(cluster: &mut Cluster, job: JobId) -> Reply {
    cluster.apply(Command::EndBackoff { job })
}

#[test]
fn what_failed_is_tried_again_after_a_while_that_doubles_and_so_often_as_was_asked_for() {
    let mut cluster = Cluster::new();
    let after = NewJob { needs: vec![0], ..NewJob::named("b") };
    cluster.push(vec![run(1, vec![with_retry(RETRY), after])]);
    let id = job(1, 0);
    for wait in [10_000, 20_000] {
        cluster.finish(id, Outcome::Failed);
        assert_eq!((cluster.states(1)[0], cluster.state.hold(id)), (Held, Some(Hold::Backoff)));
        assert_eq!(cluster.state.backoffs.get(&id), Some(&Timestamp(cluster.now + wait)));
        cluster.now += wait - 1;
        let early = end_backoff(&mut cluster, id);
        assert!(
            matches!(&early, Reply::Refused(Refusal::Invalid { field, .. }) if field == "job"),
            "{early:?}"
        );
        cluster.now += 1;
        assert_eq!(end_backoff(&mut cluster, id), Reply::Done);
        assert_eq!(cluster.states(1)[0], Queued);
    }
    cluster.finish(id, Outcome::Failed);
    assert_eq!(cluster.states(1), [Finished(Outcome::Failed), Finished(Outcome::Skipped)]);
    let outcomes = cluster.state.attempts.iter().filter(|(of, _)| of.job == id).map(|(_, one)| one.outcome);
    assert_eq!(outcomes.collect::<Vec<_>>(), [Some(Outcome::Failed); 3]);
}

#[test]
fn a_job_that_succeeds_at_the_second_try_has_succeeded() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![with_retry(Retry { backoff_seconds: 0, ..RETRY })])]);
    cluster.finish(job(1, 0), Outcome::Failed);
    assert_eq!(cluster.states(1), [Queued], "without a backoff it goes again at once");
    cluster.finish(job(1, 0), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Succeeded));
}

#[test]
fn outcomes_that_were_not_named_are_not_tried_again() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![with_retry(RETRY)])]);
    cluster.finish(job(1, 0), Outcome::TimedOut);
    assert_eq!(cluster.outcome(1), Some(Outcome::TimedOut));
    cluster.push(vec![run(2, vec![with_retry(Retry { lost: false, ..RETRY })])]);
    cluster.finish(job(2, 0), Outcome::Lost);
    assert_eq!(cluster.outcome(2), Some(Outcome::Lost));
}

#[test]
fn losses_and_failures_count_together() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![with_retry(Retry { backoff_seconds: 0, ..RETRY })])]);
    cluster.finish(job(1, 0), Outcome::Failed);
    cluster.finish(job(1, 0), Outcome::Lost);
    assert_eq!(cluster.states(1), [Queued]);
    cluster.finish(job(1, 0), Outcome::Lost);
    assert_eq!(cluster.outcome(1), Some(Outcome::Lost));
}

#[test]
fn a_cancel_ends_a_job_that_waits_for_its_next_try() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![with_retry(RETRY)])]);
    cluster.finish(job(1, 0), Outcome::Failed);
    cluster.done(Command::CancelRun { run: RunId(1), force: false });
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
    assert!(cluster.state.backoffs.is_empty());
    assert!(matches!(end_backoff(&mut cluster, job(1, 0)), Reply::Refused(Refusal::NotFound { .. })));
}

#[test]
fn a_paused_run_stays_paused_when_a_wait_is_over() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![with_retry(RETRY)])]);
    cluster.finish(job(1, 0), Outcome::Failed);
    cluster.done(Command::PauseRun { run: RunId(1), sender: "ada".to_owned() });
    cluster.now += 10_000;
    cluster.done(Command::EndBackoff { job: job(1, 0) });
    assert_eq!(cluster.states(1), [Held]);
    cluster.done(Command::ResumeRun { run: RunId(1) });
    assert_eq!(cluster.states(1), [Queued]);
}

fn deploy() -> NewJob {
    NewJob { environment: Some("Live".to_owned()), ..NewJob::named("deploy") }
}

fn put_environment(cluster: &mut Cluster, name: &str, approval: bool) {
    cluster.done(Command::PutEnvironment { repo: REPO, name: name.to_owned(), approval });
}

fn review(cluster: &mut Cluster, job: JobId, approve: bool) -> Reply {
    cluster.apply(Command::ReviewJob { job, approve, sender: "ada".to_owned() })
}

#[test]
fn a_job_for_an_environment_with_approval_waits_for_it_and_no_other_does() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![deploy()])]);
    assert_eq!(cluster.states(1), [Queued], "an environment that nobody registered asks for nothing");
    put_environment(&mut cluster, "LIVE", true);
    cluster.push(vec![run(2, vec![deploy(), NewJob::named("b")])]);
    assert_eq!(cluster.states(2), [Held, Queued]);
    assert_eq!(cluster.state.hold(job(2, 0)), Some(Hold::Review));
    assert_eq!(review(&mut cluster, job(2, 0), true), Reply::Done);
    assert_eq!(cluster.states(2), [Queued, Queued]);
    // Approved once: also for what comes after a loss.
    cluster.finish(job(2, 0), Outcome::Lost);
    assert_eq!(cluster.states(2)[0], Queued);
    let again = review(&mut cluster, job(2, 0), true);
    assert!(matches!(again, Reply::Refused(Refusal::WrongState { .. })), "{again:?}");
}

#[test]
fn a_job_that_is_not_approved_fails_and_says_who_said_so() {
    let mut cluster = Cluster::new();
    put_environment(&mut cluster, "live", true);
    let after = NewJob { needs: vec![0], ..NewJob::named("after") };
    cluster.push(vec![run(1, vec![deploy(), after])]);
    assert_eq!(review(&mut cluster, job(1, 0), false), Reply::Done);
    assert_eq!(cluster.states(1), [Finished(Outcome::Failed), Finished(Outcome::Skipped)]);
    let reason = cluster.state.reasons.get(&job(1, 0)).map(|reason| reason.to_string());
    assert_eq!(reason.as_deref(), Some("ada did not approve it for the environment \"Live\""));
}

#[test]
fn what_waits_begins_when_its_environment_asks_for_nothing_any_more() {
    let mut cluster = Cluster::new();
    for (number, end) in [
        Command::PutEnvironment { repo: REPO, name: "live".to_owned(), approval: false },
        Command::RemoveEnvironment { repo: REPO, name: "Live".to_owned() },
    ]
    .into_iter()
    .enumerate()
    {
        put_environment(&mut cluster, "live", true);
        let id = number as u128 + 1;
        cluster.push(vec![run(id, vec![deploy()])]);
        assert_eq!(cluster.states(id), [Held]);
        cluster.done(end);
        assert_eq!(cluster.states(id), [Queued]);
        assert!(cluster.state.reviews.is_empty());
    }
}

#[test]
fn what_waits_ends_with_its_repository_for_nobody_can_approve_it_any_more() {
    let mut cluster = Cluster::new();
    put_environment(&mut cluster, "live", true);
    cluster.push(vec![run(1, vec![deploy(), NewJob::named("b")])]);
    cluster.done(Command::RemoveRepo { id: REPO });
    assert_eq!(cluster.states(1), [Finished(Outcome::Cancelled), Queued]);
    let reason = cluster.state.reasons.get(&job(1, 0)).map(|reason| reason.to_string());
    assert!(reason.is_some_and(|reason| reason.contains("repository was removed")));
    assert!(cluster.state.reviews.is_empty());
}

#[test]
fn variables_and_environments_have_limits_that_are_named() {
    let mut cluster = Cluster::new();
    let variable = |name: &str, bytes: usize| Command::PutVariable {
        repo: REPO,
        name: name.to_owned(),
        value: "x".repeat(bytes),
    };
    let environment =
        |name: &str| Command::PutEnvironment { repo: REPO, name: name.to_owned(), approval: true };
    for (bad, field) in [
        (variable("lower", 1), "name"),
        (variable("1A", 1), "name"),
        (variable("A", 48 * 1024 + 1), "value"),
        (environment(""), "name"),
        (environment("a\nb"), "name"),
        (environment(&"x".repeat(256)), "name"),
        (environment(".."), "name"),
    ] {
        let reply = cluster.apply(bad);
        assert!(
            matches!(&reply, Reply::Refused(Refusal::Invalid { field: f, .. }) if f == field),
            "{reply:?}"
        );
    }
    for name in ["A", "B", "C", "D", "E"] {
        cluster.done(variable(name, 48 * 1024));
    }
    let over = cluster.apply(variable("F", 17 * 1024));
    assert!(
        matches!(&over, Reply::Refused(Refusal::Invalid { why, .. }) if why.contains("262144")),
        "{over:?}"
    );
    cluster.done(variable("A", 1));
    cluster.done(variable("F", 17 * 1024));
    assert_eq!(cluster.state.variables_of(REPO).count(), 6);
    cluster.done(Command::RemoveVariable { repo: REPO, name: "F".to_owned() });
    cluster.done(Command::RemoveRepo { id: REPO });
    assert!(cluster.state.variables.is_empty() && cluster.state.environments.is_empty());
}

#[test]
fn what_strangers_ask_for_does_not_fill_the_queue() {
    let mut cluster = Cluster::new();
    let fork = Event { from_fork: true, ..Event::of(EventKind::Push) };
    for id in 1..=102 {
        cluster.now += 1;
        cluster.event(fork.clone(), vec![run(id, vec![NewJob::named("a")])], None);
    }
    assert_eq!(cluster.state.unapproved.len(), 100);
    let gone: Vec<_> = (1..=3).map(|id| cluster.outcome(id)).collect();
    assert_eq!(gone, [Some(Outcome::Cancelled), Some(Outcome::Cancelled), None]);
}

#[test]
fn a_spread_run_takes_another_node_for_each_of_its_jobs() {
    for (spread, expected) in [(true, [1, 1]), (false, [2, 0])] {
        let mut cluster = Cluster::new();
        cluster.register(NodeId(2), 1000);
        // The second has less room left: it is the first's turn as long as that has more.
        let resources = |cpu_millis| Resources { cpu_millis, memory_mib: 10 };
        cluster.push(vec![run(1, vec![NewJob { resources: resources(500), ..NewJob::named("other") }])]);
        let placement = Placement { job: job(1, 0), number: 1, node: NodeId(2) };
        cluster.done(Command::Place { placements: vec![placement] });
        let jobs = ["a", "b"].map(|key| NewJob { spread, resources: resources(100), ..NewJob::named(key) });
        cluster.push(vec![run(2, jobs.into())]);
        let candidates = [NODE, NodeId(2)].into();
        let plan =
            domain::plan(&domain::Snapshot { state: &cluster.state, candidates: &candidates, examine: 10 });
        let on = |node| plan.placements.iter().filter(|one| one.node == node).count();
        assert_eq!([on(NODE), on(NodeId(2))], expected, "spread: {spread}");
    }
}

/// Of a matrix of which one runs at a time, the second has its turn in a group, and waits for the first; that must not wait for the second.
#[test]
fn a_circle_through_a_matrix_is_found() {
    let mut cluster = Cluster::new();
    let group = |name: &str| {
        Some(domain::Concurrency { group: name.to_owned(), cancel_in_progress: false, queue_all: true })
    };
    // Another run holds B, for which the second member asks before it is its turn to run.
    cluster.push(vec![run(1, vec![NewJob { concurrency: group("B"), ..NewJob::named("b") }])]);
    let open = |fail_fast, max_parallel| Form::Group { fail_fast, max_parallel };
    let jobs = vec![
        NewJob { form: open(false, 1), ..NewJob::named("matrix") },
        NewJob { form: open(false, 0), group: Some(0), concurrency: group("B"), ..NewJob::named("m2") },
        NewJob { form: open(false, 0), group: Some(0), ..NewJob::named("m1") },
        NewJob { group: Some(1), ..NewJob::named("m2-a") },
        NewJob { group: Some(2), ..NewJob::named("m1-a") },
        NewJob { group: Some(2), needs: vec![4], concurrency: group("B"), ..NewJob::named("m1-b") },
    ];
    cluster.push(vec![run(2, jobs)]);
    // m2 stands in the row of B, and m1 runs meanwhile.
    assert_eq!(cluster.states(2)[1..3], [Held, domain::JobState::Open]);
    cluster.finish(job(1, 0), Outcome::Succeeded);
    assert_eq!(cluster.states(2)[1], Held, "m2 holds B, and m1 runs");
    cluster.finish(job(2, 4), Outcome::Succeeded);
    let reason = cluster.state.reasons.get(&job(2, 5)).map(|reason| reason.to_string());
    assert_eq!(reason.as_deref(), Some("it would wait for itself in the concurrency group \"B\""));
    assert_eq!(cluster.states(2)[1], domain::JobState::Open, "and m2 goes on");
}

#[test]
fn what_is_held_for_something_else_is_approved_all_the_same() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![NewJob { retry: RETRY, ..deploy() }])]);
    cluster.finish(job(1, 0), Outcome::Failed);
    assert_eq!(cluster.state.hold(job(1, 0)), Some(Hold::Backoff));
    put_environment(&mut cluster, "live", true);
    assert_eq!(review(&mut cluster, job(1, 0), true), Reply::Done);
    assert_eq!(cluster.state.hold(job(1, 0)), Some(Hold::Backoff), "and waits for its time");
    cluster.now += 10_000;
    assert_eq!(end_backoff(&mut cluster, job(1, 0)), Reply::Done);
    assert_eq!(cluster.states(1), [Queued]);
}
