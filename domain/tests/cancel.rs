//! What the end of a run ends, and what lasts: `if: always()` and `if: cancelled()`, as GitHub's "Workflow cancellation" has it.

mod support;

use std::sync::Arc;

use domain::JobState::{Deciding, Finished, Held, Open, Placed, Queued, Running, Waiting};
use domain::{
    Command, Concurrency, Condition, Event, EventKind, Form, Hold, JobId, NewJob, NewRun, Outcome, Reply,
    RunId, SpecBytes, Verdict, limits,
};
use support::{Cluster, job, run};

fn cancel(cluster: &mut Cluster, run: u128, force: bool) {
    cluster.done(Command::CancelRun { run: RunId(run), force });
}

/// `if: always()`.
fn always(key: &str, needs: &[u16]) -> NewJob {
    NewJob { needs: needs.to_vec(), condition: Condition::Always, lasting: true, ..NewJob::named(key) }
}

fn after(key: &str, needs: &[u16]) -> NewJob {
    NewJob { needs: needs.to_vec(), ..NewJob::named(key) }
}

fn decide(cluster: &mut Cluster, job: JobId, verdict: Verdict) {
    cluster.done(Command::DecideJob { job, verdict });
}

fn becomes(jobs: Vec<NewJob>) -> Verdict {
    Verdict::Become { jobs, specs: vec![SpecBytes(Arc::from([9u8]))] }
}

#[test]
fn a_job_that_always_runs_does_so_after_the_end_of_its_run_was_asked_for() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![NewJob::named("deploy"), after("test", &[0]), always("clean", &[0, 1])])]);
    cancel(&mut cluster, 1, false);
    assert_eq!(cluster.states(1), [Finished(Outcome::Cancelled), Finished(Outcome::Cancelled), Queued]);
    // Once more changes nothing: a client may repeat what it has no answer to.
    cancel(&mut cluster, 1, false);
    assert_eq!(cluster.states(1)[2], Queued);
    cluster.finish(job(1, 2), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
}

#[test]
fn a_job_that_always_runs_is_not_told_to_end_and_is_tried_again_when_its_node_is_lost() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![NewJob::named("build"), always("clean", &[])])]);
    cluster.start(job(1, 0));
    cluster.start(job(1, 1));
    cancel(&mut cluster, 1, false);
    let told: Vec<_> = cluster.state.jobs_of(RunId(1)).map(|(_, job)| job.cancel_requested).collect();
    assert_eq!((told, cluster.states(1)), (vec![true, false], vec![Running, Running]));
    cluster.finish(job(1, 1), Outcome::Lost);
    cluster.finish(job(1, 0), Outcome::Cancelled);
    assert_eq!(cluster.states(1)[1], Queued);
    cancel(&mut cluster, 1, true);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled), "by force");
}

#[test]
fn by_force_nothing_lasts() {
    let mut cluster = Cluster::new();
    let undecided = NewJob { form: Form::Undecided, ..after("notify", &[0]) };
    cluster.push(vec![run(1, vec![NewJob::named("build"), always("clean", &[0]), undecided])]);
    cluster.start(job(1, 0));
    cancel(&mut cluster, 1, true);
    assert_eq!(cluster.states(1), [Running, Finished(Outcome::Cancelled), Finished(Outcome::Cancelled)]);
}

