//! Jobs of workflows as jobs of runs: matrices, conditions, called workflows, actions, inputs, and what is decided later.

mod support;

use domain::{Action, Condition, Event, EventKind, Form, GroupSpec, NewJob, NewRun, Undecided, Verdict};
use support::{Ids, Tree, event, job_spec, run_of};
use workflow::contexts::{Facts, read};
use workflow::expression::Value;
use workflow::graph::{Before, Outcome};
use workflow::{Asked, Occasion, decide};

fn pushed(text: &str, tree: &Tree) -> NewRun {
    let push = Event {
        sender: "ada".to_owned(),
        commit: "c".repeat(40),
        ..event(EventKind::Push, "refs/heads/main")
    };
    let run = run_of(text, &push, tree);
    assert_eq!(run.error, None, "{text}");
    run
}

fn keys(jobs: &[NewJob]) -> Vec<&str> {
    jobs.iter().map(|job| job.key.as_str()).collect()
}

fn job<'a>(run: &'a NewRun, key: &str) -> &'a NewJob {
    run.jobs.iter().find(|job| job.key == key).unwrap_or_else(|| panic!("{key} of {:?}", keys(&run.jobs)))
}

#[test]
fn a_matrix_is_a_group_with_a_member_for_each_combination() {
    let run = pushed(
        "on: push\njobs:\n  t:\n    runs-on: '${{ matrix.os }}'\n    continue-on-error: ${{ matrix.os == 'b' }}\n    timeout-minutes: ${{ fromJSON('5') }}\n    strategy:\n      max-parallel: 1\n      fail-fast: false\n      matrix: {os: [a, b]}\n    steps: [{run: 'echo ${{ matrix.os }}'}]\n  after: {needs: t, runs-on: x, steps: [{run: x}]}\n",
        &Tree::default(),
    );
    assert_eq!(keys(&run.jobs), ["t", "after", "t (a)", "t (b)"]);
    assert_eq!(job(&run, "t").form, Form::Group { fail_fast: false, max_parallel: 1 });
    assert_eq!(job(&run, "after").needs, [0]);
    let (a, b) = (job(&run, "t (a)"), job(&run, "t (b)"));
    assert_eq!((a.group, b.group), (Some(0), Some(0)));
    assert_eq!((a.may_fail, b.may_fail), (false, true));
    assert_eq!(b.labels.iter().collect::<Vec<_>>(), ["b"]);
    assert_eq!(a.spec, b.spec, "what they do is kept once");
    let spec = job_spec(&run, a);
    assert_eq!((spec.timeout_seconds, spec.expressions), (300, true));
    assert!(matches!(&spec.steps[0].action, Action::Run { script, .. } if script.contains("matrix.os")));
    let Some(Value::Object(matrix)) = read(&b.contexts).get("matrix").cloned() else {
        panic!("{}", b.contexts)
    };
    assert!(matrix.get("os").is_some_and(|os| &*os.as_text() == "b"));
}

#[test]
fn a_condition_is_decided_as_soon_as_it_can_be() {
    let run = pushed(
        "on: push\njobs:\n  a: {runs-on: x, if: github.ref == 'refs/heads/other', steps: [{run: x}]}\n  b: {runs-on: x, if: \"github.actor == 'ada'\", steps: [{run: x}]}\n  c: {runs-on: x, needs: [a, b], if: always(), steps: [{run: x}]}\n  d: {runs-on: x, needs: b, if: \"needs.b.outputs.go == 'yes'\", steps: [{run: x}]}\n  e: {runs-on: x, needs: b, if: '!cancelled()', steps: [{run: x}]}\n",
        &Tree::default(),
    );
    let all: Vec<_> = run.jobs.iter().map(|job| (job.form, job.condition)).collect();
    let (plain, open) = (Form::Job, Form::Undecided);
    assert_eq!(
        all,
        [
            (plain, Condition::Never),
            (plain, Condition::Always),
            (plain, Condition::Always),
            (open, Condition::Success),
            (open, Condition::Success)
        ]
    );
}

