//! What starts a workflow, what a matrix makes, and what runs after what: as GitHub's documentation has it.

use workflow::events::{Happened, starts};
use workflow::expression::{NoEnvironment, Object, Value};
use workflow::graph::{Before, Outcome, Steps, ancestors, job_runs, step_runs};
use workflow::matrix::{Invalid, combinations, shown};
use workflow::model::{Job, Work};
use workflow::{Variant, read, variants};

fn jobs(text: &str) -> Vec<Job> {
    let (workflow, found) = read(text.as_bytes());
    assert!(found.is_empty(), "{text}\n{found:#?}");
    workflow.expect("a file without complaints has a model").jobs
}

/// The variants of the one job with this strategy.
fn made(strategy: &str) -> Result<Vec<Variant>, String> {
    let text = format!(
        "on: push\njobs:\n  a:\n    runs-on: x\n    strategy:\n      {}\n",
        strategy.replace('\n', "\n      ")
    );
    variants(&jobs(&text)[0], &Object::default()).map_err(|e| e.to_string())
}

fn names(strategy: &str) -> Vec<String> {
    let made = made(strategy).expect("a matrix that makes jobs");
    made.into_iter().map(|variant| variant.name).collect()
}

#[test]
fn a_matrix_is_every_value_with_every_other() {
    let found = names("matrix:\n  os: [ubuntu, windows]\n  version: [10, 12.5]\n");
    assert_eq!(found, ["a (ubuntu, 10)", "a (ubuntu, 12.5)", "a (windows, 10)", "a (windows, 12.5)"]);
    assert_eq!(names("matrix: {v: [{n: 1, m: [x, y]}, true]}"), ["a (1, x, y)", "a (true)"]);
    assert_eq!(names("fail-fast: false"), ["a"]);
}

/// The example of GitHub's documentation, "Expanding or adding matrix configurations".
#[test]
fn include_is_added_where_it_changes_nothing_of_the_matrix() {
    let strategy = "matrix:\n  fruit: [apple, pear]\n  animal: [cat, dog]\n  include:\n    - color: green\n    - color: pink\n      animal: cat\n    - fruit: apple\n      shape: circle\n    - fruit: banana\n    - fruit: banana\n      animal: cat\n";
    let found: Vec<String> = made(strategy)
        .unwrap()
        .iter()
        .map(|variant| {
            let Some(Value::Object(matrix)) = variant.contexts.get("matrix") else { panic!("no matrix") };
            let pairs: Vec<_> =
                matrix.iter().map(|(name, value)| format!("{name}: {}", value.as_text())).collect();
            pairs.join(", ")
        })
        .collect();
    assert_eq!(
        found,
        [
            "fruit: apple, animal: cat, color: pink, shape: circle",
            "fruit: apple, animal: dog, color: green, shape: circle",
            "fruit: pear, animal: cat, color: pink",
            "fruit: pear, animal: dog, color: green",
            "fruit: banana",
            "fruit: banana, animal: cat",
        ]
    );
    assert_eq!(
        names("matrix: {include: [{site: prod, dc: a}, {site: staging, dc: b}]}"),
        ["a (prod, a)", "a (staging, b)"]
    );
}

#[test]
fn exclude_takes_out_what_has_all_its_values() {
    let strategy = "matrix:\n  os: [mac, win]\n  version: [12, 14, 16]\n  environment: [staging, production]\n  exclude:\n    - os: mac\n      version: 12\n      environment: production\n    - os: win\n      version: 16\n";
    let found = names(strategy);
    assert_eq!(found.len(), 9);
    assert!(
        !found.contains(&"a (mac, 12, production)".to_owned())
            && !found.iter().any(|one| one.contains("win, 16"))
    );
    // What was taken out can be put in again, as a combination of its own.
    let again = names("matrix: {v: [1, 2], exclude: [{v: 1}], include: [{v: 1, again: true}]}");
    assert_eq!(again, ["a (2)", "a (1, true)"]);
    // What is not in the matrix takes nothing out.
    assert_eq!(names("matrix: {v: [1, 2], exclude: [{w: 1}]}").len(), 2);
    // Maps are compared whole, whatever their order.
    assert_eq!(names("matrix: {v: [{a: 1, b: 2}, {a: 1}], exclude: [{v: {b: 2, a: 1}}]}"), ["a (1)"]);
}

