//! Workflow files as people write them, good and bad (bad-input rows 16, 17, 19, 20, 22).

mod support;

use domain::{Action, Condition, EventKind, Native, NewJob, NewRun, Resources, Retry};
use support::{Ids, Tree, event, expand, job_spec, lint, run_of};

const GOOD: &str = r#"name: CI
on:
  push:
    branches: [main, 'releases/**', '!releases/old']
  workflow_dispatch:
env: { A: 1, B: from-workflow }
defaults:
  run: { shell: bash }
jobs:
  build:
    runs-on: ubuntu-latest
    container: debian:12
    env: { B: from-job }
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@v4
        with: { fetch-depth: 0 }
      - name: Make
        run: |
          make
          make check
        working-directory: src
        env: { C: x }
      - run: echo done
        if: ${{ always() }}
        shell: sh
        continue-on-error: true
  test:
    needs: build
    runs-on: [linux, big]
    if: failure()
    steps:
      - run: "true"
"#;

#[test]
fn a_workflow_is_read_as_written() {
    let run = run_of(GOOD, &event(EventKind::Push, "refs/heads/main"), &Tree::default());
    assert_eq!((run.name.as_str(), run.error.as_deref()), ("CI", None));
    let [build, test] = run.jobs.as_slice() else { panic!("{:?}", run.jobs) };
    let spec = job_spec(&run, build);
    assert_eq!(build.labels.iter().collect::<Vec<_>>(), ["ubuntu-latest"]);
    assert_eq!((spec.container.image.as_str(), spec.timeout_seconds), ("debian:12", 600));
    let env: Vec<_> = spec.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    // The last of a name wins.
    assert_eq!(env, [("A", "1"), ("B", "from-workflow"), ("B", "from-job")]);
    let with = vec![("fetch-depth".to_owned(), "0".to_owned())];
    assert_eq!(spec.steps[0].action, Action::Native { what: Native::Checkout, with });
    let make = Action::Run {
        script: "make\nmake check\n".to_owned(),
        shell: "bash".to_owned(),
        working_directory: "src".to_owned(),
    };
    assert_eq!((spec.steps[1].name.as_str(), &spec.steps[1].action), ("Make", &make));
    let last = &spec.steps[2];
    assert_eq!(
        (last.condition.as_str(), last.continue_on_error.as_str(), last.name.as_str()),
        ("always()", "true", "Run echo done")
    );
    assert_eq!((test.needs.as_slice(), test.condition), ([0].as_slice(), Condition::Failure));
}

#[test]
fn an_event_makes_runs_of_the_workflows_that_want_it() {
    let files = [
        (".troupe/workflows/ci.yml".to_owned(), GOOD.as_bytes().to_vec()),
        (
            ".troupe/workflows/hand.yml".to_owned(),
            GOOD.replace("push:", "workflow_dispatch:")
                .replace("    branches: [main, 'releases/**', '!releases/old']\n  workflow_dispatch:\n", "")
                .into_bytes(),
        ),
        (".troupe/workflows/bad.yml".to_owned(), b"on: push\njobs: 1\n".to_vec()),
    ];
    let runs = |kind, git_ref: &str, only: &str| -> Vec<(String, usize, Option<String>)> {
        let runs = expand(&files, &event(kind, git_ref), only, &mut Ids::default());
        runs.into_iter().map(|run| (run.name, run.jobs.len(), run.error)).collect()
    };
    let bad = (
        ".troupe/workflows/bad.yml".to_owned(),
        0,
        Some(".troupe/workflows/bad.yml:2:7: Unexpected value '1', expected a map".to_owned()),
    );
    let good = ("CI".to_owned(), 2, None);
    assert_eq!(runs(EventKind::Push, "refs/heads/main", ""), [good.clone(), bad.clone()]);
    assert_eq!(runs(EventKind::Push, "refs/heads/releases/1/2", ""), [good.clone(), bad.clone()]);
    assert_eq!(runs(EventKind::Push, "refs/heads/releases/old", ""), std::slice::from_ref(&bad));
    assert_eq!(runs(EventKind::Push, "refs/tags/v1", ""), [bad]);
    assert_eq!(
        runs(EventKind::WorkflowDispatch, "refs/heads/x", ".troupe/workflows/hand.yml"),
        std::slice::from_ref(&good)
    );
    assert_eq!(runs(EventKind::WorkflowDispatch, "refs/heads/x", "hand.yml"), [good], "the name is enough");
}

