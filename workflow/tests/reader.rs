//! Workflow files as GitHub's documentation describes them, read into the model, and what is refused with its place.

use workflow::model::{
    Action, Dynamic, Files, InputKind, Job, Level, Permissions, Queue, Steps, Work, Workflow, check_calls,
};
use workflow::{Diagnostic, Kind, lint, read};

fn model(text: &str) -> Workflow {
    let (workflow, found) = read(text.as_bytes());
    assert!(found.is_empty(), "{text}\n{found:#?}");
    workflow.expect("a file without complaints has a model")
}

fn steps_of(job: &Job) -> &Steps {
    match &job.work {
        Work::Steps(steps) => steps,
        Work::Call(call) => panic!("{call:?}"),
    }
}

/// What GitHub refuses, as `line:column: message`.
fn refused(text: &str) -> Vec<String> {
    let (_, found) = read(text.as_bytes());
    found.iter().filter(|one| one.kind == Kind::Invalid).map(ToString::to_string).collect()
}

const FULL: &str = r#"name: All of it
run-name: Deploy to ${{ inputs.target }} by @${{ github.actor }}
on:
  push:
    branches: [main, 'releases/**']
    tags-ignore: v0*
    paths: ['**.rs', '!docs/**']
  schedule:
    - cron: '30 5 * * 1-5'
      timezone: Europe/Zurich
  workflow_dispatch:
    inputs:
      target: { type: choice, options: [dev, prod], default: dev, required: true }
      dry: { type: boolean, default: false }
permissions: { contents: read, id-token: write }
concurrency: { group: 'deploy-${{ github.ref }}', cancel-in-progress: false, queue: max }
env: { SERVER: production, COUNT: 1.10 }
jobs:
  build:
    runs-on: ${{ matrix.os }}
    strategy:
      fail-fast: false
      max-parallel: 2
      matrix:
        os: [ubuntu-latest, debian]
        include: [{ os: debian, extra: true }]
    container: { image: 'node:${{ matrix.os }}', ports: [80], options: --cpus 1 }
    services:
      db: { image: postgres, env: { POSTGRES_PASSWORD: '${{ secrets.PW }}' } }
    outputs: { version: '${{ steps.v.outputs.version }}' }
    timeout-minutes: 15
    continue-on-error: ${{ matrix.extra == true }}
    steps:
      - uses: actions/checkout@v4
      - id: v
        run: echo "version=${{ github.sha }}" >> "$GITHUB_OUTPUT"
        if: github.ref == 'refs/heads/main'
      - run: |
          make
        if: ${{ failure() }}
        shell: bash
  deploy:
    needs: [build]
    if: ${{ !cancelled() }}
    uses: ./.github/workflows/deploy.yml
    with: { version: '${{ needs.build.outputs.version }}' }
    secrets: inherit
"#;

#[test]
fn a_whole_workflow_is_read_into_the_model() {
    let workflow = model(FULL);
    let events: Vec<_> = workflow.on.iter().map(|one| one.event.value.as_str()).collect();
    assert_eq!(events, ["push", "schedule", "workflow_dispatch"]);
    let [push, schedule, dispatch] = workflow.on.as_slice() else { panic!("{events:?}") };
    assert_eq!(push.branches.only.as_ref().map(Vec::len), Some(2));
    assert_eq!(push.tags.ignored.as_ref().map(|tags| tags[0].value.as_str()), Some("v0*"));
    assert_eq!(schedule.schedules[0].cron.value, "30 5 * * 1-5");
    assert_eq!(dispatch.inputs[0].kind, InputKind::Choice(vec!["dev".to_owned(), "prod".to_owned()]));
    assert!(dispatch.inputs[0].required && !dispatch.inputs[1].required);
    let permissions = workflow.permissions.unwrap();
    let levels = ["contents", "id-token", "packages"].map(|name| permissions.level(name));
    assert_eq!(levels, [Level::Read, Level::Write, Level::None]);
    let concurrency = workflow.concurrency.unwrap();
    assert_eq!(concurrency.queue, Queue::Max);
    let Dynamic::Computed(group) = &concurrency.group.value else { panic!("{concurrency:?}") };
    assert_eq!(group.text(), "format('deploy-{0}', github.ref)");

    let [build, deploy] = workflow.jobs.as_slice() else { panic!("{:?}", workflow.jobs) };
    let work = steps_of(build);
    assert_eq!(work.services[0].name.value, "db");
    assert_eq!(work.timeout_minutes.as_ref().and_then(|found| found.value.known()), Some(&15.0));
    let ids: Vec<_> = work.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["__actions_checkout", "v", "__run"]);
    let conditions: Vec<_> =
        work.steps.iter().map(|step| step.condition.as_ref().unwrap().expression.text()).collect();
    assert_eq!(conditions, ["success()", "success() && (github.ref == 'refs/heads/main')", "failure()"]);
    assert!(
        matches!(&work.steps[2].action, Action::Run { script, .. } if (script.at.line, script.at.column) == (38, 14))
    );
    assert_eq!(deploy.condition.as_ref().unwrap().expression.text(), "!cancelled()");
    assert!(
        matches!(&deploy.work, Work::Call(call) if call.workflow.value == "./.github/workflows/deploy.yml")
    );
}

