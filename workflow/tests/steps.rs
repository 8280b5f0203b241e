//! The course of a job, told step by step what would have happened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::cell::RefCell;
use std::sync::Arc;

use domain::{Action, Annotation, JobSpec, Level, Native, Outcome, StepSpec};
use workflow::expression::{Environment, Status, Value};
use workflow::steps::{Answer, Course, End, Given, Next, Note, Order, Over, Post, What, Written, from_json};

struct Files(RefCell<Vec<String>>);

impl Environment for Files {
    fn status(&self, _: Status, _: &[Value]) -> Result<bool, String> {
        Err("not asked here".to_owned())
    }
    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        self.0.borrow_mut().push(patterns.join(","));
        Ok("abc".to_owned())
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn run(script: &str) -> StepSpec {
    let action =
        Action::Run { script: script.to_owned(), shell: "sh".to_owned(), working_directory: String::new() };
    StepSpec { action, at: (3, 7), ..StepSpec::default() }
}

fn named(id: &str, script: &str) -> StepSpec {
    StepSpec { id: id.to_owned(), ..run(script) }
}

fn when(condition: &str, script: &str) -> StepSpec {
    StepSpec { condition: condition.to_owned(), ..run(script) }
}

fn composite(steps: Vec<StepSpec>, inputs: &[(&str, &str)], outputs: &[(&str, &str)]) -> StepSpec {
    let action =
        Action::Composite { path: "act".to_owned(), inputs: pairs(inputs), steps, outputs: pairs(outputs) };
    StepSpec { action, id: "act".to_owned(), ..StepSpec::default() }
}

fn spec(steps: Vec<StepSpec>) -> JobSpec {
    JobSpec { expressions: true, steps, ..JobSpec::default() }
}

/// A course with what it was given, and what scripts it ordered.
struct Told {
    course: Course,
    files: Files,
    seen: Vec<String>,
    notes: Vec<Note>,
}

fn course(spec: JobSpec) -> Told {
    let contexts = [
        ("github", r#"{"ref":"refs/heads/main","event":{"n":1}}"#),
        ("secrets", r#"{"TOKEN":"s3cr3t!"}"#),
        ("matrix", r#"{"os":"linux"}"#),
    ];
    let given = Given {
        spec: Arc::new(spec),
        path: "ci.yml".to_owned(),
        workspace: "/w".to_owned(),
        contexts: contexts
            .iter()
            .map(|(name, json)| ((*name).to_owned(), from_json(json).unwrap()))
            .collect(),
        facts: pairs(&[("GITHUB_REF", "refs/heads/main")]),
        secrets: vec!["s3cr3t!".to_owned()],
    };
    Told { course: Course::new(given), files: Files(RefCell::default()), seen: vec![], notes: vec![] }
}

fn went(outcome: Outcome) -> Over {
    let exit_code = Some(i32::from(outcome != Outcome::Succeeded));
    Over { exit_code, signal: None, outcome, written: Written::default(), answer: Answer::default() }
}

fn ok() -> Over {
    went(Outcome::Succeeded)
}

fn wrote(output: &str, env: &str) -> Over {
    Over { written: Written { output: output.into(), env: env.into(), ..Written::default() }, ..ok() }
}

impl Told {
    fn next(&mut self) -> Next {
        let next = self.course.next(&self.files);
        self.notes.extend(self.course.notes());
        next
    }

    fn order(&mut self) -> Order {
        match self.next() {
            Next::Order(order) => order,
            other => panic!("{other:?} {:?}", self.notes),
        }
    }

    fn over(&mut self, number: u32, over: Over) {
        self.course.started(number);
        self.course.over(number, over);
    }

    /// Each order goes as it is said; what is not said succeeds.
    fn end(mut self, went: impl Fn(&str) -> Option<Over>) -> (End, Self) {
        loop {
            match self.next() {
                Next::Done(end) => return (end, self),
                Next::Wait => panic!("it waits"),
                Next::Order(order) => {
                    let script = match &order.what {
                        What::Run { script, .. } => script.clone(),
                        What::Native { what, post, .. } => {
                            format!(
                                "{}{}",
                                what.as_str(),
                                post.as_ref().map(|p| format!(" post {p}")).unwrap_or_default()
                            )
                        }
                        What::Docker { image, .. } => image.clone(),
                    };
                    let over = went(&script).unwrap_or_else(ok);
                    self.seen.push(script);
                    self.over(order.number, over);
                }
            }
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome =
            |note: &Note| if let Note::Finished { outcome, .. } = note { Some(*outcome) } else { None };
        self.notes.iter().filter_map(outcome).collect()
    }

    fn said(&self) -> String {
        let said = |note: &Note| if let Note::Said { words, .. } = note { Some(words.clone()) } else { None };
        self.notes.iter().filter_map(said).collect::<Vec<_>>().join("\n")
    }
}

fn fails(bad: &'static str) -> impl Fn(&str) -> Option<Over> {
    move |script| (script == bad).then(|| went(Outcome::Failed))
}

#[test]
fn steps_run_by_their_conditions() {
    use Outcome::{Failed, Skipped, Succeeded};
    let may_fail =
        StepSpec { continue_on_error: "${{ matrix.os == 'linux' }}".to_owned(), ..named("m", "may") };
    let steps = vec![
        may_fail,
        when("steps.m.outcome == 'failure' && steps.m.conclusion == 'success'", "seen"),
        run("bad"),
        run("no"),
        when("failure()", "failure"),
        when("always() && job.status == 'failure'", "always"),
        when("cancelled()", "no"),
        when("!cancelled() && false", "no"),
    ];
    let (end, told) = course(spec(steps)).end(|script| matches!(script, "may" | "bad").then(|| went(Failed)));
    assert_eq!(told.seen, ["may", "seen", "bad", "failure", "always"]);
    assert_eq!(told.outcomes(), [Failed, Succeeded, Failed, Skipped, Succeeded, Succeeded, Skipped, Skipped]);
    assert_eq!((end.outcome, end.reason.as_str()), (Failed, "step 3 exited with 1"));
}

#[test]
fn what_steps_write_is_there_for_later_ones() {
    let later = StepSpec {
        env: pairs(&[("OWN", "${{ env.ADDED }}+"), ("ADDED", "step"), ("GITHUB_REF", "forged")]),
        ..run(
            "${{ steps.a.outputs.x }} ${{ env.OWN }} ${{ env.ADDED }} ${{ hashFiles('a', 'b') }} ${{ secrets.TOKEN }}",
        )
    };
    let mut job = spec(vec![named("a", "first"), later]);
    job.env = pairs(&[("ADDED", "job"), ("MAP", "${{ matrix.os }}")]);
    job.outputs = pairs(&[("x", "${{ steps.a.outputs.x }}"), ("leak", "a ${{ secrets.TOKEN }}")]);
    let mut told = course(job);
    assert!(told.course.asks_for_files());
    let first = told.order();
    assert!(
        matches!(&first.what, What::Run { env, argv, .. } if env.contains(&("MAP".into(), "linux".into())) && argv[0] == "sh")
    );
    assert_eq!(told.next(), Next::Wait);
    let mut over = wrote("x=1\ny<<E\na\nb\nE\n", "ADDED=file\n");
    over.written.path = b"/one\n/two\n".to_vec();
    over.written.summary = b"# hi".to_vec();
    told.over(first.number, over);
    let second = told.order();
    let What::Run { script, env, path, .. } = &second.what else { panic!("{second:?}") };
    assert_eq!(script, "1 file+ step abc s3cr3t!");
    assert_eq!(told.files.0.borrow().as_slice(), ["a,b"]);
    let last =
        |name: &str| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!((last("GITHUB_REF"), last("ADDED")), (Some("refs/heads/main"), Some("step")));
    assert_eq!(path, &["/one", "/two"]);
    assert!(second.last && !first.last);
    told.over(second.number, ok());
    let Next::Done(end) = told.next() else { panic!() };
    assert_eq!((end.outcome, end.outputs), (Outcome::Succeeded, pairs(&[("x", "1")])));
    assert!(told.said().contains("leak"), "{}", told.said());
    assert!(told.notes.contains(&Note::Summary { step: 0, text: b"# hi".to_vec() }));
}

#[test]
fn what_cannot_be_computed_fails_its_step_and_says_where() {
    for (step, wanted) in [
        (run("${{ fromJSON('x') }}"), "ci.yml:3:7: run: "),
        (when("nonsense(", "x"), "ci.yml:3:7: if: "),
        (StepSpec { timeout_minutes: "${{ 'x' }}".to_owned(), ..run("x") }, "ci.yml:3:7: timeout-minutes: "),
        (StepSpec { continue_on_error: "maybe".to_owned(), ..run("x") }, "ci.yml:3:7: continue-on-error: "),
        (StepSpec { env: pairs(&[("A", "${{ nope.x }}")]), ..run("x") }, "ci.yml:3:7: env.A: "),
    ] {
        let (end, told) = course(spec(vec![step, when("failure()", "then")])).end(|_| None);
        assert!(end.outcome == Outcome::Failed && end.reason.starts_with(wanted), "{wanted} {}", end.reason);
        assert_eq!(told.seen, ["then"]);
        assert_eq!(told.said(), end.reason);
    }
    for (file, wanted) in [("bad", "GITHUB_OUTPUT: line 1"), ("a<<E", "never comes")] {
        let (end, _) = course(spec(vec![run("x")])).end(|_| Some(wrote(file, "")));
        assert!(end.outcome == Outcome::Failed && end.reason.contains(wanted), "{}", end.reason);
    }
    let bad = |file| Over { written: Written { bad: vec![file], ..Written::default() }, ..ok() };
    let (end, _) = course(spec(vec![run("x")])).end(|_| Some(bad("GITHUB_ENV")));
    assert_eq!(end.reason, "GITHUB_ENV: it has more than 1 MiB, or is no file");
    let mut told = course(spec(vec![run("x"), run("y")]));
    for file in ["GITHUB_STEP_SUMMARY", "GITHUB_STATE"] {
        let order = told.order();
        told.over(order.number, bad(file));
    }
    let Next::Done(end) = told.next() else { panic!() };
    let why = "GITHUB_STEP_SUMMARY: it has more than 1 MiB, or is no file; it is not kept";
    assert_eq!((end.outcome, told.said().as_str()), (Outcome::Succeeded, why));
    let annotations: Vec<_> = told.course.annotations().iter().map(|one| (one.step, &*one.message)).collect();
    assert_eq!(annotations, [(0, why)]);
    let (end, _) = course(spec(vec![run("x")])).end(|_| Some(wrote("", "NODE_OPTIONS=--x")));
    assert!(end.reason.contains("NODE_OPTIONS"), "{}", end.reason);
    let mut job = spec(vec![run("x")]);
    job.env = pairs(&[("A", "${{ fromJSON('') }}")]);
    let (end, told) = course(job).end(|_| None);
    assert!(end.reason.starts_with("ci.yml: env.A: ") && told.seen.is_empty(), "{}", end.reason);
}

#[test]
fn an_action_of_steps_has_inputs_outputs_and_a_status_of_its_own() {
    let inner = vec![
        named("in", "${{ inputs.who }} ${{ github.action_path }} ${{ env.OUTER }}"),
        when("success()", "again ${{ env.SET }}"),
    ];
    let mut outer =
        composite(inner, &[("who", "${{ matrix.os }}")], &[("made", "${{ steps.in.outputs.x }}")]);
    outer.env = pairs(&[("OUTER", "o")]);
    let steps = vec![
        outer,
        run("${{ steps.act.outputs.made }}${{ inputs.who }}${{ steps.in.outputs.x }} ${{ env.SET }}"),
    ];
    let (end, told) =
        course(spec(steps)).end(|script| script.starts_with("linux").then(|| wrote("x=made\n", "SET=it\n")));
    assert_eq!(told.seen, ["linux /w/act o", "again it", "made it"]);
    assert_eq!((end.outcome, told.outcomes().len()), (Outcome::Succeeded, 2));

    // It is told what it is given, and knows nothing else of the job that uses it.
    let names = "${{ secrets.TOKEN }}|${{ vars.V }}|${{ needs.a.result }}|${{ matrix.os }}|${{ inputs.t }}";
    let inner = vec![run(names)];
    let steps = vec![composite(inner, &[("t", "${{ secrets.TOKEN }}")], &[]), run("${{ secrets.TOKEN }}")];
    assert_eq!(course(spec(steps)).end(|_| None).1.seen, ["|||linux|s3cr3t!", "s3cr3t!"]);

    // After a failure before it, `always()` begins it, and what is within goes by its own status.
    let inner = vec![run("one"), run("bad"), run("no"), when("failure()", "mend")];
    let mut action = composite(inner, &[], &[]);
    action.condition = "always()".to_owned();
    action.continue_on_error = "true".to_owned();
    let steps = vec![run("first"), action, run("after")];
    let (end, told) = course(spec(steps)).end(fails("bad"));
    assert_eq!(told.seen, ["first", "one", "bad", "mend", "after"]);
    assert_eq!((end.outcome, told.outcomes()[1]), (Outcome::Succeeded, Outcome::Failed));

    let mut deep = run("x");
    for _ in 0..11 {
        deep = composite(vec![deep], &[], &[]);
    }
    let (end, _) = course(spec(vec![deep])).end(|_| None);
    assert!(end.reason.contains("nested"), "{}", end.reason);
}

#[test]
fn after_a_cancel_only_what_wants_to_run_does() {
    let steps = vec![
        run("one"),
        run("two"),
        when("always()", "always"),
        when("cancelled()", "cancelled"),
        when("failure()", "no"),
    ];
    let mut told = course(spec(steps));
    let first = told.order();
    told.over(first.number, ok());
    // The second was ordered before the cancel was known: init refuses it.
    let second = told.order();
    told.course.stop(Outcome::Cancelled, "cancelled");
    told.course.over(second.number, Over { exit_code: None, ..went(Outcome::Skipped) });
    let (end, told) = told.end(|_| None);
    assert_eq!(told.seen, ["always", "cancelled"]);
    assert_eq!((end.outcome, end.reason.as_str()), (Outcome::Cancelled, "cancelled"));
    use Outcome::{Skipped, Succeeded};
    assert_eq!(told.outcomes(), [Succeeded, Skipped, Succeeded, Succeeded, Skipped]);
}

#[test]
fn what_actions_left_is_done_at_the_end_the_last_first() {
    let native = |what| StepSpec { action: Action::Native { what, with: vec![] }, ..StepSpec::default() };
    let steps = || vec![native(Native::Cache), native(Native::Checkout), run("work")];
    let answer = |script: &str| {
        let on_success = script == "actions/cache";
        let post = Some(Post { on_success, state: script.to_owned() });
        let over = Over { answer: Answer { post, ..Answer::default() }, ..ok() };
        (!script.contains("post") && script != "work").then_some(over)
    };
    let (end, told) = course(spec(steps())).end(answer);
    let posts = ["actions/checkout post actions/checkout", "actions/cache post actions/cache"];
    assert_eq!(told.seen[3..], posts);
    assert_eq!(end.outcome, Outcome::Succeeded);
    let (end, told) = course(spec(steps()))
        .end(|script| if script == "work" { Some(went(Outcome::Failed)) } else { answer(script) });
    assert_eq!(told.seen[3..], posts[..1]);
    assert_eq!(end.reason, "step 3 exited with 1");
}

#[test]
fn what_is_refused_at_the_end_ends_no_step_twice() {
    let action = Action::Native { what: Native::Cache, with: vec![] };
    let mut told = course(spec(vec![StepSpec { action, ..StepSpec::default() }]));
    let first = told.order();
    let post = Some(Post { on_success: false, state: String::new() });
    told.over(first.number, Over { answer: Answer { post, ..Answer::default() }, ..ok() });
    told.course.stop(Outcome::Cancelled, "cancelled");
    let last = told.order();
    assert!(last.stopping);
    told.course.over(last.number, Over { exit_code: None, ..went(Outcome::Skipped) });
    let (end, told) = told.end(|_| None);
    assert_eq!((end.outcome, told.outcomes()), (Outcome::Cancelled, vec![Outcome::Succeeded]));
}

#[test]
fn what_was_not_ordered_says_nothing() {
    let mut told = course(spec(vec![run("one"), run("two")]));
    let first = told.order();
    told.over(7, went(Outcome::Failed));
    told.over(first.number, ok());
    told.over(first.number, went(Outcome::Failed));
    let (end, _) = told.end(|_| None);
    assert_eq!(end.outcome, Outcome::Succeeded);
}

#[test]
fn without_expressions_texts_are_what_they_are() {
    let mut job = spec(vec![run("${{ nope }}"), when("failure()", "no")]);
    job.expressions = false;
    let (end, told) = course(job).end(|_| None);
    assert_eq!((told.seen, end.outcome), (vec!["${{ nope }}".to_owned()], Outcome::Succeeded));
}

#[test]
fn annotations_are_kept_within_limits() {
    let steps = (0..9).map(|_| run("x")).collect();
    let mut told = course(spec(steps));
    while let Next::Order(order) = told.next() {
        for _ in 0..20 {
            told.course.hear(workflow::steps::commands::parse("::warning::w").unwrap());
        }
        told.over(order.number, ok());
    }
    let steps: Vec<_> = told.course.annotations().iter().map(|annotation| annotation.step).collect();
    // One is left for the place of the job's environment.
    assert_eq!((steps.len(), steps[9], steps[10]), (49, 0, 1));
}

#[test]
fn names_are_computed_and_an_environment_is_told_where_it_can_be_looked_at() {
    let called = |name: &str, step: StepSpec| StepSpec { name: name.to_owned(), ..step };
    let steps = vec![
        called("on ${{ matrix.os }}", named("s", "a")),
        called("with ${{ secrets.TOKEN }}", run("b")),
        called("bad ${{ fromJSON('{') }}", run("c")),
        called("skipped ${{ matrix.os }}", when("false", "d")),
        called("plain", run("e")),
    ];
    let url = "https://${{ steps.s.outputs.host }}/".to_owned();
    let told = course(JobSpec { environment_url: url, ..spec(steps.clone()) });
    let host = Written { output: b"host=example.com\n".to_vec(), ..Written::default() };
    let wrote = |written: &Written| Some(Over { written: written.clone(), ..went(Outcome::Succeeded) });
    let (end, told) = told.end(|script| if script == "a" { wrote(&host) } else { None });
    assert_eq!(end.outcome, Outcome::Succeeded);
    let names: Vec<_> = told
        .notes
        .iter()
        .filter_map(
            |note| if let Note::Named { step, name } = note { Some((*step, name.as_str())) } else { None },
        )
        .collect();
    assert_eq!(
        names,
        [(0, "on linux"), (3, "skipped linux")],
        "no secret, and nothing that cannot be computed"
    );
    let shown: Vec<_> = told.course.annotations().iter().map(|one| (&*one.title, &*one.message)).collect();
    assert_eq!(shown, [("Environment", "https://example.com/")]);
    let secret = "https://${{ secrets.TOKEN }}/".to_owned();
    let (_, told) = course(JobSpec { environment_url: secret, ..spec(steps) }).end(|_| None);
    assert!(told.course.annotations().is_empty());
}

#[test]
fn a_step_knows_its_name_and_an_action_how_it_goes() {
    let names = "${{ github.action }} $GITHUB_ACTION ${{ github.ref }}";
    let failing = StepSpec { continue_on_error: "true".to_owned(), ..run("fail") };
    let inner = vec![run("fail"), when("always()", "${{ github.action_status }} ${{ github.action }}")];
    let mut action = composite(inner, &[], &[]);
    action.continue_on_error = "true".to_owned();
    let steps = vec![run(names), named("mine", names), failing, run(names), action];
    let (end, told) = course(spec(steps)).end(fails("fail"));
    assert_eq!(end.outcome, Outcome::Succeeded, "{}", end.reason);
    let wanted = |name: &str| format!("{name} $GITHUB_ACTION refs/heads/main");
    let expected = [
        wanted("__run"),
        wanted("mine"),
        "fail".into(),
        wanted("__run_3"),
        "fail".into(),
        "failure __run_2".into(),
    ];
    assert_eq!(told.seen, expected);
}

/// An order with its limit, which begins now and is over after so many milliseconds.
fn takes(told: &mut Told, now: &mut u64, ms: u64, outcome: Outcome) -> (String, u64) {
    let order = told.order();
    let What::Run { script, .. } = order.what else { panic!("no script: {order:?}") };
    told.course.at(*now);
    told.course.started(order.number);
    *now += ms;
    told.course.at(*now);
    told.course.over(order.number, went(outcome));
    (script, order.timeout_ms)
}

#[test]
fn the_limit_of_an_action_is_one_for_all_its_steps_and_its_end_is_theirs() {
    use Outcome::{Succeeded, TimedOut};
    let minute = 60_000;
    let limited =
        |minutes: &str, steps| StepSpec { timeout_minutes: minutes.to_owned(), ..composite(steps, &[], &[]) };
    let may_fail = |script| StepSpec { continue_on_error: "true".to_owned(), ..run(script) };
    let short =
        StepSpec { timeout_minutes: "0.5".to_owned(), continue_on_error: "true".to_owned(), ..run("own") };
    // One of its own limit, one within a further action, and one that may fail, which does not help.
    let inner = limited("5", vec![run("b"), may_fail("c"), when("always()", "never")]);
    let action = limited("3", vec![run("a"), short, inner, when("always()", "never")]);
    let steps = vec![action, run("skipped"), when("always()", "after")];
    let (mut told, mut now) = (course(spec(steps)), 1_700_000_000_000);
    assert_eq!(takes(&mut told, &mut now, minute, Succeeded), ("a".to_owned(), 3 * minute));
    // Its own limit ends it alone.
    assert_eq!(takes(&mut told, &mut now, minute / 2, TimedOut), ("own".to_owned(), minute / 2));
    assert_eq!(takes(&mut told, &mut now, minute, Succeeded), ("b".to_owned(), minute + minute / 2));
    // What ends it may come a little early.
    assert_eq!(takes(&mut told, &mut now, minute / 2 - 3, TimedOut), ("c".to_owned(), minute / 2));
    assert_eq!(takes(&mut told, &mut now, 1, Succeeded), ("after".to_owned(), 0));
    let Next::Done(end) = told.next() else { panic!("it goes on") };
    assert_eq!((end.outcome, end.reason.as_str()), (TimedOut, "step 1 passed its limit of time"));
    assert_eq!(told.outcomes(), [TimedOut, Outcome::Skipped, Succeeded]);

    // Over before its time, and of the last step of all the same.
    let steps = vec![limited("1", vec![run("a"), may_fail("b")])];
    for (second, wanted) in [(Succeeded, Succeeded), (TimedOut, TimedOut)] {
        let (mut told, mut now) = (course(spec(steps.clone())), 5);
        takes(&mut told, &mut now, minute - 1, Succeeded);
        assert_eq!(takes(&mut told, &mut now, 1, second), ("b".to_owned(), 1));
        let Next::Done(end) = told.next() else { panic!("it goes on") };
        assert_eq!(end.outcome, wanted);
    }
}

#[test]
fn the_texts_of_annotations_have_a_limit_and_the_environments_place_is_told_all_the_same() {
    let url = "https://${{ matrix.os }}.example.com/".to_owned();
    let mut told = course(JobSpec { environment_url: url, ..spec((0..9).map(|_| run("x")).collect()) });
    for _ in 0..9 {
        let order = told.order();
        for _ in 0..10 {
            let command = workflow::steps::commands::Command::Annotate(Annotation {
                level: Level::Notice,
                message: "\u{1f600}".repeat(1000),
                title: String::new(),
                file: String::new(),
                line: 0,
                column: 0,
                step: 0,
            });
            told.course.started(order.number);
            told.course.hear(command);
        }
        told.over(order.number, ok());
    }
    assert!(matches!(told.next(), Next::Done(_)));
    let all = told.course.annotations();
    let bytes: usize = all.iter().map(|one| one.message.len() + one.title.len()).sum();
    assert!(
        all.len() > 10 && bytes <= domain::limits::MAX_ANNOTATION_BYTES,
        "{} of {bytes} bytes",
        all.len()
    );
    assert_eq!(all.last().map(|one| one.message.as_str()), Some("https://linux.example.com/"));
}