#[test]
fn a_matrix_that_makes_no_jobs_or_too_many_is_refused() {
    let vector = |count: usize| format!("[{}]", vec!["x"; count].join(", "));
    assert_eq!(made(&format!("matrix: {{a: {}}}", vector(256))).unwrap().len(), 256);
    for (strategy, wanted) in [
        (format!("matrix: {{a: {}}}", vector(257)), "6:15: the matrix makes 257 jobs, the limit is 256"),
        (
            format!("matrix: {{a: {0}, b: {0}, c: {0}, d: {0}, e: {0}}}", vector(1000)),
            "the matrix makes 1000000000000000 jobs, the limit is 256",
        ),
        ("matrix: {a: [1], exclude: [{a: 1}]}".to_owned(), "the matrix makes no job"),
        ("matrix: {a: [1]}\nmax-parallel: 0".to_owned(), "7:21: max-parallel is 0"),
        ("matrix: ${{ fromJSON('[]') }}".to_owned(), "matrix must be a map"),
        ("matrix: ${{ fromJSON('{\"a\":[]}') }}".to_owned(), "Matrix vector 'a' does not contain any values"),
        ("matrix: ${{ fromJSON('{\"a\":1}') }}".to_owned(), "matrix.a must be a list"),
        ("matrix: ${{ fromJSON('{\"include\":[1]}') }}".to_owned(), "each of matrix.include must be a map"),
        ("matrix: ${{ fromJSON('') }}".to_owned(), "6:15: empty input"),
    ] {
        let found = made(&strategy).unwrap_err();
        assert!(found.contains(wanted), "{found}\nwanted {wanted}");
    }
    assert_eq!(combinations(&Value::Null).unwrap_err(), Invalid::Form("matrix".to_owned(), "a map"));
    assert_eq!(shown(&Object::default()), "()");
}

#[test]
fn names_labels_and_limits_are_those_of_the_variant() {
    let text = "on: push\njobs:\n  a:\n    name: Test ${{ matrix.v }} of ${{ strategy.job-total }}\n    runs-on: ['${{ matrix.os || ''linux'' }}', big]\n    strategy: {matrix: {v: [1, 2], include: [{v: 2, os: mac}]}, fail-fast: '${{ github.x == 1 }}', max-parallel: 1}\n";
    let found = variants(&jobs(text)[0], &Object::default()).unwrap();
    let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.labels.join("+"))).collect();
    assert_eq!(shown, [("Test 1 of 2", "linux+big".to_owned()), ("Test 2 of 2", "mac+big".to_owned())]);
    let Some(Value::Object(strategy)) = found[1].contexts.get("strategy") else { panic!("no strategy") };
    let facts: Vec<_> = strategy.iter().map(|(name, value)| format!("{name} {}", value.as_text())).collect();
    assert_eq!(facts, ["fail-fast false", "job-index 1", "job-total 2", "max-parallel 1"]);
    let plain = text.replace("name: Test ${{ matrix.v }} of ${{ strategy.job-total }}", "name: Test");
    let found = variants(&jobs(&plain)[0], &Object::default()).unwrap();
    assert_eq!(found[1].name, "Test (2, mac)");
}

#[test]
fn a_job_runs_as_its_condition_says_of_those_before_it() {
    use Outcome::{Cancelled, Failure, Skipped, Success};
    let runs = |condition: &str, jobs_before: &[(&str, Outcome)], cancelled: bool| {
        let text = format!("on: push\njobs: {{a: {{runs-on: x, if: \"{condition}\"}}}}\n");
        let job = jobs(&text).remove(0);
        let before = Before { jobs: jobs_before.to_vec(), cancelled };
        let mut contexts = Object::default();
        let needs = jobs_before
            .iter()
            .map(|(name, outcome)| (*name, Value::object([("result", Value::text(outcome.as_str()))])));
        contexts.insert("needs", Value::object(needs));
        job_runs(job.condition.as_ref().unwrap(), &before, &contexts).unwrap()
    };
    for (condition, before, cancelled, wanted) in [
        ("", &[][..], false, true),
        ("", &[("b", Success), ("c", Success)], false, true),
        ("", &[("b", Success), ("c", Skipped)], false, false),
        ("", &[("b", Failure)], false, false),
        ("", &[("b", Cancelled)], false, false),
        ("", &[("b", Success)], true, false),
        ("failure()", &[("b", Success), ("c", Failure)], false, true),
        ("failure()", &[("b", Skipped)], false, false),
        ("failure()", &[("b", Failure)], true, false),
        ("always()", &[("b", Failure)], true, true),
        ("!cancelled()", &[("b", Failure)], false, true),
        ("cancelled()", &[("b", Cancelled)], true, true),
        ("success('b')", &[("b", Success), ("c", Failure)], false, true),
        ("failure('b')", &[("b", Success), ("c", Failure)], false, false),
        ("needs.b.result == 'success'", &[("b", Success)], false, true),
        ("needs.b.result == 'failure'", &[("b", Failure)], false, false),
        ("always() && needs.b.result == 'failure'", &[("b", Failure)], false, true),
    ] {
        assert_eq!(runs(condition, before, cancelled), wanted, "{condition} {before:?} {cancelled}");
    }
}