#[test]
fn what_was_asked_for_by_hand_and_cannot_be_is_a_run_that_failed() {
    let files =
        [(".troupe/workflows/ci.yml".to_owned(), GOOD.replace("  workflow_dispatch:\n", "").into_bytes())];
    let dispatch = event(EventKind::WorkflowDispatch, "refs/heads/main");
    let failed = |files: &[(String, Vec<u8>)], only: &str| {
        let runs = expand(files, &dispatch, only, &mut Ids::default());
        assert_eq!((runs.len(), runs[0].jobs.len()), (1, 0), "{only}");
        runs[0].error.clone().unwrap()
    };
    for (only, expected) in [
        ("ci.yml", ".troupe/workflows/ci.yml: \"on\" has no workflow_dispatch for it, so it is not run"),
        ("i.yml", "there is no workflow i.yml at this commit; there are: .troupe/workflows/ci.yml"),
    ] {
        assert_eq!(failed(&files, only), expected);
    }
    assert!(failed(&[], "ci.yml").ends_with("there are: none"));
}

/// A file with one job whose one step has these lines.
fn with_step(lines: &str) -> String {
    format!(
        "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - {}\n",
        lines.replace('\n', "\n        ")
    )
}

#[test]
fn what_is_not_supported_is_refused_where_it_stands() {
    let cases = [
        (
            "on: push\njobs:\n  a:\n    runs-on: x\n    stepps: []\n    steps: [{run: x}]\n",
            "5:5: Unexpected value 'stepps'. Did you mean \"steps\"? Allowed: ",
        ),
        (
            "on: issues\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n",
            "1:5: the event \"issues\" is not supported",
        ),
        ("jobs: {a: {runs-on: x, steps: [{run: x}]}}\n", "1:1: Required property is missing: on"),
        ("on: push\njobs: {a: {steps: [{run: x}]}}\n", "2:11: Required property is missing: runs-on"),
        (
            "on: push\njobs:\n  a: {runs-on: x, needs: b, steps: [{run: x}]}\n  b: {runs-on: x, needs: a, steps: [{run: x}]}\n",
            "3:3: The workflow must contain at least one job with no dependencies. Here the needs of job \"a\" lead in a circle",
        ),
        (
            "on: push\njobs:\n  a: {runs-on: x, needs: [zz], steps: [{run: x}]}\n",
            "3:27: job \"a\" needs \"zz\"",
        ),
        ("on: push\non: push\njobs: {}\n", "2:1: 'on' is already defined"),
        ("on: !x push\njobs: {}\n", "the tag \"!x\" is not known"),
        ("on: push\njobs: [\n", "not valid YAML"),
        ("", "the file is empty"),
    ];
    for (text, wanted) in cases {
        let found = lint(text.as_bytes()).err().unwrap_or_default();
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|one| one.contains(wanted)), "{text}\nfound {shown:#?}\nwanted {wanted}");
    }
    for (step, wanted) in [
        ("uses: actions/setup-node@v4", "6:15: the action \"actions/setup-node@v4\" is not supported"),
        ("run: echo ${{ githib.sha }}", "6:14: "),
        ("run: x\nworking-directory: ../..", "7:28: working-directory is"),
        ("run: x\nif: github.ref = 'x'", "7:13: "),
        ("run: x\nid: ../x", "7:13: The identifier '../x' is invalid."),
        ("uses: ../x", "6:15: "),
        (
            "name: only",
            "6:9: There's not enough info to determine what you meant. Add one of these properties: run,",
        ),
    ] {
        let text = with_step(step);
        let found = lint(text.as_bytes()).err().unwrap_or_default();
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|one| one.contains(wanted)), "{text}\nfound {shown:#?}\nwanted {wanted}");
    }
    let long = lint(with_step(&format!("run: x\nid: {}", "x".repeat(4096))).as_bytes());
    assert!(long.is_err());
    let nul = lint(with_step("run: x\nid: \"a\\0b\"").as_bytes());
    assert!(nul.is_err());
}

#[test]
fn an_empty_filter_lets_nothing_in() {
    let text = with_step("run: x").replace("on: push", "on: {push: {branches: []}}");
    let files = [("ci.yml".to_owned(), text.into_bytes())];
    assert_eq!(expand(&files, &event(EventKind::Push, "refs/heads/main"), "", &mut Ids::default()), []);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "on: nope\njobs:\n  a:\n    steps:\n      - run: x\n        working-directory: /etc\n";
    let lines: Vec<_> = lint(text.as_bytes()).err().unwrap_or_default().iter().map(|d| d.line).collect();
    assert_eq!(lines, [1, 4, 6]);
}