#[test]
fn what_a_condition_says_of_a_cancelled_run_is_told_with_the_job() {
    let text = "on: push\njobs:\n  a: {runs-on: x, steps: [{run: x}]}\n  b: {runs-on: x, needs: a, if: always(), steps: [{run: x}]}\n  c: {runs-on: x, needs: a, if: failure(), steps: [{run: x}]}\n  d: {runs-on: x, if: \"always() && github.actor == 'ada'\", steps: [{run: x}]}\n  e: {runs-on: x, if: \"github.actor == 'ada'\", steps: [{run: x}]}\n  f: {runs-on: x, needs: a, if: cancelled(), steps: [{run: x}]}\n  g: {runs-on: x, needs: a, if: \"needs.a.result != 'skipped'\", steps: [{run: x}]}\n  h: {runs-on: x, needs: a, if: \"always() && needs.a.result != 'skipped'\", strategy: {matrix: {v: [1, 2]}}, steps: [{run: x}]}\n";
    let run = pushed(text, &Tree::default());
    let lasting: Vec<_> = run.jobs.iter().filter(|job| job.lasting).map(|job| job.key.as_str()).collect();
    assert_eq!(lasting, ["b", "d"]);
    let made = |key: &str, cancelled: bool| match decided_after(&run, key, &[], (Outcome::Success, cancelled))
    {
        Verdict::Become { jobs, .. } => Some(jobs.iter().map(|job| job.lasting).collect::<Vec<_>>()),
        Verdict::Skip => None,
        Verdict::Fail { reason } => panic!("{reason}"),
    };
    assert_eq!((made("f", false), made("f", true)), (None, Some(vec![true])));
    assert_eq!((made("g", false), made("g", true)), (Some(vec![false]), None));
    assert_eq!(made("h", false), Some(vec![true, false, false]), "the members go with their group");
}

fn decided(run: &NewRun, key: &str, outputs: &[(&str, &str)], result: Outcome) -> Verdict {
    decided_after(run, key, outputs, (result, false))
}

fn decided_after(
    run: &NewRun,
    key: &str,
    outputs: &[(&str, &str)],
    (result, cancelled): (Outcome, bool),
) -> Verdict {
    let of = job(run, key);
    let undecided: Undecided =
        serde_json::from_slice(&run.specs[usize::from(of.spec)].0).expect("encoded here");
    let need = Value::object([
        ("result", Value::text(result.as_str())),
        ("outputs", Value::object(outputs.iter().map(|(name, value)| (*name, Value::text(value))))),
    ]);
    let before = Before { jobs: vec![("a", result)], cancelled };
    let asked = Asked {
        undecided: &undecided,
        key,
        contexts: &of.contexts,
        event: &event(EventKind::Push, "refs/heads/main"),
        facts: &Facts::default(),
        before: &before,
        needs: &Value::object([("a", need)]),
    };
    decide(&asked, &Ids::default())
}

#[test]
fn a_job_may_be_made_of_what_those_before_it_told() {
    let text = "on: push\njobs:\n  a: {runs-on: x, outputs: {list: '${{ steps.s.outputs.l }}'}, steps: [{run: x}]}\n  b:\n    needs: a\n    if: ${{ needs.a.outputs.go != 'no' }}\n    runs-on: x\n    strategy: {matrix: {v: '${{ fromJSON(needs.a.outputs.list) }}'}}\n    steps: [{run: x}]\n";
    let run = pushed(text, &Tree::default());
    let list = ("list", "[\"one\", \"two\"]");
    let Verdict::Become { jobs, .. } = decided(&run, "b", &[list], Outcome::Success) else {
        panic!("not made")
    };
    assert_eq!(keys(&jobs), ["b", "b (one)", "b (two)"]);
    assert_eq!(jobs[1].group, Some(0));
    assert_eq!(decided(&run, "b", &[list, ("go", "no")], Outcome::Success), Verdict::Skip);
    assert_eq!(decided(&run, "b", &[list], Outcome::Failure), Verdict::Skip, "success() is part of it");
    let Verdict::Fail { reason } = decided(&run, "b", &[("list", "{")], Outcome::Success) else {
        panic!("made")
    };
    assert!(reason.starts_with("ci.yml:8:"), "{reason}");
}