/// A file whose one job has these lines, which begin in line 4.
fn job(lines: &str) -> String {
    format!("on: push\njobs:\n  a:\n    {}\n", lines.replace('\n', "\n    "))
}

#[test]
fn what_github_refuses_is_refused_with_its_place() {
    let runs = "runs-on: x\nsteps: [{run: x}]\n";
    for (lines, wanted) in [
        // Keys.
        ("runs_on: x\n", "4:5: Unexpected value 'runs_on'. Did you mean \"runs-on\"? Allowed: "),
        ("runs-on: x\nRuns-On: y\n", "5:5: 'Runs-On' is already defined"),
        ("runs-on: [x, [y]]\n", "4:18: A sequence was not expected"),
        (
            "name: x\n",
            "4:5: There's not enough info to determine what you meant. Add one of these properties: ",
        ),
        // Values.
        ("runs-on: x\ntimeout-minutes: '5'\n", "5:22: Unexpected value '5', expected a number"),
        ("runs-on: x\ncontinue-on-error: yes\n", "5:24: Unexpected value 'yes', expected true or false"),
        (
            "runs-on: x\npermissions: {contents: wriet}\n",
            "5:29: Unexpected value 'wriet'. Did you mean \"write\"?",
        ),
        ("runs-on:\n", "4:13: Unexpected value ''"),
        ("runs-on: {group: a/b}\n", "4:22: Invalid runs-on group name 'a/b."),
        ("runs-on: x\nstrategy: {matrix: {a: []}}\n", "5:28: Matrix vector 'a' does not contain any values"),
        // Expressions, each with what its place allows.
        (
            "runs-on: ${{ secrets.x }}\n",
            "4:14: Unrecognized named-value: 'secrets'. Located at position 1 within expression: secrets.x. Allowed here: github, inputs, vars, needs, strategy, matrix",
        ),
        (
            "runs-on: ${{ hashFiles('x') }}\n",
            "4:14: Unrecognized function: 'hashFiles'. Located at position 1 within expression: hashFiles('x'). Allowed here: case, contains, ",
        ),
        (
            "runs-on: ${{ gihub.x }}\n",
            "4:14: Unrecognized named-value: 'gihub'. Located at position 1 within expression: gihub.x. Did you mean \"github\"?",
        ),
        (
            "runs-on: ${{ joinn(1) }}\n",
            "4:14: Unrecognized function: 'joinn'. Located at position 1 within expression: joinn(1). Did you mean \"join\"?",
        ),
        ("runs-on: x-${{ 1 + 1 }}\n", "4:14: Unexpected symbol: '+'"),
        (
            "runs-on: x\nif: steps.a\n",
            "5:9: Unrecognized named-value: 'steps'. Located at position 1 within expression: steps.a. Allowed here: github, inputs, vars, needs",
        ),
        ("runs-on: x\nif: always(1)\n", "5:9: Too many parameters supplied: 'always'"),
        ("runs-on: x\nneeds: ${{ github.ref }}\n", "5:12: Unrecognized named-value: 'github'"),
        (
            "runs-on: x\nneeds: ${{ format('a') }}\n",
            "5:12: A template expression is not allowed in this context",
        ),
        ("runs-on: x\nsteps: [{run: x, if: 'always('}]\n", "5:26: Unexpected end of expression: '('"),
        (
            "runs-on: x\nsteps: [{run: x, env: {A: '${{ github.x }'}}]\n",
            "5:31: The expression is not closed.",
        ),
        (
            "runs-on: x\nsteps: [{uses: docker}]\n",
            "5:20: Expected format {org}/{repo}[/path]@ref. Actual 'docker'",
        ),
    ] {
        let found = refused(&job(lines));
        assert!(
            found.iter().any(|one| one.starts_with(wanted)),
            "{lines}\nfound {found:#?}\nwanted {wanted}"
        );
    }
    for fine in [
        "if: success('b') || failure()\n",
        "env: {A: '${{ ''${{'' }}', B: '${{ github.x }}}}'}\n",
        "env: {'${{ insert }}': '${{ fromJSON(vars.x) }}', A: b}\n",
        "env: ${{ fromJSON(github.x) }}\n",
        "services: ${{ fromJSON(vars.services) }}\n",
        "strategy: {matrix: '${{ fromJSON(needs.a.outputs.m) }}'}\n",
    ] {
        model(&job(&format!("{runs}{fine}")));
    }
}

