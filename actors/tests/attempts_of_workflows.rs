//! Attempts of jobs with expressions, as a node leads their steps: as plain processes and in real containers.
//! `TROUPE_NO_DOCKER=1` skips those with containers, visibly.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/rig.rs"]
mod rig;
mod support;

use actors::runner::work::{Finished, Work};
use domain::{Action, JobSpec, Level, Outcome, StepSpec};
use rig::{FENCE, Kind, Rig, codes, run, spec};

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn job(steps: Vec<StepSpec>) -> JobSpec {
    JobSpec { expressions: true, ..spec(steps) }
}

fn named(id: &str, script: &str) -> StepSpec {
    StepSpec { id: id.to_owned(), ..run(script) }
}

fn when(condition: &str, script: &str) -> StepSpec {
    StepSpec { condition: condition.to_owned(), ..run(script) }
}

fn outcomes(finished: &Finished) -> Vec<Outcome> {
    finished.steps.iter().filter_map(|step| step.outcome).collect()
}

/// Steps that tell each other things by every way there is.
fn telling() -> JobSpec {
    let mut inner = vec![
        named("in", "echo \"made=<$INPUT>\" >> $GITHUB_OUTPUT; echo path=${{ github.action_path }}"),
        run("echo \"inner ${{ steps.in.outputs.made }} $OUTER\""),
    ];
    inner[0].env = pairs(&[("INPUT", "${{ inputs.who }}")]);
    let composite = StepSpec {
        id: "act".to_owned(),
        env: pairs(&[("OUTER", "outer")]),
        action: Action::Composite {
            path: "act".to_owned(),
            inputs: pairs(&[("who", "${{ steps.first.outputs.name }}")]),
            steps: inner,
            outputs: pairs(&[("made", "${{ steps.in.outputs.made }}")]),
        },
        ..StepSpec::default()
    };
    let first = r##"echo "name=a b" >> $GITHUB_OUTPUT
printf 'LINES<<E\none\ntwo\nE\nGITHUB_JOB=forged\n' >> $GITHUB_ENV
mkdir bin; printf '#!/bin/sh\necho tool\n' > bin/tool; chmod +x bin/tool; echo "$PWD/bin" >> $GITHUB_PATH
echo "# Summary" >> $GITHUB_STEP_SUMMARY
test -f $GITHUB_EVENT_PATH && test -d $RUNNER_TEMP && echo facts"##;
    let second =
        "tool; echo \"$LINES\" \"$JOBS\" ${{ env.STEP }} $GITHUB_JOB ${{ hashFiles('bin/*') != '' }}";
    let mut steps = vec![
        named("first", first),
        StepSpec { env: pairs(&[("STEP", "${{ env.JOBS }}-step")]), ..run(second) },
        composite,
        run("echo '${{ steps.act.outputs.made }}'"),
    ];
    if let Action::Run { shell, .. } = &mut steps[3].action {
        shell.clear();
    }
    let mut job = job(steps);
    job.id = "telling".to_owned();
    job.env = pairs(&[("JOBS", "${{ github.job }}")]);
    job.outputs = pairs(&[("told", "${{ steps.act.outputs.made }}")]);
    job
}

async fn told(kind: Kind, number: u64) {
    let Some(rig) = Rig::new(kind, number, &telling()) else { return };
    let workspace = if matches!(kind, Kind::Containers) {
        "/workspace".to_owned()
    } else {
        rig.file("workspace").display().to_string()
    };
    let finished = rig.finish().await;
    let text = rig.output().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished:?}\n{text}");
    let wanted = format!(
        "facts\ntool\none\ntwo telling telling-step telling true\npath={workspace}/act\ninner <a b> outer\n<a b>\n"
    );
    assert_eq!(text, wanted);
    assert_eq!(finished.outputs, pairs(&[("told", "<a b>")]));
    assert_eq!(codes(&finished).len(), 4);
    let summary: Vec<_> =
        finished.artifacts.iter().map(|a| (a.name.as_str(), a.path.as_str(), a.size)).collect();
    assert_eq!(summary, [(".summary", "step-1.md", 10)]);
    rig.work.clean(rig.attempt, FENCE).await;
    assert!(!rig.file("journal").exists(), "it may hold secrets");
}