#[test]
fn bombs_are_refused_and_cost_little() {
    let nested = |levels: usize| format!("on: {}{}", "[".repeat(levels), "]".repeat(levels));
    let wide = format!("on: [{}]", "a,".repeat(100_000));
    let large = " ".repeat(2 * 1024 * 1024);
    let many = with_step("run: x").replace("      - run: x\n", &"      - run: x\n".repeat(5000));
    let aliases: String = (0..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
        format!("{text}a{}: &a{} [*a{i}, *a{i}]\n", i + 1, i + 1)
    });
    let circle = "on: &a [push, *a]\n".to_owned();
    for (text, wanted) in [
        (nested(60), "nested deeper than 50 levels"),
        (nested(10_000), "recursion limit"),
        (wide, "more than 20000 values"),
        (large, "the limit is 1048576"),
        (many, "5000 steps, the limit is"),
        (aliases, "more than 20000 values"),
        (circle, "the alias stands within what it stands for"),
    ] {
        let found = lint(text.as_bytes()).err().unwrap_or_default();
        assert!(found.iter().any(|one| one.message.contains(wanted)), "{wanted}: {found:?}");
    }
    assert!(lint(b"on: \xff\n").is_err());
}

#[test]
fn what_is_said_about_a_bad_file_stays_short() {
    let job = "runs-on: x, steps: [{run: x}]";
    let key = "k".repeat(90);
    let jobs: String = (0..250).map(|i| format!("  {key}{i}: {{{job}}}\n")).collect();
    let unknown_needs = format!("on: push\njobs:\n{jobs}  a: {{{job}, needs: [{}]}}\n", "z,".repeat(15_000));
    let unknown_keys: String = (0..9_000).map(|i| format!("key{i}: x\n")).collect();
    let long_key = format!("? {}\n: x\n", "k".repeat(900_000));
    let on = |patterns: String| format!("on: {{push: {{branches: [{patterns}]}}}}\njobs: {{a: {{{job}}}}}\n");
    for (text, wanted) in [
        (unknown_needs, "Job 'a' depends on unknown job 'z'. Jobs of this workflow: kkk"),
        (unknown_keys, "Unexpected value 'key99'"),
        (long_key, "Unexpected value 'kkk"),
        (on("a,".repeat(101)), "101 patterns in on.push.branches, the limit is 100"),
        (on("a".repeat(256)), "a pattern of 256 bytes in on.push.branches, the limit is 255"),
    ] {
        let found = lint(text.as_bytes()).err().unwrap_or_default();
        assert!(found.iter().any(|one| one.message.contains(wanted)), "{wanted}: {found:?}");
        assert!(found.len() <= 100, "{} complaints", found.len());
        assert!(found.iter().all(|one| one.message.chars().count() <= 500), "{wanted}");
    }
}

#[test]
fn a_run_that_is_too_large_fails_with_the_reason() {
    let large = with_step(&format!("run: {}", "x".repeat(300_000)));
    let name = format!("name: {}\n{}", "n".repeat(300_000), with_step("run: x"));
    let labels =
        with_step("run: x").replace("runs-on: x", &format!("runs-on: [{}]", "label,".repeat(19_000)));
    let labels = labels.replacen("label", &"l".repeat(300_000), 1);
    for text in [large, name, labels] {
        let files = [("ci.yml".to_owned(), text.into_bytes())];
        let runs = expand(&files, &event(EventKind::Push, "refs/heads/main"), "", &mut Ids::default());
        let [run] = runs.as_slice() else { panic!("{} runs", runs.len()) };
        assert_eq!((run.name.as_str(), run.jobs.len()), ("ci.yml", 0));
        let error = run.error.as_deref().unwrap_or_default();
        assert!(
            error.starts_with("ci.yml: the run takes 3") && error.ends_with("the limit is 262144"),
            "{error}"
        );
    }
}

/// A file whose one job has these lines as its `x-troupe`, which begin in line 5, column 7.
fn with_extension(lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!("on: push\njobs:\n  a:\n    x-troupe:\n      {lines}\n    runs-on: x\n    steps: [{{run: x}}]\n")
}

fn made_of(text: &str) -> NewRun {
    let run = run_of(text, &event(EventKind::Push, "refs/heads/main"), &Tree::default());
    assert_eq!(run.error.as_deref(), None, "{text}");
    run
}