#[test]
fn those_before_a_job_are_found_however_far_back() {
    let needs = vec![vec![], vec![0], vec![1, 0], vec![2], vec![9], vec![6], vec![5]];
    assert_eq!(ancestors(3, &needs), [2, 1, 0]);
    assert_eq!(ancestors(0, &needs), [0; 0]);
    assert_eq!(ancestors(4, &needs), [0; 0], "a job that is not there");
    assert_eq!(ancestors(5, &needs), [6, 5], "a circle");
}

#[test]
fn a_step_runs_as_its_condition_says_of_the_steps_before_it() {
    let runs = |condition: &str, failed: bool, cancelled: bool| {
        let text =
            format!("on: push\njobs: {{a: {{runs-on: x, steps: [{{run: y, if: \"{condition}\"}}]}}}}\n");
        let job = jobs(&text).remove(0);
        let Work::Steps(work) = &job.work else { panic!("{job:?}") };
        let condition = work.steps[0].condition.as_ref().unwrap();
        step_runs(condition, Steps { failed, cancelled }, &NoEnvironment, &Object::default())
            .map_err(|e| e.to_string())
    };
    for (condition, failed, cancelled, wanted) in [
        ("", false, false, true),
        ("", true, false, false),
        ("", false, true, false),
        ("failure()", true, false, true),
        ("failure()", true, true, false),
        ("always()", true, true, true),
        ("cancelled()", false, true, true),
        ("github.x == null", true, false, false),
        ("failure() && github.x == null", true, false, true),
    ] {
        assert_eq!(runs(condition, failed, cancelled), Ok(wanted), "{condition} {failed} {cancelled}");
    }
    assert_eq!(
        runs("always() && hashFiles('x') == ''", false, false),
        Err("2:45: there is no workspace here".to_owned())
    );
}

#[test]
fn an_event_starts_what_asks_for_it() {
    let wants = |on: &str, happened: Happened<'_>| {
        let (workflow, found) = read(format!("on: {on}\njobs: {{a: {{runs-on: x}}}}\n").as_bytes());
        assert!(found.is_empty(), "{found:?}");
        workflow.unwrap().on.iter().any(|trigger| starts(trigger, &happened).unwrap())
    };
    let push = |git_ref: &'static str| Happened { event: "push", git_ref, ..Happened::default() };
    let branches = "{push: {branches: ['releases/**', '!releases/**-alpha']}}";
    for (on, happened, wanted) in [
        ("push", push("refs/heads/x"), true),
        ("push", push("refs/tags/x"), true),
        ("[fork, create]", push("refs/heads/x"), false),
        (branches, push("refs/heads/releases/10"), true),
        (branches, push("refs/heads/releases/beta/3-alpha"), false),
        (branches, push("refs/tags/releases/10"), false),
        ("{push: {branches-ignore: [x]}}", push("refs/heads/y"), true),
        ("{push: {branches-ignore: [x]}}", push("refs/tags/y"), false),
        ("{push: {tags: [v2]}}", push("refs/tags/v2"), true),
        ("{push: {tags: [v2]}}", push("refs/heads/v2"), false),
        ("{push: {tags-ignore: [v2]}}", push("refs/tags/v2"), false),
        ("{push: {tags: [v2], branches: [main]}}", push("refs/heads/main"), true),
    ] {
        assert_eq!(wants(on, happened), wanted, "{on} {happened:?}");
    }
    let changed = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>();
    let paths = "{push: {paths: ['sub/**', '!sub/docs/**']}}";
    let ignored = "{push: {paths-ignore: ['docs/**']}}";
    for (on, files, wanted) in [
        (paths, changed(&["sub/a", "sub/docs/b"]), true),
        (paths, changed(&["sub/docs/b", "c"]), false),
        (ignored, changed(&["docs/a", "b"]), true),
        (ignored, changed(&["docs/a"]), false),
    ] {
        let happened = Happened { changed: Some(&files), ..push("refs/heads/x") };
        assert_eq!(wants(on, happened), wanted, "{on} {files:?}");
    }
    assert!(wants(paths, push("refs/heads/x")), "files that are not known count as if any had changed");
    let pull = |action: &'static str| Happened {
        event: "pull_request",
        action,
        git_ref: "refs/heads/main",
        ..Happened::default()
    };
    assert!(wants("pull_request", pull("opened")) && wants("pull_request", pull("synchronize")));
    assert!(
        !wants("pull_request", pull("labeled")) && wants("{pull_request: {types: labeled}}", pull("labeled"))
    );
    assert!(!wants("{pull_request: {branches: [x]}}", pull("opened")));
    let run = Happened { event: "workflow_run", action: "completed", workflow: "CI", ..Happened::default() };
    assert!(wants("{workflow_run: {workflows: [CI], types: [completed]}}", run));
    assert!(!wants("{workflow_run: {workflows: [Other]}}", run));
}