#[tokio::test]
async fn steps_tell_each_other_things_as_processes() {
    told(Kind::Processes, 101).await;
}

#[tokio::test]
async fn steps_tell_each_other_things_in_a_container() {
    told(Kind::Containers, 102).await;
}

#[tokio::test]
async fn masks_and_annotations_of_output() {
    let script = r##"echo "::add-mask::tok-en value"
printf 'the tok-'; sleep 0.1; echo 'en value'
echo "dG9rLWVuIHZhbHVl $(printf 'user:tok-en value' | base64)" >&2
echo "::warning file=a.rs,line=3::the tok-en value"
echo "::debug::hidden"
echo "::set-output name=old::way""##;
    let steps = vec![named("first", script), run("echo tok-en value ${{ steps.first.outputs.old }}")];
    let rig = Rig::new(Kind::Containers, 103, &job(steps));
    let Some(rig) = rig else { return };
    let finished = rig.finish().await;
    let text = rig.output().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{text}");
    assert!(!text.contains("tok-en") && !text.contains("dG9rLWVu") && !text.contains("hidden"), "{text}");
    assert!(text.contains("the ***\n") && text.ends_with("*** way\n"), "{text}");
    let [said] = finished.annotations.as_slice() else { panic!("{:?}", finished.annotations) };
    assert_eq!((said.level, said.message.as_str(), said.file.as_str()), (Level::Warning, "the ***", "a.rs"));
    let log = std::fs::read(rig.file("log")).unwrap();
    assert!(!log.windows(6).any(|bytes| bytes == b"tok-en"), "it was stored");
}

#[tokio::test]
async fn secrets_are_given_and_never_shown() {
    let script = "echo \"$TOKEN ${{ secrets.KEY }}\"; echo x=$TOKEN >> $GITHUB_OUTPUT; exit 3";
    let step = StepSpec { env: pairs(&[("TOKEN", "${{ secrets.TOKEN }}")]), ..named("a", script) };
    let second = StepSpec { at: (1, 1), ..when("always()", "${{ fromJSON(secrets.TOKEN) }}") };
    let mut job = job(vec![step, second]);
    job.outputs = pairs(&[("x", "<${{ steps.a.outputs.x }}>"), ("y", "told")]);
    let mut rig = Rig::new(Kind::Processes, 109, &job).unwrap();
    rig.pushed_to("https://forge.example/team/demo".to_owned(), &job);
    let rig = rig.with_secrets(&[("TOKEN", "hunter2!"), ("KEY", "line one\nline two")]);
    let finished = rig.finish().await;
    let text = rig.output().await;
    assert!(
        text.starts_with("*** ***\n") && !text.contains("hunter2") && !text.contains("line one"),
        "{text}"
    );
    assert_eq!(finished.outputs, pairs(&[("y", "told")]), "{finished:?}");
    assert!(text.contains("the output x is not told"), "{text}");
    assert!(!format!("{finished:?}").contains("hunter2"), "{finished:?}");
}

