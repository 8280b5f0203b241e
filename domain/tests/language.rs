//! What workflows ask of the state machine beyond jobs that need each other: groups, verdicts, concurrency, approval, schedules,
//! workflows that follow others.

mod support;

use std::sync::Arc;

use domain::{
    Command, Concurrency, DeliveryId, DeliveryState, Event, EventKind, Fence, Follow, Form, JobState, NewJob,
    NewRun, Outcome, Refusal, Reply, RunId, Schedule, SpecBytes, Timestamp, Triggers, Verdict,
};

/// A matrix of three, and a job that needs it.
fn matrix(fail_fast: bool, max_parallel: u16) -> Vec<NewJob> {
    let form = Form::Group { fail_fast, max_parallel };
    let member = |n: u16| NewJob { group: Some(0), ..NewJob::named(&format!("m{n}")) };
    let after = NewJob { needs: vec![0], ..NewJob::named("after") };
    let mut jobs = vec![NewJob { form, ..NewJob::named("matrix") }, after];
    jobs.extend((0..3).map(member));
    jobs
}

use JobState::{Deciding, Finished, Held, Open, Queued, Waiting};
use support::{Cluster, NODE, REPO, job, run};

#[test]
fn a_group_ends_as_its_members_do() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, matrix(false, 0))]);
    assert_eq!(cluster.states(1), [Open, Waiting(1), Queued, Queued, Queued]);
    cluster.finish(job(1, 2), Outcome::Failed);
    cluster.finish(job(1, 3), Outcome::Succeeded);
    assert_eq!(cluster.states(1)[..2], [Open, Waiting(1)]);
    cluster.finish(job(1, 4), Outcome::Succeeded);
    assert_eq!(cluster.states(1)[..2], [Finished(Outcome::Failed), Finished(Outcome::Skipped)]);
    assert_eq!(cluster.outcome(1), Some(Outcome::Failed));
}

#[test]
fn a_member_that_may_fail_fails_nothing_and_one_that_may_not_ends_the_others() {
    let mut cluster = Cluster::new();
    let mut jobs = matrix(true, 0);
    jobs[2].may_fail = true;
    cluster.push(vec![run(1, jobs)]);
    cluster.finish(job(1, 2), Outcome::Failed);
    assert_eq!(cluster.states(1)[3..], [Queued, Queued]);
    cluster.finish(job(1, 3), Outcome::TimedOut);
    let cancelled = Finished(Outcome::Cancelled);
    assert_eq!(cluster.states(1)[4], cancelled);
    assert_eq!(cluster.states(1)[0], Finished(Outcome::TimedOut));
    let mut jobs = matrix(true, 0);
    jobs.iter_mut().skip(2).for_each(|job| job.may_fail = true);
    cluster.push(vec![run(2, jobs)]);
    (2..5).for_each(|index| cluster.finish(job(2, index), Outcome::Failed));
    assert_eq!(cluster.states(2)[..2], [Finished(Outcome::Succeeded), Queued]);
}

#[test]
fn so_many_of_a_matrix_run_at_one_time() {
    let mut cluster = Cluster::new();
    cluster.push(vec![run(1, matrix(false, 2))]);
    assert_eq!(cluster.states(1)[2..], [Queued, Queued, Held]);
    cluster.finish(job(1, 2), Outcome::Succeeded);
    assert_eq!(cluster.states(1)[3..], [Queued, Queued]);
}

#[test]
fn an_undecided_job_becomes_what_the_verdict_says_and_is_undecided_again_in_a_rerun() {
    let mut cluster = Cluster::new();
    let undecided = NewJob { needs: vec![0], form: Form::Undecided, ..NewJob::named("b") };
    let after = NewJob { needs: vec![1], ..NewJob::named("c") };
    cluster.push(vec![run(1, vec![NewJob::named("a"), undecided, after])]);
    assert_eq!(cluster.states(1)[1], Waiting(1));
    cluster.finish(job(1, 0), Outcome::Succeeded);
    assert_eq!(cluster.states(1)[1], Deciding);
    let specs = vec![SpecBytes(Arc::from([9u8]))];
    let jobs = matrix(false, 0).into_iter().filter(|job| job.key != "after").collect();
    cluster.done(Command::DecideJob { job: job(1, 1), verdict: Verdict::Become { jobs, specs } });
    assert_eq!(cluster.states(1)[1..], [Open, Waiting(1), Queued, Queued, Queued]);
    (3..6).for_each(|index| cluster.finish(job(1, index), Outcome::Succeeded));
    cluster.finish(job(1, 2), Outcome::Succeeded);
    assert_eq!(cluster.outcome(1), Some(Outcome::Succeeded));
    cluster.done(Command::Rerun { id: RunId(2), of: RunId(1), sender: "s".to_owned(), key: String::new() });
    assert_eq!(cluster.states(2), [Queued, Waiting(1), Waiting(1)]);
    cluster.finish(job(2, 0), Outcome::Succeeded);
    let reason = "ci.yml:3:1: no".to_owned();
    cluster.done(Command::DecideJob { job: job(2, 1), verdict: Verdict::Fail { reason: reason.clone() } });
    assert_eq!(cluster.state.reasons.get(&job(2, 1)).map(|why| why.to_string()), Some(reason));
    assert_eq!(cluster.outcome(2), Some(Outcome::Failed));
}