fn job_of(text: &str) -> NewJob {
    made_of(text).jobs.remove(0)
}

#[test]
fn what_a_job_asks_of_troupe_reaches_the_cluster() {
    let artifacts = |text: &str| {
        let run = made_of(text);
        job_spec(&run, &run.jobs[0]).artifacts
    };
    let plain = job_of(&with_step("run: x"));
    assert_eq!(plain.resources, Resources { cpu_millis: 1000, memory_mib: 1024 });
    assert_eq!((plain.priority, plain.retry, plain.spread), (0, Retry::of_losses(3), false));
    assert!(artifacts(&with_step("run: x")).is_empty());

    let full = "artifacts: [dist/**, './target/*.{deb,rpm}', log]\npriority: -7\nresources: {cpus: 0.25, memory: 2Gi}\nretry: {attempts: 2, backoff: 5m, on: [timed_out]}\nspread: true";
    let job = job_of(&with_extension(full));
    assert_eq!(job.resources, Resources { cpu_millis: 250, memory_mib: 2048 });
    let retry = Retry { backoff_seconds: 300, timed_out: true, lost: false, ..Retry::of_losses(2) };
    assert_eq!((job.priority, job.retry, job.spread), (-7, retry, true));
    assert_eq!(artifacts(&with_extension(full)), ["dist/**", "./target/*.{deb,rpm}", "log"]);

    // What is left out has its default, and one pattern needs no list.
    let short = with_extension("artifacts: out/\nresources: {memory: 512}");
    let job = job_of(&short);
    assert_eq!(job.resources, Resources { cpu_millis: 1000, memory_mib: 512 });
    assert_eq!((job.priority, job.retry), (0, Retry::of_losses(3)));
    assert_eq!(artifacts(&short), ["out/"]);

    for (lines, cpu_millis, memory_mib) in
        [("{cpus: 0.1, memory: 16}", 100, 16), ("{cpus: 256, memory: 4096Gi}", 256_000, 4_194_304)]
    {
        let job = job_of(&with_extension(&format!("resources: {lines}")));
        assert_eq!(job.resources, Resources { cpu_millis, memory_mib });
    }
    for priority in [-100, 100] {
        assert_eq!(job_of(&with_extension(&format!("priority: {priority}"))).priority, priority);
    }
    let most = domain::limits::MAX_ATTEMPTS;
    let retry = job_of(&with_extension(&format!("retry: {{attempts: {most}}}"))).retry;
    assert_eq!(retry, Retry { failed: true, timed_out: true, ..Retry::of_losses(most) });
}