#[test]
fn a_called_workflow_is_a_group_of_its_jobs() {
    let called = "on:\n  workflow_call:\n    inputs: {who: {type: string, required: true}, n: {type: number, default: 3}}\n    secrets: {KEY: {required: true}}\n    outputs: {said: {value: '${{ jobs.say.outputs.it }}'}}\nenv: {A: '${{ inputs.who }}'}\njobs:\n  say: {runs-on: x, outputs: {it: y}, steps: [{run: 'echo ${{ inputs.who }}'}]}\n  more: {needs: say, if: inputs.n == 3, runs-on: x, steps: [{run: x}]}\n";
    let tree = Tree::of(&[(".github/workflows/called.yml", called)]);
    let caller = |with: &str| {
        format!(
            "on: push\njobs:\n  c:\n    uses: ./.github/workflows/called.yml\n    with: {with}\n    secrets: {{KEY: '${{{{ secrets.MINE }}}}'}}\n  end: {{needs: c, runs-on: x, steps: [{{run: x}}]}}\n"
        )
    };
    let run = pushed(&caller("{who: '${{ github.actor }}'}"), &tree);
    assert_eq!(keys(&run.jobs), ["c", "end", "c/say", "c/more"]);
    let group: GroupSpec =
        serde_json::from_slice(&run.specs[usize::from(job(&run, "c").spec)].0).expect("encoded here");
    assert!(group.is_call && group.outputs == [("said".to_owned(), "${{ jobs.say.outputs.it }}".to_owned())]);
    let say = job(&run, "c/say");
    assert_eq!((say.group, job(&run, "c/more").needs.as_slice()), (Some(0), [2].as_slice()));
    let contexts = read(&say.contexts);
    let of = |name: &str, key: &str| match contexts.get(name) {
        Some(Value::Object(object)) => object.get(key).map(|value| value.as_text().to_string()),
        _ => None,
    };
    assert_eq!(of("inputs", "who").as_deref(), Some("ada"));
    assert_eq!(of("inputs", "n").as_deref(), Some("3"));
    assert_eq!(of("secrets", "KEY").as_deref(), Some("${{ secrets.MINE }}"));
    assert_eq!(job_spec(&run, say).env, [("A".to_owned(), "${{ inputs.who }}".to_owned())]);
    for (with, wanted) in
        [("{}", "who"), ("{who: a, nn: 1}", "nn"), ("{who: a, n: '${{ github.ref }}'}", "inputs.n")]
    {
        let run = run_of(&caller(with), &event(EventKind::Push, "refs/heads/main"), &tree);
        assert!(run.error.as_deref().is_some_and(|error| error.contains(wanted)), "{with}: {:?}", run.error);
    }
    let missing = run_of(&caller("{who: a}"), &event(EventKind::Push, "refs/heads/main"), &Tree::default());
    assert!(missing.error.is_some_and(|error| error.contains("4:11: ")));
}

#[test]
fn a_call_that_is_decided_later_has_its_file_with_it() {
    let called =
        "on: {workflow_call: {inputs: {v: {type: string}}}}\njobs: {x: {runs-on: x, steps: [{run: y}]}}\n";
    let text = "on: push\njobs:\n  a: {runs-on: x, steps: [{run: x}]}\n  b: {needs: a, uses: ./w/called.yml, with: {v: '${{ needs.a.result }}'}}\n";
    let run = pushed(text, &Tree::of(&[("w/called.yml", called)]));
    let Verdict::Become { jobs, .. } = decided(&run, "b", &[], Outcome::Success) else { panic!("not made") };
    assert_eq!(keys(&jobs), ["b", "b/x"]);
    assert!(jobs[1].contexts.contains("success"), "{}", jobs[1].contexts);
}

#[test]
fn workflows_that_call_each_other_in_a_circle_are_refused() {
    let text = "on: [push, workflow_call]\njobs: {c: {uses: ./.github/workflows/ci.yml}}\n";
    let tree = Tree::of(&[(".github/workflows/ci.yml", text)]);
    let run = run_of(text, &event(EventKind::Push, "refs/heads/main"), &tree);
    assert!(run.error.as_deref().is_some_and(|error| error.contains("called workflow")), "{:?}", run.error);
}