fn grouped(id: u128, cancel_in_progress: bool, queue_all: bool) -> NewRun {
    let concurrency = Some(Concurrency { group: "Deploy".to_owned(), cancel_in_progress, queue_all });
    NewRun { concurrency, ..run(id, vec![NewJob::named("a")]) }
}

#[test]
fn one_of_a_concurrency_group_runs_and_one_or_all_wait() {
    let mut cluster = Cluster::new();
    for id in 1..=3 {
        cluster.push(vec![grouped(id, false, false)]);
    }
    assert_eq!((cluster.states(1), cluster.states(3)), (vec![Queued], vec![Held]));
    assert_eq!(
        cluster.outcome(2),
        Some(Outcome::Cancelled),
        "a later one takes the place of the one that waits"
    );
    cluster.finish(job(1, 0), Outcome::Succeeded);
    assert_eq!(cluster.states(3), [Queued]);
    cluster.push(vec![grouped(4, true, false)]);
    assert_eq!((cluster.outcome(3), cluster.states(4)), (Some(Outcome::Cancelled), vec![Queued]));
    for id in 5..=6 {
        cluster.push(vec![grouped(id, false, true)]);
    }
    cluster.done(Command::CancelRun { run: RunId(4), force: false });
    assert_eq!((cluster.states(5), cluster.states(6)), (vec![Queued], vec![Held]), "in their order");
}

#[test]
fn a_job_that_would_wait_for_its_own_run_is_cancelled() {
    let mut cluster = Cluster::new();
    let mut own = grouped(1, false, false);
    own.jobs[0].concurrency = own.concurrency.clone();
    cluster.push(vec![own]);
    assert_eq!(cluster.outcome(1), Some(Outcome::Cancelled));
    assert!(cluster.state.reasons.get(&job(1, 0)).is_some_and(|why| why.contains("wait for itself")));
    assert!(cluster.state.groups.is_empty());
}

#[test]
fn a_run_from_a_fork_waits_for_approval() {
    let mut cluster = Cluster::new();
    let fork = Event { from_fork: true, ..Event::of(EventKind::PullRequest) };
    cluster.event(fork, vec![run(1, vec![NewJob::named("a")])], None);
    assert_eq!(cluster.states(1), [Held]);
    assert_eq!(cluster.state.hold(job(1, 0)).map(|hold| hold.as_str().contains("approval")), Some(true));
    cluster.done(Command::ApproveRun { run: RunId(1), sender: "ada".to_owned() });
    assert_eq!(cluster.states(1), [Queued]);
    assert!(cluster.state.approved.get(&RunId(1)).is_some_and(|who| &**who == "ada"));
}

fn triggers() -> Triggers {
    let schedule = Schedule {
        path: "n.yml".to_owned(),
        cron: "0 2 * * *".to_owned(),
        zone: String::new(),
        last: Timestamp(0),
    };
    let follow = Follow {
        path: "f.yml".to_owned(),
        workflows: vec!["ci".to_owned()],
        requested: false,
        completed: true,
    };
    Triggers {
        git_ref: "refs/heads/main".to_owned(),
        schedules: [schedule].into(),
        follows: [follow].into(),
        ..Triggers::default()
    }
}

/// Row 48 of docs/bad-input.md: whichever clock is wrong, a time comes once.
#[test]
fn a_scheduled_time_comes_once_whoever_tells_of_it() {
    let mut cluster = Cluster::new();
    cluster.event(Event::of(EventKind::Push), Vec::new(), Some(triggers()));
    let tick = |id: u128, due: u64| Command::Tick {
        id: DeliveryId(id),
        repo: REPO,
        path: "n.yml".to_owned(),
        cron: "0 2 * * *".to_owned(),
        zone: String::new(),
        due: Timestamp(due),
    };
    assert!(
        matches!(cluster.apply(tick(900, 900_000)), Reply::Refused(Refusal::AlreadyDone { .. })),
        "before it was known"
    );
    cluster.done(tick(901, 2_000_000));
    for (id, due) in [(902, 2_000_000), (903, 1_500_000), (901, 3_000_000)] {
        assert!(matches!(cluster.apply(tick(id, due)), Reply::Refused(Refusal::AlreadyDone { .. })), "{due}");
    }
    let far = 2_000_000 + 3 * 24 * 3600 * 1000;
    assert!(
        matches!(cluster.apply(tick(904, far)), Reply::Refused(Refusal::Invalid { .. })),
        "a clock far ahead"
    );
    let delivery = cluster.state.deliveries.get(&DeliveryId(901)).expect("accepted");
    assert_eq!((delivery.event.kind, &*delivery.only_path), (EventKind::Schedule, "n.yml"));
    // The same schedule again, as of a later push, goes on from where it is.
    cluster.event(Event::of(EventKind::Push), Vec::new(), Some(triggers()));
    assert!(matches!(cluster.apply(tick(905, 2_000_000)), Reply::Refused(Refusal::AlreadyDone { .. })));
    cluster.done(tick(906, 2_500_000));
}