#[test]
fn what_is_undecided_is_decided_when_what_it_needs_has_ended() {
    let mut cluster = Cluster::new();
    let undecided = |key: &str| NewJob { form: Form::Undecided, ..after(key, &[0]) };
    let jobs = vec![NewJob::named("build"), undecided("notify"), undecided("deploy"), undecided("late")];
    cluster.push(vec![run(1, jobs)]);
    cancel(&mut cluster, 1, false);
    assert_eq!(cluster.states(1)[1..], [Deciding, Deciding, Deciding]);
    assert!(
        cluster.state.runs.get(&RunId(1)).is_some_and(|run| run.cancel_requested),
        "which its verdicts ask"
    );
    decide(&mut cluster, job(1, 1), becomes(vec![NewJob { lasting: true, ..NewJob::named("notify") }]));
    decide(&mut cluster, job(1, 2), Verdict::Skip);
    // Decided before the leader knew of the end.
    decide(&mut cluster, job(1, 3), becomes(vec![NewJob::named("late")]));
    assert_eq!(cluster.states(1)[1..], [Queued, Finished(Outcome::Cancelled), Finished(Outcome::Cancelled)]);
    cancel(&mut cluster, 1, false);
    cluster.finish(job(1, 1), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
}

#[test]
fn a_group_that_lasts_takes_its_members_along_and_members_of_another_last_by_themselves() {
    let mut cluster = Cluster::new();
    let form = Form::Group { fail_fast: true, max_parallel: 0 };
    let member = |group: u16, one: NewJob| NewJob { group: Some(group), ..one };
    let jobs = vec![
        NewJob { form, ..always("matrix", &[]) },
        member(0, NewJob::named("matrix (a)")),
        NewJob { form, ..NewJob::named("call") },
        member(2, NewJob::named("call/build")),
        member(2, always("call/clean", &[3])),
    ];
    cluster.push(vec![run(1, jobs)]);
    assert_eq!(cluster.states(1), [Open, Queued, Open, Queued, Waiting(1)]);
    cancel(&mut cluster, 1, false);
    assert_eq!(cluster.states(1), [Open, Queued, Open, Finished(Outcome::Cancelled), Queued]);
    cluster.finish(job(1, 4), Outcome::Succeeded);
    assert_eq!(cluster.states(1)[2], Finished(Outcome::Cancelled));
    cluster.finish(job(1, 1), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
}

fn in_group(id: u128, cancel_in_progress: bool) -> NewRun {
    let concurrency = Some(Concurrency { group: "live".to_owned(), cancel_in_progress, queue_all: false });
    NewRun { concurrency, ..run(id, vec![NewJob::named("deploy"), always("clean", &[0])]) }
}

#[test]
fn whoever_takes_the_turn_of_another_run_waits_for_what_lasts_of_it() {
    let mut cluster = Cluster::new();
    cluster.push(vec![in_group(1, true)]);
    cluster.push(vec![in_group(2, true)]);
    assert_eq!(cluster.states(1), [Finished(Outcome::Cancelled), Queued]);
    assert_eq!(cluster.states(2), [Held, Waiting(1)]);
    cluster.push(vec![in_group(3, true)]);
    assert_eq!(
        cluster.outcome(2),
        Some(Outcome::Cancelled),
        "of what never began nothing is to be cleaned up"
    );
    cluster.finish(job(1, 1), Outcome::Succeeded);
    assert_eq!((cluster.outcome(1), cluster.states(3)), (Some(Outcome::Cancelled), vec![Queued, Waiting(1)]));
}

#[test]
fn a_run_that_waits_for_its_turn_ends_whole() {
    let mut cluster = Cluster::new();
    cluster.push(vec![in_group(1, false)]);
    cluster.push(vec![in_group(2, false)]);
    cancel(&mut cluster, 2, false);
    assert_eq!(cluster.outcome(2), Some(Outcome::Cancelled));
}

/// It would take the turn of its own run, and wait for itself to end.
#[test]
fn a_job_that_lasts_does_not_wait_for_its_own_end() {
    let mut cluster = Cluster::new();
    let mut own = in_group(1, true);
    own.jobs[1].concurrency.clone_from(&own.concurrency);
    cluster.push(vec![own]);
    cluster.finish(job(1, 0), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
    assert!(cluster.state.groups.is_empty());
}

#[test]
fn a_run_that_nobody_approved_ends_whole() {
    let mut cluster = Cluster::new();
    let event = Event { from_fork: true, ..Event::of(EventKind::PullRequest) };
    cluster.event(event, vec![run(1, vec![NewJob::named("build"), always("clean", &[0])])], None);
    assert_eq!(cluster.state.hold(job(1, 0)), Some(Hold::Approval));
    cancel(&mut cluster, 1, false);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
}

#[test]
fn a_job_that_lasts_keeps_its_place() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, vec![always("clean", &[])])]);
    cluster.place(job(1, 0));
    cancel(&mut cluster, 1, false);
    assert_eq!(cluster.states(1), [Placed]);
    cluster.finish(job(1, 0), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Succeeded), "nothing of it was cancelled");
}

#[test]
fn what_verdicts_make_of_a_run_counts_to_its_limit_and_equal_specifications_once() {
    let mut cluster = Cluster::new();
    let undecided = |key: &str| NewJob { form: Form::Undecided, ..after(key, &[0]) };
    cluster.push(vec![run(1, vec![NewJob::named("a"), undecided("b"), undecided("c"), undecided("d")])]);
    cluster.finish(job(1, 0), Outcome::Succeeded);
    let large = |byte: u8| vec![SpecBytes(vec![byte; limits::MAX_SPEC_BYTES * 2 / 3].into())];
    let one = |specs| Verdict::Become { jobs: vec![NewJob::named("x")], specs };
    decide(&mut cluster, job(1, 1), one(large(1)));
    decide(&mut cluster, job(1, 2), one(large(1)));
    decide(&mut cluster, job(1, 3), one(large(2)));
    assert_eq!(cluster.states(1)[1..], [Queued, Queued, Finished(Outcome::Failed)]);
    let reason = cluster.state.reasons.get(&job(1, 3)).map(|reason| reason.to_string()).unwrap_or_default();
    assert!(reason.contains("the run's other jobs, the limit is 262144"), "{reason}");
    let kept: Vec<_> = [1, 2].iter().filter_map(|index| cluster.state.specs.get(&job(1, *index))).collect();
    assert!(Arc::ptr_eq(&kept[0].0, &kept[1].0), "kept once");
}

#[test]
fn a_run_again_is_of_the_same_event_and_says_who_asked_for_it() {
    let mut cluster = Cluster::new();
    let event = Event { sender: "ada".to_owned(), ..Event::of(EventKind::Push) };
    cluster.event(event, vec![run(1, vec![NewJob::named("a")])], None);
    cluster.finish(job(1, 0), Outcome::Failed);
    let (id, of, sender) = (RunId(2), RunId(1), "token:bob".to_owned());
    let again = Command::Rerun { id, of, sender, key: String::new() };
    assert!(matches!(cluster.apply(again), Reply::Run { .. }));
    let run = cluster.state.runs.get(&RunId(2)).cloned();
    let said = run.map(|run| (run.event.sender.clone(), run.rerun_by.as_deref().map(str::to_owned)));
    assert_eq!(said, Some(("ada".to_owned(), Some("token:bob".to_owned()))));
}