#[tokio::test]
async fn failures_are_seen_by_later_steps_and_said_with_their_place() {
    use Outcome::{Failed, Skipped, Succeeded};
    let may_fail = StepSpec { continue_on_error: "true".to_owned(), ..named("may", "exit 3") };
    let bad = StepSpec { at: (7, 5), ..run("echo ${{ fromJSON('nonsense') }}") };
    let steps = vec![
        may_fail,
        run("echo ${{ steps.may.outcome }} ${{ steps.may.conclusion }}"),
        bad,
        run("echo never"),
        when("failure()", "echo after ${{ job.status }}"),
    ];
    let rig = Rig::new(Kind::Processes, 104, &job(steps)).unwrap();
    let finished = rig.finish().await;
    assert_eq!(outcomes(&finished), [Failed, Succeeded, Failed, Skipped, Succeeded], "{finished:?}");
    assert!(finished.reason.contains(":7:5: run: "), "{}", finished.reason);
    let text = rig.output().await;
    assert!(text.starts_with("failure success\ntroupe: ") && text.ends_with("after failure\n"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_computed_before_the_first_step_needs_no_container() {
    let mut job = job(vec![run("true")]);
    job.env = pairs(&[("A", "${{ fromJSON('nonsense') }}")]);
    let rig = Rig::new(Kind::Processes, 105, &job).unwrap();
    let finished = rig.finish().await;
    assert_eq!((finished.outcome, outcomes(&finished)), (Outcome::Failed, vec![Outcome::Skipped]));
    assert!(finished.reason.contains("env.A"), "{}", finished.reason);
}

#[tokio::test]
async fn after_a_cancel_steps_that_want_to_run_do() {
    let steps = vec![
        run("echo > ready; exec sleep 600"),
        run("echo never"),
        when("cancelled()", "echo cancelled ${{ job.status }}"),
        when("always()", "echo always"),
        when("failure()", "echo never"),
    ];
    let Some(rig) = Rig::new(Kind::Containers, 106, &job(steps)) else { return };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.cancel.cancel();
    let finished = running.end().await;
    use Outcome::{Cancelled, Skipped, Succeeded};
    assert_eq!(finished.outcome, Cancelled, "{finished:?}");
    assert_eq!(outcomes(&finished), [Cancelled, Skipped, Succeeded, Succeeded, Skipped]);
    assert_eq!(rig.output().await, "cancelled cancelled\nalways\n");
}

/// The node dies while the second step runs, and while nobody looks that ends: the third is ordered by the next life.
#[tokio::test]
async fn a_node_that_comes_back_goes_on_with_the_right_step() {
    let second = "echo ::add-mask::hid-den; echo > ready; while [ ! -e stop ]; do sleep 0.02; done; \
                  echo hid-den; echo y=2 >> $GITHUB_OUTPUT; echo > over";
    let steps = vec![
        named("a", "echo x=1 >> $GITHUB_OUTPUT; echo V=v >> $GITHUB_ENV; echo 1 > one"),
        named("b", second),
        run("echo ${{ steps.a.outputs.x }}${{ steps.b.outputs.y }}$V ${{ hashFiles('one') != '' }} hid-den"),
    ];
    let mut job = job(steps);
    job.outputs = pairs(&[("all", "${{ steps.a.outputs.x }}${{ steps.b.outputs.y }}")]);
    let Some(mut rig) = Rig::new(Kind::Containers, 107, &job) else { return };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    drop(running);
    std::fs::write(rig.file("workspace/stop"), "").unwrap();
    rig.appears("workspace/over").await;
    rig.restart();
    let running = rig.begin(true);
    let finished = running.end().await;
    let text = rig.output().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished:?}\n{text}");
    assert_eq!(text, "::add-mask::***\n***\n12v true ***\n");
    assert_eq!(finished.outputs, pairs(&[("all", "12")]));
    assert_eq!(codes(&finished), [(Some(0), Some(Outcome::Succeeded)); 3]);
}

/// What leading costs: init waits for its node between steps. Printed, for nobody can say how fast a machine is.
#[tokio::test]
async fn many_steps_are_led() {
    let Some(rig) = Rig::new(Kind::Containers, 108, &job(vec![run("true"); 20])) else { return };
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished:?}");
    let (first, last) = (&finished.steps[0], &finished.steps[19]);
    let ran: u64 = finished.steps.iter().map(|step| step.finished_at.0 - step.started_at.0).sum();
    let all = last.finished_at.0 - first.started_at.0;
    println!(
        "20 steps took {all} ms, of which their processes ran {ran} ms and their init waited {} ms",
        all - ran
    );
}

#[tokio::test]
async fn the_limit_of_an_action_ends_the_step_under_way_and_those_after_it() {
    let inner = vec![run("echo first"), run("echo second; exec sleep 600"), when("always()", "echo never")];
    let action =
        Action::Composite { path: "act".to_owned(), inputs: Vec::new(), steps: inner, outputs: Vec::new() };
    let limited = StepSpec { timeout_minutes: "0.05".to_owned(), action, ..StepSpec::default() };
    let spec = job(vec![limited, run("echo no"), when("always()", "echo after ${{ job.status }}")]);
    let rig = Rig::new(Kind::Processes, 98, &spec).unwrap();
    let finished = rig.finish().await;
    assert_eq!(
        outcomes(&finished),
        [Outcome::TimedOut, Outcome::Skipped, Outcome::Succeeded],
        "{finished:?}"
    );
    assert_eq!(finished.reason, "step 1 passed its limit of time");
    assert_eq!(rig.output().await, "first\nsecond\nafter failure\n");
}

/// What a job can make large takes no more than its bounds, and nobody waits for it.
#[tokio::test]
async fn a_job_that_is_cancelled_while_its_files_are_hashed_ends() {
    let steps = vec![
        run("echo '<${{ hashFiles('none') }}>'; truncate -s 15T x.lock"),
        run("echo ${{ hashFiles('x.lock') }}"),
        when("always()", "echo 'after <${{ hashFiles('none') }}>'"),
    ];
    let Some(rig) = Rig::new(Kind::Processes, 117, &job(steps)) else { return };
    let rig = rig.graceful();
    let mut running = rig.begin(false);
    let first =
        |told: &actors::runner::work::Told| told.steps.first().is_some_and(|step| step.outcome.is_some());
    tokio::time::timeout(support::PATIENCE, running.told.wait_for(first)).await.unwrap().unwrap();
    running.cancel.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Cancelled, "{}", finished.reason);
    let text = rig.output().await;
    assert_eq!(text, "<>\nafter <>\n");
}

