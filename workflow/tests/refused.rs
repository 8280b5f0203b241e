//! What a job may not ask for today, refused where it stands, through [`expand`], as the person who pushed sees it.

use domain::{Event, EventKind, JobSpec, RunId};
use workflow::{Mint, expand};

struct Plain;

impl Mint for Plain {
    fn run_id(&mut self) -> RunId {
        RunId(1)
    }

    fn encode(&self, spec: &JobSpec) -> Result<Vec<u8>, String> {
        serde_json::to_vec(spec).map_err(|e| e.to_string())
    }
}

/// A workflow whose one job, and its one step, have these lines beside the usual.
fn workflow(job: &str, step: &str) -> String {
    let (job, step) = (job.replace('\n', "\n    "), step.replace('\n', "\n        "));
    format!(
        "on: push\njobs:\n  a:\n    runs-on: linux\n    {job}\n    steps:\n      - run: 'true'\n        {step}\n"
    )
}

fn error_of(text: &str) -> String {
    let none = String::new;
    let event = Event {
        kind: EventKind::Push,
        git_ref: "refs/heads/main".to_owned(),
        commit: none(),
        before: none(),
        sender: none(),
        title: none(),
        ..Event::of(EventKind::Push)
    };
    let runs = expand(&[("ci.yml".to_owned(), text.as_bytes().to_vec())], &event, "", &mut Plain);
    assert_eq!((runs.len(), runs[0].jobs.len()), (1, 0), "{text}");
    runs[0].error.clone().expect("a run without jobs says why")
}

#[test]
fn what_a_job_may_not_ask_for_is_refused_where_it_stands() {
    let long = format!("id: {}", "x".repeat(4096));
    for (text, wanted) in [
        (
            workflow("strategy: {matrix: {os: [a, b]}}", ""),
            "5:5: \"strategy\" is not supported in a job. Allowed: ",
        ),
        (workflow("services: {db: {image: x}}", ""), "5:5: \"services\" is not supported"),
        (workflow("permissions: write-all", ""), "5:5: \"permissions\" is not supported"),
        (workflow("concurrency: x", ""), "5:5: \"concurrency\" is not supported"),
        (workflow("outputs: {a: b}", ""), "5:5: \"outputs\" is not supported"),
        (workflow("env: {A: '${{ secrets.X }}'}", ""), "5:14: env uses an expression"),
        (workflow("env: '${{ github.x }}'", ""), "5:10: env uses an expression"),
        (workflow("name: x ${{ github.x }}", ""), "5:11: name uses an expression"),
        (workflow("if: github.ref == 'x'", ""), "5:9: if is \"github.ref == 'x'\""),
        (
            workflow("timeout-minutes: 1.5", ""),
            "5:22: timeout-minutes is \"1.5\", expected a whole number from 1 to",
        ),
        (workflow("timeout-minutes: 1e99", ""), "5:22: timeout-minutes is \"1E+99\""),
        (workflow("needs: zz", ""), "5:12: job \"a\" needs \"zz\""),
        (workflow("needs: a", ""), "the needs of job \"a\" lead in a circle"),
        (
            workflow("container: {image: x, options: --privileged}", ""),
            "5:27: \"options\" is not supported in container",
        ),
        (
            workflow("container: {image: x, volumes: ['/var/run/docker.sock:/s']}", ""),
            "5:27: \"volumes\" is not",
        ),
        (workflow("container: {image: x, ports: [80]}", ""), "5:27: \"ports\" is not supported"),
        (workflow("container: '${{ github.x }}'", ""), "5:16: container.image uses an expression"),
        (workflow("x-troupe: {privileged: true}", ""), "5:16: \"privileged\" is not supported"),
        (workflow("x-troupe: {priority: 1, priority: 2}", ""), "5:29: the key \"priority\" is here twice"),
        (workflow("", "id: ../x"), "a step's id is \"../x\""),
        (workflow("", "id: '%2e%2e'"), "a step's id is \"%2e%2e\""),
        (workflow("", "id: \"a\\0b\""), "a step's id is"),
        (workflow("", &long), "a step's id is"),
        (workflow("", "background: true"), "8:9: \"background\" is not supported in a step"),
        (
            workflow("", "continue-on-error: ${{ github.x == 1 }}"),
            "8:28: continue-on-error uses an expression",
        ),
        (
            workflow("", "").replace("run: 'true'", "wait-all:"),
            "7:9: \"wait-all\" is not supported in a step",
        ),
        (workflow("", "").replace("run: 'true'", "uses: ./x"), "7:15: the action \"./x\" is not supported"),
        (
            workflow("", "").replace("run: 'true'", "{uses: actions/checkout@v4, with: {ref: -x}}"),
            "must not begin with -",
        ),
        (
            workflow("", "").replace("run: 'true'", "{uses: actions/checkout@v4, with: {depth: 1}}"),
            "\"depth\" is not supported in with. Allowed: path, ref, fetch-depth",
        ),
        (
            workflow("", "").replace("linux", "{group: g, labels: x}"),
            "4:22: groups of runners are not supported",
        ),
    ] {
        let error = error_of(&text);
        assert!(error.contains(wanted), "{text}\nfound {error}\nwanted {wanted}");
        assert!(error.len() < 2000, "{} bytes", error.len());
    }
}