#[test]
fn events_are_read_as_documented() {
    for (on, wanted) in [
        ("nope", "1:5: Unexpected value 'nope'. Allowed: "),
        ("[push, pul_request]", "1:12: Unexpected value 'pul_request'. Did you mean \"pull_request\"?"),
        ("{push: {types: opened}}", "1:13: Unexpected value 'types'"),
        ("{pull_request: {types: [open]}}", "1:29: Unexpected value 'open'"),
        ("{fork: {types: x}}", "1:12: A mapping was not expected"),
        ("{schedule: [{cron: '* * * *'}]}", "1:24: Invalid cron expression."),
        ("{workflow_call: {inputs: {a: {default: x}}}}", "1:34: Required property is missing: type"),
        ("{workflow_dispatch: {inputs: {a: {type: choice}}}}", "1:38: Missing 'options' for choice input"),
        ("{workflow_dispatch: {inputs: {a: {options: [x]}}}}", "1:38: Input type is not 'choice'"),
        (
            "{workflow_dispatch: {inputs: {a: {type: boolean, default: x}}}}",
            "1:63: Unexpected type 'StringToken'",
        ),
    ] {
        let found = refused(&format!("on: {on}\njobs: {{a: {{runs-on: x}}}}\n"));
        assert!(found.iter().any(|one| one.starts_with(wanted)), "{on}\nfound {found:#?}\nwanted {wanted}");
    }
    for on in [
        "push",
        "[push, fork]",
        "{push: , repository_dispatch: {types: [a]}}",
        "{release: {types: [published]}}",
    ] {
        model(&format!("on: {on}\njobs: {{a: {{runs-on: x}}}}\n"));
    }
}

#[test]
fn anchors_are_values_and_what_they_stand_for_is_mended_at_the_anchor() {
    let text = "on: push\njobs:\n  a: &job\n    runs-on: x\n    steps: [{run: x}]\n  b: *job\n";
    assert_eq!(model(text).jobs.len(), 2);
    let found = refused("on: push\nenv: &env {A: '${{ nope }}'}\njobs: {a: {runs-on: x, env: *env}}\n");
    assert_eq!(
        found.iter().filter(|one| one.starts_with("2:15: Unrecognized named-value: 'nope'")).count(),
        2
    );
}

#[test]
fn what_is_unsupported_is_told_from_what_is_invalid() {
    let kinds = |text: &str| -> Vec<Kind> {
        lint(text.as_bytes(), &workflow::NoFiles)
            .err()
            .unwrap_or_default()
            .iter()
            .map(|one| one.kind)
            .collect()
    };
    assert_eq!(kinds(&job("runs-on: {group: g}\nsteps: [{run: x}]")), [Kind::Unsupported]);
    assert_eq!(kinds(&job("runs-on: x\nservice: {a: {image: b}}\nsteps: [{run: x}]")), [Kind::Invalid]);
    let both = "runs-on: x\nservice: {a: {image: b}}\nsteps: [{run: x, background: true}]";
    assert_eq!(kinds(&job(both)), [Kind::Invalid, Kind::Unsupported]);
    assert_eq!(kinds(&job("runs-on: x")), [Kind::Unsupported], "a job without steps");
    assert_eq!(kinds(&job("uses: a/b/.github/workflows/c.yml@v1")), [Kind::Unsupported]);
    assert!(kinds(&job("runs-on: x\nsteps: [{run: x, background: true}, {wait-all: }]")).len() >= 2);
}

struct One(&'static str);

impl Files for One {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        uses.starts_with("./there").then(|| self.0.as_bytes().to_vec())
    }
}