#[test]
fn what_troupe_cannot_give_a_job_is_refused_where_it_stands() {
    let too_many = format!("artifacts: [{}]", "a, ".repeat(65));
    let too_long = format!("artifacts: {}", "x".repeat(1025));
    for (lines, wanted) in [
        (
            "attempts: 2",
            "5:7: \"attempts\" is not supported in x-troupe. Allowed: artifacts, priority, resources, retry, spread",
        ),
        ("retry: 2", "5:14: x-troupe.retry is a scalar, expected a map"),
        (
            "retry: {times: 2}",
            "5:15: \"times\" is not supported in x-troupe.retry. Allowed: attempts, backoff, on",
        ),
        (
            "retry: {backoff: 61m}",
            "5:24: x-troupe.retry.backoff is \"61m\", expected seconds, or a number and s, m or h",
        ),
        (
            "retry: {on: [failed, cancelled]}",
            "5:28: x-troupe.retry.on has \"cancelled\". Allowed: failed, timed_out, lost",
        ),
        ("spread: 2", "5:15: x-troupe.spread is \"2\", expected true or false"),
        ("prioritty: 2", "5:7: \"prioritty\" is not supported in x-troupe. Did you mean \"priority\"?"),
        ("[a]", "5:7: x-troupe is a list, expected a map"),
        ("priority: 101", "5:17: x-troupe.priority is \"101\", expected a whole number from -100 to 100"),
        ("priority: -101", "5:17: x-troupe.priority is"),
        ("priority: 300", "5:17: x-troupe.priority is"),
        ("priority: high", "5:17: x-troupe.priority is"),
        ("priority:", "x-troupe.priority is nothing, expected text"),
        (
            "retry: {attempts: 0}",
            "5:25: x-troupe.retry.attempts is \"0\", expected a whole number from 1 to 5",
        ),
        ("retry: {attempts: 6}", "5:25: x-troupe.retry.attempts is"),
        ("retry: {attempts: 2.0}", "5:25: x-troupe.retry.attempts is"),
        ("retry: {attempts: '${{ 2 }}'}", "5:25: x-troupe.retry.attempts uses an expression"),
        ("resources: 2", "5:18: x-troupe.resources is a scalar, expected a map"),
        (
            "resources: {cpu: 2}",
            "5:19: \"cpu\" is not supported in x-troupe.resources. Did you mean \"cpus\"?",
        ),
        (
            "resources:\n  cpus: 0.05",
            "6:15: x-troupe.resources.cpus is \"0.05\", expected a number from 0.1 to 256",
        ),
        ("resources: {cpus: 256.001}", "5:25: x-troupe.resources.cpus is"),
        ("resources: {cpus: all}", "5:25: x-troupe.resources.cpus is"),
        ("resources: {cpus: [1]}", "5:25: x-troupe.resources.cpus is a list, expected text"),
        (
            "resources: {memory: 15}",
            "5:27: x-troupe.resources.memory is \"15\", expected a whole number of MiB",
        ),
        ("resources: {memory: 4097Gi}", "5:27: x-troupe.resources.memory is"),
        ("resources: {memory: 2GB}", "5:27: x-troupe.resources.memory is"),
        ("artifacts: {path: x}", "5:18: x-troupe.artifacts is a map, expected text"),
        (
            "artifacts:\n  - good\n  - /etc/passwd",
            "7:11: x-troupe.artifacts has \"/etc/passwd\": expected a path or glob relative",
        ),
        ("artifacts: a/../../b", "5:18: x-troupe.artifacts has \"a/../../b\": expected parts divided by /"),
        ("artifacts: ..", "5:18: x-troupe.artifacts has"),
        ("artifacts: '%2e%2E/x'", "5:18: x-troupe.artifacts has \"%2e%2E/x\": expected parts divided by /"),
        ("artifacts: a/..%2Fx", "5:18: x-troupe.artifacts has"),
        ("artifacts: ''", "5:18: x-troupe.artifacts has"),
        ("artifacts: .", "5:18: x-troupe.artifacts has"),
        ("artifacts: a//b", "5:18: x-troupe.artifacts has"),
        ("artifacts: '!dist/x'", "5:18: x-troupe.artifacts has \"!dist/x\": patterns that take out again"),
        ("artifacts: 'a[b'", "5:18: x-troupe.artifacts has \"a[b\": not a glob"),
        ("artifacts: \"a\\nb\"", "5:18: x-troupe.artifacts has \"a\\nb\": control characters"),
        ("artifacts: \"a\\0b\"", "5:18: x-troupe.artifacts contains a NUL character"),
        (&too_many, "5:18: 65 patterns in x-troupe.artifacts, the limit is 64"),
        (&too_long, "at most 1024 bytes are allowed"),
    ] {
        let text = with_extension(lines);
        let found = lint(text.as_bytes()).err().unwrap_or_default();
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|one| one.contains(wanted)), "{text}\nfound {shown:#?}\nwanted {wanted}");
    }
    // Only a job has it.
    for text in
        ["x-troupe: {priority: 1}\non: push\njobs: {}\n".to_owned(), with_step("run: x\nx-troupe: {}")]
    {
        let found = lint(text.as_bytes()).err().unwrap_or_default();
        assert!(found.iter().any(|one| one.message.contains("Unexpected value 'x-troupe'")), "{found:?}");
    }
}

#[test]
fn a_timezone_that_is_none_is_refused_where_it_stands() {
    let text = |zone: &str| {
        format!(
            "on:\n  schedule:\n    - cron: 0 9 * * *\n      timezone: {zone}\njobs: {{a: {{runs-on: x, steps: [{{run: x}}]}}}}\n"
        )
    };
    let refused = lint(text("Europe/Berln").as_bytes()).expect_err("no such zone");
    let said: Vec<_> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "4:17: the timezone \"Europe/Berln\" is not known, expected a name of the IANA database, as Europe/Berlin. Did you mean \"Europe/Berlin\"?"
        ]
    );
    let files = [("n.yml".to_owned(), text("Europe/Berlin").into_bytes())];
    let found = workflow::triggers(&files, "refs/heads/main");
    let schedules: Vec<_> =
        found.schedules.iter().map(|one| (one.cron.as_str(), one.zone.as_str())).collect();
    assert_eq!(schedules, [("0 9 * * *", "Europe/Berlin")]);
}