#[test]
fn schedules_that_come_at_the_same_time_each_have_their_delivery() {
    let mut cluster = Cluster::new();
    let of = |cron: &str, zone: &str| Schedule {
        path: "n.yml".to_owned(),
        cron: cron.to_owned(),
        zone: zone.to_owned(),
        last: Timestamp(0),
    };
    let all = [of("0 2 * * *", ""), of("0 */2 * * *", ""), of("0 2 * * *", "Europe/Berlin")];
    let triggers = Triggers { schedules: all.clone().into(), ..triggers() };
    cluster.event(Event::of(EventKind::Push), Vec::new(), Some(triggers));
    let mut tick = |id: u128, Schedule { path, cron, zone, .. }: Schedule, due: u64| {
        let (id, due) = (DeliveryId(id), Timestamp(due));
        cluster.apply(Command::Tick { id, repo: REPO, path, cron, zone, due })
    };
    for (id, schedule) in (901..).zip(all.clone()) {
        let made = tick(id, schedule, 2_000_000);
        assert_eq!(made, Reply::Delivery { id: DeliveryId(id), duplicate: false });
    }
    // One that still waits stands for the next time of its own schedule.
    let again = tick(904, all[1].clone(), 2_500_000);
    assert_eq!(again, Reply::Delivery { id: DeliveryId(902), duplicate: true });
    let told = |id: u128| {
        let event = &cluster.state.deliveries.get(&DeliveryId(id)).expect("accepted").event;
        (event.title.clone(), event.payload.clone())
    };
    assert_eq!(told(901), ("0 2 * * *".to_owned(), r#"{"schedule":"0 2 * * *"}"#.to_owned()));
    let zoned = r#"{"schedule":"0 2 * * *","timezone":"Europe/Berlin"}"#;
    assert_eq!(told(903), ("0 2 * * *".to_owned(), zoned.to_owned()));
}

#[test]
fn what_the_default_branch_said_earlier_does_not_come_back() {
    let mut cluster = Cluster::new();
    let [older, newer] = [1_u8, 2].map(|n| {
        let id = DeliveryId(u128::from(n));
        let (event, key, only_path) = (Event::of(EventKind::Push), String::new(), String::new());
        cluster.done(Command::AcceptDelivery { id, repo: REPO, key, digest: [n; 32], event, only_path });
        cluster.done(Command::AssignExpansion { delivery: id, node: NODE });
        (id, Fence(cluster.index))
    });
    let expand = |(delivery, fence): (DeliveryId, Fence), triggers: Triggers| Command::ExpandDelivery {
        delivery,
        fence,
        commit: String::new(),
        git_ref: String::new(),
        payload: String::new(),
        runs: Vec::new(),
        reason: String::new(),
        triggers: Some(triggers),
        numbers_from: None,
    };
    cluster.done(expand(newer, Triggers { schedules: [].into(), follows: [].into(), ..triggers() }));
    // The node that read the branch before is the last to say so.
    cluster.done(expand(older, triggers()));
    let known = cluster.state.triggers.get(&REPO).expect("kept");
    assert!(known.schedules.is_empty() && known.follows.is_empty(), "{known:?}");
}

#[test]
fn a_workflow_follows_another_at_most_three_in_a_row() {
    let mut cluster = Cluster::new();
    cluster.event(Event::of(EventKind::Push), vec![run(1, vec![NewJob::named("a")])], Some(triggers()));
    for id in 1..=4_u128 {
        cluster.finish(job(id, 0), Outcome::Succeeded);
        let pending: Vec<_> = cluster.state.pending_deliveries.iter().map(|(id, ())| *id).collect();
        if id == 4 {
            assert!(pending.is_empty(), "a circle of workflows ends");
            break;
        }
        let [next] = pending.as_slice() else { panic!("{pending:?} after run {id}") };
        let delivery = cluster.state.deliveries.get(next).expect("pending");
        assert!(matches!(delivery.state, DeliveryState::Pending { .. }));
        assert_eq!((delivery.event.kind, delivery.event.cause), (EventKind::WorkflowRun, Some(RunId(id))));
        cluster.expand(*next, vec![run(id + 1, vec![NewJob::named("a")])], None);
    }
}