#[test]
fn a_call_fits_what_is_called() {
    let called = "on: {workflow_call: {inputs: {A: {type: string, required: true}, b: {type: number}}}}\npermissions: read-all\njobs: {x: {runs-on: y}}\n";
    let found = |call: &str, called: &'static str| -> Vec<String> {
        let workflow = model(&job(call));
        let found = check_calls(&workflow, &One(called), &Permissions::limited());
        found.iter().map(Diagnostic::to_string).collect()
    };
    let allowed = "permissions: write-all\n";
    assert_eq!(found(&format!("uses: ./there\nwith: {{a: x, B: 1}}\n{allowed}"), called), [""; 0]);
    for (call, called, wanted) in [
        ("uses: ./gone\n", called, "4:11: Unable to find reusable workflow"),
        ("uses: ./there\n", "on: push\njobs: {x: {runs-on: y}}\n", "4:11: workflow_call key is not defined"),
        (
            "uses: ./there\n",
            "on: push\n",
            "4:11: Error from called workflow ./there:1:1: Required property is missing: jobs",
        ),
        ("uses: ./there\n", called, "4:11: Input A is required, but not provided while calling."),
        (
            "uses: ./there\nwith: {a: 1, c: 2}\n",
            called,
            "5:21: Invalid input, c is not defined in the referenced workflow.",
        ),
        ("uses: ./there\nwith: {a: 1}\nsecrets: {s: t}\n", called, "6:18: Invalid secret, s is not defined"),
        (
            "uses: ./there\nwith: {a: 1}\n",
            called,
            "3:3: Error calling workflow './there'. The workflow './there' is requesting 'actions: read, ",
        ),
    ] {
        let found = found(call, called);
        assert!(found.iter().any(|one| one.starts_with(wanted)), "{call}\nfound {found:#?}\nwanted {wanted}");
    }
}

struct Folder(Vec<(String, String)>);

impl Files for Folder {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        self.0.iter().find(|(path, _)| path == uses).map(|(_, text)| text.clone().into_bytes())
    }
}

#[test]
fn calls_within_calls_are_followed_to_their_limits() {
    let found = |folder: &Folder, first: &str| -> Vec<String> {
        let found = check_calls(&model(first), folder, &Permissions::limited());
        found.iter().map(Diagnostic::to_string).collect()
    };
    let file =
        |name: &str, jobs: &str| (format!("./{name}"), format!("on: workflow_call\njobs: {{{jobs}}}\n"));
    let first = job("uses: ./a\n");
    // Three levels, the last of which asks for more than the first has.
    let chain = Folder(vec![
        file("a", "x: {uses: ./b}"),
        file("b", "x: {runs-on: y, permissions: {actions: write}}"),
    ]);
    let wanted = "4:11: Error from called workflow ./a:2:8: Error calling workflow './b'. The nested job 'x' is requesting 'actions: write', but is only allowed 'actions: none'.";
    assert_eq!(found(&chain, &first), [wanted]);
    let allowed = job("uses: ./a\npermissions: {actions: write}\n");
    assert_eq!(found(&chain, &allowed), [""; 0]);
    let circle = Folder(vec![file("a", "x: {uses: ./a}")]);
    assert!(found(&circle, &first)[0].contains("more than 10 levels deep"));
    // Each level calls the next often: the number of calls is limited, not only the depth.
    let many =
        |next: &str| (0..9).map(|i| format!("x{i}: {{uses: ./{next}}}")).collect::<Vec<_>>().join(", ");
    let wide = Folder(vec![
        file("a", &many("b")),
        file("b", &many("c")),
        file("c", &many("d")),
        file("d", "x: {runs-on: y}"),
    ]);
    assert!(found(&wide, &first)[0].contains("more than 256 calls of other workflows"));
    let files: Vec<_> = (0..60).map(|i| file(&format!("f{i}"), "x: {runs-on: y}")).collect();
    let calls: String = (0..60).map(|i| format!("  j{i}: {{uses: ./f{i}}}\n")).collect();
    let found = found(&Folder(files), &format!("on: push\njobs:\n{calls}"));
    assert_eq!(found, ["53:15: more than 50 files are called"]);
}

/// Files that are large but right in form, or ask for much work: what they cost does not grow beyond what they are.
#[test]
fn large_files_are_refused_for_what_they_are() {
    let job = |run: &str| format!("on: push\njobs: {{a: {{runs-on: x, steps: [{{run: \"{run}\"}}]}}}}\n");
    let needs = (0..4000)
        .map(|i| format!("  j{i}: {{runs-on: x, needs: [j{}]}}\n", (i + 1) % 4000))
        .collect::<String>();
    for (text, wanted) in [
        (job(&"${{ github.sha }}".repeat(50_000)), "Exceeded max expression length 21000"),
        (job(&format!("${{{{ {} }}}}", "(".repeat(20_000))), "Exceeded max expression depth 50"),
        (job(&"${{ x".repeat(100_000)), "The expression is not closed."),
        (
            format!("on: push\njobs:\n{needs}"),
            "The workflow must contain at least one job with no dependencies.",
        ),
        (
            format!("on: push\njobs:\n  a: {{runs-on: x}}\n{needs}"),
            "which creates a cycle in the dependency graph",
        ),
    ] {
        let found = refused(&text);
        assert!(found.iter().any(|one| one.contains(wanted)), "{wanted}: {found:#?}");
        assert!(found.len() <= 100 && found.iter().all(|one| one.len() < 1000), "{wanted}");
    }
}