#[test]
fn an_action_of_the_repository_is_its_steps() {
    let action = "name: Greet\ninputs: {who: {default: '${{ github.actor }}'}, how: {required: true}, loud: {required: true}}\noutputs: {said: {value: '${{ steps.s.outputs.it }}'}}\nruns:\n  using: composite\n  steps:\n    - id: s\n      shell: bash\n      run: echo ${{ inputs.how }}\n    - uses: ./inner\n";
    let inner = "runs: {using: composite, steps: [{run: x, shell: sh}]}\n";
    let tree = Tree::of(&[("actions/greet/action.yml", action), ("inner/action.yaml", inner)]);
    let text = "on: push\njobs: {a: {runs-on: x, steps: [{uses: ./actions/greet, with: {how: loud}}]}}\n";
    let run = pushed(text, &tree);
    let spec = job_spec(&run, &run.jobs[0]);
    let Action::Composite { path, inputs, steps, outputs } = &spec.steps[0].action else {
        panic!("{spec:?}")
    };
    assert_eq!((path.as_str(), steps.len(), outputs.len()), ("actions/greet", 2, 1));
    let inputs: Vec<_> = inputs.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(inputs, [("who", "${{ github.actor }}"), ("how", ""), ("loud", ""), ("how", "loud")]);
    assert!(matches!(&steps[1].action, Action::Composite { path, .. } if path == "inner"));
    let loops = "runs: {using: composite, steps: [{uses: ./inner}]}\n";
    let node = "runs: {using: node20, main: index.js}\n";
    for (action, wanted) in [
        (loops, "the action uses itself: ./inner, ./inner"),
        (node, "actions that run \"node20\" are not supported"),
        ("runs: {using: composite, steps: [{run: x}]}\n", "shell"),
        ("runs: {using: composite, stepps: []}\n", "action.yml:1:"),
    ] {
        let tree = Tree::of(&[("inner/action.yml", action)]);
        let text = "on: push\njobs: {a: {runs-on: x, steps: [{uses: ./inner}]}}\n";
        let run = run_of(text, &event(EventKind::Push, "refs/heads/main"), &tree);
        assert!(
            run.error.as_deref().is_some_and(|error| error.contains(wanted)),
            "{action}: {:?}",
            run.error
        );
    }
}

