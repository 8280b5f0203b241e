//! What a job may not ask for today, refused where it stands, through [`expand`], as the person who pushed sees it.

mod support;

use domain::EventKind;
use support::{Tree, event, run_of};

/// A workflow whose one job, and its one step, have these lines beside the usual.
fn workflow(job: &str, step: &str) -> String {
    let (job, step) = (job.replace('\n', "\n    "), step.replace('\n', "\n        "));
    format!(
        "on: push\njobs:\n  a:\n    runs-on: linux\n    {job}\n    steps:\n      - run: 'true'\n        {step}\n"
    )
}

fn error_of(text: &str) -> String {
    let run = run_of(text, &event(EventKind::Push, "refs/heads/main"), &Tree::default());
    assert_eq!(run.jobs.len(), 0, "{text}");
    run.error.expect("a run without jobs says why")
}

#[test]
fn what_a_job_may_not_ask_for_is_refused_where_it_stands() {
    let long = format!("id: {}", "x".repeat(4096));
    for (text, wanted) in [
        (workflow(&format!("environment: {}", "x".repeat(256)), ""), "5:18: the environment's name is"),
        (workflow("timeout-minutes: 1e99", ""), "5:22: timeout-minutes is \"1E+99\""),
        (workflow("timeout-minutes: 0", ""), "5:22: timeout-minutes is \"0\""),
        (workflow("strategy: {matrix: {a: '${{ fromJSON(''1'') }}'}}", ""), "a must be a list"),
        (workflow("if: fromJSON('{') == 1", ""), "5:9: "),
        (workflow("services: {'a b': {image: x}}", ""), "the name of the service \"a b\""),
        (workflow("needs: zz", ""), "5:12: job \"a\" needs \"zz\""),
        (workflow("needs: a", ""), "the needs of job \"a\" lead in a circle"),
        (workflow("x-troupe: {privileged: true}", ""), "5:16: \"privileged\" is not supported"),
        (workflow("x-troupe: {priority: 1, priority: 2}", ""), "5:29: the key \"priority\" is here twice"),
        (workflow("", "id: ../x"), "a step's id is \"../x\""),
        (workflow("", "id: '%2e%2e'"), "a step's id is \"%2e%2e\""),
        (workflow("", "id: \"a\\0b\""), "a step's id is"),
        (workflow("", &long), "a step's id is"),
        (workflow("", "background: true"), "7:9: steps in the background are not supported"),
        (
            workflow("", "").replace("run: 'true'", "wait-all:"),
            "7:9: steps that wait, cancel or are parallel",
        ),
        (workflow("", "").replace("run: 'true'", "uses: ./x"), "7:15: there is no action.yml in \"x\""),
        (
            workflow("", "").replace("run: 'true'", "uses: ./../x"),
            "7:15: the action \"./../x\" is not supported",
        ),
        (workflow("", "").replace("run: 'true'", "uses: docker://-x"), "7:15: \"-x\" is no image"),
        (workflow("services: '${{ fromJSON(vars.S) }}'", ""), "5:15: services is computed as a whole"),
        (workflow("defaults: {run: '${{ fromJSON(vars.S) }}'}", ""), "5:21: run is computed as a whole"),
        (
            workflow("container: {image: x, credentials: '${{ fromJSON(vars.S) }}'}", ""),
            "5:40: credentials is computed as a whole",
        ),
        (
            workflow("services: {db: {image: x, ports: '${{ fromJSON(vars.S) }}'}}", ""),
            "5:38: ports is computed as a whole",
        ),
        (workflow("services: {'${{ vars.S }}': {image: x}}", ""), "5:16: a key in services is computed"),
        (workflow("env: {'${{ vars.S }}': x}", ""), "5:11: a key in env is computed"),
        (
            workflow("container: {'${{ insert }}': '${{ fromJSON(vars.S) }}'}", ""),
            "a key in container is computed",
        ),
        (workflow("environment: '${{ fromJSON(''{}'') }}'", ""), "5:18: it is computed to be a map"),
        (workflow("concurrency: '${{ fromJSON(''[]'') }}'", ""), "5:18: it is computed to be a list"),
        (
            workflow("concurrency: {group: a, queue: max, cancel-in-progress: true}", ""),
            "5:36: queue: max and cancel-in-progress: true are not allowed together",
        ),
        (
            workflow("concurrency: {group: a, queue: max, cancel-in-progress: '${{ true }}'}", ""),
            "5:26: queue: max and cancel-in-progress: true are not allowed together",
        ),
        (workflow("cancel-timeout-minutes: 5", ""), "5:5: cancel-timeout-minutes is not supported: "),
        (workflow("snapshot: x", ""), "5:5: snapshot is not supported: "),
        (workflow("strategy: '${{ fromJSON(''[]'') }}'", ""), "5:15: strategy is computed to be no map"),
        (
            workflow("strategy: '${{ fromJSON(''{\"matriks\":1}'') }}'", ""),
            "5:15: strategy is computed to have \"matriks\"",
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

#[test]
fn what_the_steps_of_an_action_may_not_name_is_refused_in_its_file() {
    let text = "on: push\njobs: {a: {runs-on: x, steps: [{uses: ./a}]}}\n";
    let error = |step: &str| {
        let action = format!("runs:\n  using: composite\n  steps:\n    - {step}\n");
        let tree = Tree::of(&[("a/action.yml", &action)]);
        run_of(text, &event(EventKind::Push, "refs/heads/main"), &tree).error.unwrap_or_default()
    };
    for (step, wanted) in [
        (
            "{run: 'echo ${{ secrets.T }}', shell: sh}",
            "in a/action.yml:4:13: Unrecognized named-value: 'secrets'",
        ),
        ("{run: x, shell: sh, env: {A: '${{ vars.A }}'}}", "Unrecognized named-value: 'vars'"),
        ("{run: x, shell: sh, if: needs.a.result == 'success'}", "Unrecognized named-value: 'needs'"),
        ("{run: x, shell: sh, timeout-minutes: 5}", "Unexpected value 'timeout-minutes'"),
        ("{wait-all: true}", "There's not enough info to determine what you meant"),
    ] {
        assert!(error(step).contains(wanted), "{step}: {}", error(step));
    }
    let all = "{run: '${{ github.ref }}${{ inputs.a }}${{ matrix.a }}${{ job.status }}${{ runner.os }}${{ env.A }}', shell: '${{ inputs.s }}', if: \"hashFiles('x') != ''\"}";
    assert_eq!(error(all), "");
}