#[tokio::test]
async fn a_checkout_that_is_to_leave_what_is_there_is_refused_where_it_could_not() {
    let with = pairs(&[("clean", "false")]);
    let again = rig::step(Action::Native { what: domain::Native::Checkout, with });
    let job = job(vec![run("mkdir .git; echo mine > mine"), again, when("always()", "cat mine")]);
    let mut rig = Rig::new(Kind::Processes, 118, &job).unwrap();
    rig.pushed_to("https://forge.example/team/demo".to_owned(), &job);
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Failed);
    let text = rig.output().await;
    assert!(text.contains("clean: an earlier step has checked") && text.ends_with("mine\n"), "{text}");
}

/// Row 35.
#[tokio::test]
async fn a_job_that_masks_more_than_can_be_masked_fails_before_it_shows_it() {
    let script =
        "for n in $(seq 501); do echo ::add-mask::value-$n; done; echo now value-501; exec sleep 600";
    let Some(rig) = Rig::new(Kind::Processes, 119, &job(vec![run(script)])) else { return };
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{}", finished.reason);
    assert!(finished.reason.contains("more than 500 values (add-mask)"), "{}", finished.reason);
    assert!(!rig.output().await.contains("now value"));
    let big: &'static str = "secret ".repeat(1 << 20).leak();
    let never = job(vec![run("echo never")]);
    let mut rig = Rig::new(Kind::Processes, 120, &never).unwrap();
    rig.pushed_to("https://forge.example/team/demo".to_owned(), &never);
    let rig = rig.with_secrets(vec![("BIG", big)].leak());
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Failed);
    assert!(finished.reason.contains("make BIG shorter"), "{}", finished.reason);
}