#[test]
fn inputs_are_of_their_types() {
    let text = "on:\n  workflow_dispatch:\n    inputs:\n      env: {type: choice, options: [dev, prod], default: dev}\n      dry: {type: boolean, default: true}\n      n: {type: number}\n      who: {required: true}\nrun-name: to ${{ inputs.env }} by ${{ inputs.who }}\nconcurrency: {group: 'deploy-${{ inputs.env }}', cancel-in-progress: true}\njobs:\n  a: {runs-on: x, if: '!inputs.dry', steps: [{run: x}]}\n";
    let asked = |inputs: &str| {
        let payload = format!("{{\"inputs\":{inputs}}}");
        let dispatch = Event { payload, ..event(EventKind::WorkflowDispatch, "refs/heads/main") };
        run_of(text, &dispatch, &Tree::default())
    };
    let run = asked(r#"{"who":"ada","dry":"false","env":"prod"}"#);
    assert_eq!((run.error.as_deref(), run.title.as_str()), (None, "to prod by ada"));
    let group =
        run.concurrency.as_ref().map(|one| (one.group.as_str(), one.cancel_in_progress, one.queue_all));
    assert_eq!(group, Some(("deploy-prod", true, false)));
    assert_eq!(run.jobs[0].condition, Condition::Always);
    assert_eq!(asked(r#"{"who":"ada"}"#).jobs[0].condition, Condition::Never);
    for (inputs, wanted) in [
        ("{}", "inputs.who: it is required and not given"),
        (r#"{"who":"a","dry":"maybe"}"#, "inputs.dry: it is \"maybe\", expected true or false"),
        (r#"{"who":"a","n":"x"}"#, "inputs.n: it is \"x\", expected a number"),
        (r#"{"who":"a","env":"test"}"#, "inputs.env: it is \"test\", expected one of dev, prod"),
        (r#"{"whom":"a"}"#, "inputs.whom: the workflow takes no such input. Did you mean \"who\"?"),
    ] {
        let run = asked(inputs);
        assert!(
            run.error.as_deref().is_some_and(|error| error.contains(wanted)),
            "{inputs}: {:?}",
            run.error
        );
    }
}

#[test]
fn a_run_of_many_variants_is_small_enough_or_says_that_it_is_not() {
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let text = |a: usize, b: usize| {
        format!(
            "on: push\njobs:\n  t:\n    runs-on: x\n    strategy: {{matrix: {{a: [{}], b: [{}]}}}}\n    steps: [{{run: '{}'}}]\n",
            list(a),
            list(b),
            "x".repeat(20_000)
        )
    };
    let run = pushed(&text(15, 16), &Tree::default());
    assert_eq!((run.jobs.len(), run.specs.len()), (241, 2), "the script is kept once");
    let over = run_of(&text(16, 16), &event(EventKind::Push, "refs/heads/main"), &Tree::default());
    assert!(over.error.is_some_and(|error| error.contains("more than 256 jobs")));
}

#[test]
fn environments_and_variables_are_known_where_jobs_are_made() {
    let text = "on: push\nrun-name: of ${{ vars.TEAM }}\njobs:\n  a:\n    runs-on: ${{ vars.LABEL }}\n    if: vars.TEAM == 'blue'\n    strategy: {matrix: {to: [test, live]}}\n    environment: {name: '${{ matrix.to }}', url: 'https://${{ steps.s.outputs.host }}/'}\n    steps: [{run: x, id: s}]\n  b: {runs-on: x, environment: '', steps: [{run: x}]}\n  c: {runs-on: x, needs: a, environment: '${{ needs.a.outputs.to }}', steps: [{run: x}]}\n";
    let variables =
        [("TEAM", "blue"), ("LABEL", "big")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let facts = Facts { variables: variables.into(), ..Facts::default() };
    let event = event(EventKind::Push, "refs/heads/main");
    let (tree, changed) = (Tree::default(), || None);
    let occasion =
        workflow::Occasion { event: &event, only_path: "", facts: &facts, files: &tree, changed: &changed };
    let files = [("ci.yml".to_owned(), text.as_bytes().to_vec())];
    let runs = workflow::expand(&files, &occasion, &mut Ids::default());
    let run = &runs[0];
    assert_eq!((run.error.as_deref(), run.title.as_str()), (None, "of blue"));
    let live = job(run, "a (live)");
    assert_eq!(live.environment.as_deref(), Some("live"));
    assert_eq!(live.labels.iter().collect::<Vec<_>>(), ["big"]);
    assert!(job_spec(run, live).environment_url.contains("steps.s.outputs.host"));
    assert_eq!(job(run, "b").environment, None);
    assert_eq!(job(run, "c").form, Form::Undecided, "its environment is known when a has ended");
}

#[test]
fn a_dispatch_has_all_inputs_as_texts_in_its_event() {
    let text = "on:\n  workflow_dispatch:\n    inputs:\n      env: {type: choice, options: [dev, prod], default: dev}\n      dry: {type: boolean, default: true}\n      n: {type: number, default: 2}\nrun-name: ${{ github.event.inputs.env }} ${{ github.event.inputs.dry == 'true' }} ${{ inputs.dry == true }} ${{ github.event.ref }}\njobs:\n  a: {runs-on: x, steps: [{run: x}]}\n";
    let asked = |inputs: &str| {
        let payload = format!("{{\"inputs\":{inputs},\"ref\":\"r\"}}");
        let dispatch = Event { payload, ..event(EventKind::WorkflowDispatch, "refs/heads/main") };
        workflow::with_inputs(dispatch, text.as_bytes())
    };
    let filled = asked("{}");
    let payload: serde_json::Value = serde_json::from_str(&filled.payload).expect("JSON");
    let all = serde_json::json!({ "inputs": { "env": "dev", "dry": "true", "n": "2" }, "ref": "r" });
    assert_eq!(payload, all);
    assert_eq!(run_of(text, &filled, &Tree::default()).title, "dev true true r");
    let given = asked(r#"{"dry":false,"env":"prod"}"#);
    assert_eq!(run_of(text, &given, &Tree::default()).title, "prod false false r");
    let wrong = asked(r#"{"whom":"a"}"#);
    assert!(wrong.payload.contains("whom"), "as it was");
}

#[test]
fn runs_know_their_numbers_and_ids_when_they_are_made() {
    let text = "on: push\nrun-name: r${{ github.run_number }}-${{ github.run_id }}-${{ github.run_attempt }}\nconcurrency: ci-${{ github.run_number }}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n";
    let other = text.replace("push", "pull_request");
    let files: Vec<_> = [("a.yml", text), ("b.yml", &other), ("c.yml", "on: push\n"), ("d.yml", text)]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into();
    let (facts, changed) = (Facts { run_number: 7, ..Facts::default() }, || None);
    let (tree, push) = (Tree::default(), event(EventKind::Push, "refs/heads/main"));
    let occasion = Occasion { event: &push, only_path: "", facts: &facts, files: &tree, changed: &changed };
    let runs = workflow::expand(&files, &occasion, &mut Ids::default());
    let made: Vec<_> = runs
        .iter()
        .map(|run| (run.title.clone(), run.concurrency.as_ref().map(|one| one.group.clone())))
        .collect();
    let of = |n: u64, id| (format!("r{n}-{id}-1"), Some(format!("ci-{n}")));
    // The one that failed has a number, too; what does not want the event has none.
    assert_eq!(made, [of(7, runs[0].id), (String::new(), None), of(9, runs[2].id)]);
}

#[test]
fn a_strategy_may_be_computed_as_a_whole() {
    let text = "on: push\njobs:\n  a:\n    runs-on: x\n    strategy: ${{ fromJSON('{\"fail-fast\":false,\"max-parallel\":1,\"matrix\":{\"v\":[1,2]}}') }}\n    steps: [{run: x}]\n  b:\n    needs: a\n    runs-on: x\n    strategy: ${{ fromJSON(needs.a.outputs.s) }}\n    steps: [{run: x}]\n  c:\n    runs-on: x\n    strategy: {'${{ insert }}': \"${{ fromJSON('{\\\"matrix\\\":{\\\"v\\\":[3]}}') }}\"}\n    steps: [{run: x}]\n";
    let run = pushed(text, &Tree::default());
    assert_eq!(keys(&run.jobs), ["a", "b", "c", "a (1)", "a (2)", "c (3)"]);
    assert_eq!(job(&run, "a").form, Form::Group { fail_fast: false, max_parallel: 1 });
    assert_eq!(job(&run, "b").form, Form::Undecided);
    let of = |strategy: &str| decided(&run, "b", &[("s", strategy)], Outcome::Success);
    let Verdict::Become { jobs, .. } = of("{\"matrix\":{\"v\":[\"x\"]}}") else { panic!("not made") };
    assert_eq!(keys(&jobs), ["b", "b (x)"]);
    let Verdict::Become { jobs, .. } = of("{\"fail-fast\":true}") else { panic!("not made") };
    assert_eq!((keys(&jobs), jobs[0].form), (vec!["b"], Form::Job), "there is no matrix in it");
}

#[test]
fn secrets_for_a_call_keep_what_their_texts_name_of_the_caller() {
    let called = "on: {workflow_call: {inputs: {environment: {type: string}}, secrets: {KEY: {}}}}\nconcurrency: {group: 'd-${{ inputs.environment }}', cancel-in-progress: true}\njobs: {x: {runs-on: x, steps: [{run: x}]}, y: {uses: ./w/inner.yml, secrets: {IN: '${{ secrets.KEY }}'}}}\n";
    let inner = "on: {workflow_call: {secrets: {IN: {}}}}\njobs: {z: {runs-on: x, steps: [{run: x}]}}\n";
    let text = |more: &str| {
        format!(
            "on: push\njobs:\n  c:\n    strategy: {{matrix: {{n: [1], m: [2]}}}}\n    uses: ./w/called.yml\n    with: {{environment: prod}}\n    secrets: {{KEY: \"${{{{ secrets[format('{{0}}_KEY', matrix.n)] }}}}\"}}\n{more}"
        )
    };
    let tree = Tree::of(&[("w/called.yml", called), ("w/inner.yml", inner)]);
    let run = pushed(&text(""), &tree);
    let secrets = |key: &str| {
        let contexts: serde_json::Value =
            serde_json::from_str(&job(&run, key).contexts).expect("contexts are JSON");
        contexts["secrets"].clone()
    };
    let of_called = serde_json::json!({
        "KEY": "${{ secrets[format('{0}_KEY', matrix.n)] }}", "": { "matrix": { "n": 1, "m": 2 } }
    });
    assert_eq!(secrets("c (1, 2)/x"), of_called);
    let of_inner = serde_json::json!({ "IN": "${{ secrets.KEY }}", "": { "secrets": of_called } });
    assert_eq!(secrets("c (1, 2)/y/z"), of_inner);
    // A concurrency of what is called is that of the job that stands for it.
    let group = job(&run, "c (1, 2)");
    assert_eq!(group.concurrency.as_ref().map(|one| one.group.as_str()), Some("d-prod"));
    assert!(group.contexts.contains("prod") && !group.contexts.contains("matrix"), "{}", group.contexts);
    let both = run_of(&text("    concurrency: other\n"), &event(EventKind::Push, "refs/heads/main"), &tree);
    assert!(both.error.is_some_and(|error| error.contains("one of the two is supported")));
    // What asks for needs is made once those have ended.
    let needs = "on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}, b: {needs: a, uses: ./w/inner.yml, secrets: {IN: '${{ secrets[needs.a.outputs.k] }}'}}}\n";
    let run = pushed(needs, &tree);
    let Verdict::Become { jobs, .. } = decided(&run, "b", &[("k", "MINE")], Outcome::Success) else {
        panic!("not made")
    };
    assert_eq!(keys(&jobs), ["b", "b/z"]);
    assert!(jobs[1].contexts.contains("MINE"), "{}", jobs[1].contexts);
}

/// Many `uses` of one directory.
fn uses(directory: &str, times: usize) -> String {
    vec![format!("{{uses: ./{directory}}}"); times].join(", ")
}

#[test]
fn actions_that_use_each_other_very_often_are_read_once_and_refused_for_what_they_make() {
    let action = |of: &str, times| format!("runs: {{using: composite, steps: [{}]}}\n", uses(of, times));
    let chain: Vec<_> =
        (0..9).map(|n| (format!("a{n}/action.yml"), action(&format!("a{}", n + 1), 1000))).collect();
    let mut files: Vec<_> = chain.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(("a9/action.yml", "runs: {using: composite, steps: [{run: x, shell: sh}]}\n"));
    let tree = Tree::of(&files);
    let text = format!("on: push\njobs: {{a: {{runs-on: x, steps: [{}]}}}}\n", uses("a0", 200));
    let run = run_of(&text, &event(EventKind::Push, "refs/heads/main"), &tree);
    let error = run.error.expect("a refusal");
    assert!(error.contains("more than 10000 steps"), "{error}");
    assert_eq!(tree.1.get(), 10, "each action is asked for once");

    // Ten of itself on ten levels would be ten thousand million.
    let own = action("a", 10);
    let tree = Tree::of(&[("a/action.yml", &own)]);
    let text = "on: push\njobs: {a: {runs-on: x, steps: [{uses: ./a}]}}\n";
    let run = run_of(text, &event(EventKind::Push, "refs/heads/main"), &tree);
    assert!(run.error.is_some_and(|error| error.contains("the action uses itself: ./a, ./a")));
    assert_eq!(tree.1.get(), 1);
}

#[test]
fn no_more_files_are_asked_for_than_are_allowed() {
    let steps: Vec<_> = (0..200).map(|n| uses(&format!("a{n}"), 1)).collect();
    let job = |n: usize| {
        format!("j{n}: {{runs-on: x, steps: [{}]}}", steps.join(", ").replace("./", &format!("./{n}/")))
    };
    let jobs: Vec<_> = (0..8).map(job).collect();
    let tree = Tree::default();
    let text = format!("on: push\njobs: {{{}}}\n", jobs.join(", "));
    assert!(run_of(&text, &event(EventKind::Push, "refs/heads/main"), &tree).error.is_some());
    assert_eq!(tree.1.get(), 512);
}

#[test]
fn variants_and_calls_are_made_into_text_once() {
    let steps = vec!["{run: 'echo ${{ matrix.n }}'}"; 200].join(", ");
    let called = format!("on: workflow_call\njobs: {{x: {{runs-on: x, steps: [{steps}, {{uses: ./a}}]}}}}\n");
    let list: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let text = format!(
        "on: push\njobs: {{c: {{strategy: {{matrix: {{n: [{}]}}}}, uses: ./w/called.yml}}}}\n",
        list.join(", ")
    );
    let action = "runs: {using: composite, steps: [{run: x, shell: sh}]}\n";
    let tree = Tree::of(&[("w/called.yml", &called), ("a/action.yml", action)]);
    let run = pushed(&text, &tree);
    assert_eq!(tree.1.get(), 2);
    assert_eq!((run.jobs.len(), run.specs.len()), (201, 3), "the group's, the call's and the one job's");
}
