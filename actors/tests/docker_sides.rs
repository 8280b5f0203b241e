//! What stands beside a job's steps, in containers: services, steps that are containers, caches of what is not in the workspace
//! (bad-input row 37). `TROUPE_NO_DOCKER=1` skips these tests, visibly; without an engine they fail.

#[path = "support/pair.rs"]
mod pair;
mod support;

use std::time::Duration;

use actors::executor::{FoundState, Part};
use domain::{Action, Container, Event, JobSpec, Native, Outcome, Service, StepSpec};
use pair::{Kind, Pair, native, push, run, spec};
use support::PATIENCE;

const MAIN: &str = "refs/heads/main";
const IMAGE: &str = "troupe/busybox:local";

fn service(name: &str, script: &str, options: &str) -> Service {
    let container = Container {
        image: IMAGE.to_owned(),
        entrypoint: "sh -c".to_owned(),
        command: format!("'{script}'"),
        env: vec![("WHO".to_owned(), "you".to_owned())],
        ports: vec!["8080:80".to_owned()],
        options: options.to_owned(),
        ..Container::default()
    };
    Service { name: name.to_owned(), container }
}

fn docker(with: &[(&str, &str)]) -> StepSpec {
    let with = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    StepSpec { action: Action::Docker { image: IMAGE.to_owned(), with }, ..StepSpec::default() }
}

fn with_expressions(steps: Vec<StepSpec>) -> JobSpec {
    JobSpec { expressions: true, ..spec(steps) }
}

/// Ready in the end, and slow at it.
const SLOW: &str = "echo $WHO > /tmp/who; sleep 1; httpd -p 80 -h /tmp; touch /tmp/up; sleep 600";
const HEALTH: &str = "--health-cmd \"test -e /tmp/up\" --health-interval 100ms --health-retries 600";

#[tokio::test]
async fn a_service_is_well_when_the_first_step_runs_and_gone_with_the_job() {
    let Some(pair) = Pair::new(Kind::Containers, 61) else { return };
    let steps = vec![run("wget -qO- http://web/who; wget -qO- http://web/who")];
    let job = JobSpec { services: vec![service("web", SLOW, HEALTH)], ..spec(steps) };
    let mut running = pair.begin(pair.place(pair.submit(push(MAIN), &[job]), 0, 0), false);
    let finished = running.end().await;
    // Nothing of it runs any more when it says so: another node may have it now.
    let left: Vec<_> = pair.containers(0).await.into_iter().map(|found| (found.part, found.state)).collect();
    assert!(left.iter().all(|(_, state)| *state == FoundState::Ended), "{left:?}");
    pair.over(&running.given, &finished).await;
    assert!(pair.containers(0).await.is_empty());
    let log = pair.output(0, running.given.attempt).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    assert!(log.ends_with("you\nyou\n"), "{log}");
}

#[tokio::test]
async fn a_job_knows_its_containers_by_the_engines_names() {
    let Some(pair) = Pair::new(Kind::Containers, 70) else { return };
    let script = "echo ${{ job.services.web.ports[80] }} ${{ job.services.none.id }} ${{ job.status }}; \
                  echo ${{ job.container.network }} ${{ job.container.id }} ${{ job.services.web.id }}; \
                  touch begun; until test -e go; do sleep 0.1; done";
    let services = vec![service("web", "sleep 600", "")];
    let job = JobSpec { services, ..with_expressions(vec![run(script)]) };
    let mut running = pair.begin(pair.place(pair.submit(push(MAIN), &[job]), 0, 0), false);
    let workspace = pair.nodes[0].logs.attempt_dir(running.given.attempt).join("workspace");
    let begun = async {
        while !workspace.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("it begins");
    let label = format!("label=troupe.node={}", pair.nodes[0].id);
    let mut list = std::process::Command::new("docker");
    list.args(["ps", "--filter", &label, "--format", "{{.Networks}} {{.Names}}"]);
    let known = list.output().expect("docker is there").stdout;
    std::fs::write(workspace.join("go"), "").expect("the workspace is there");
    let finished = running.end().await;
    pair.over(&running.given, &finished).await;
    let log = pair.output(0, running.given.attempt).await;
    let said: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    let [_, ports, names] = said.as_slice() else { panic!("{log} {}", finished.reason) };
    assert_eq!(*ports, ["80", "success"], "{log}");
    let mut known: Vec<_> = std::str::from_utf8(&known).expect("names").lines().collect();
    known.sort_unstable();
    let mut said: Vec<_> = names[1..].iter().map(|name| format!("{} {name}", names[0])).collect();
    said.sort_unstable();
    assert_eq!(said, known);
}

#[tokio::test]
async fn a_service_that_dies_or_is_not_well_fails_the_job_with_its_log() {
    let Some(pair) = Pair::new(Kind::Containers, 62) else { return };
    let ill = "--health-cmd \"echo no way; exit 1\" --health-interval 50ms --health-retries 2";
    for (one, words) in [
        (service("db", "echo last words; exit 3", HEALTH), &["ended with code 3", "db | last words"][..]),
        (service("db", "echo last words; sleep 600", ill), &["db is not well: no way", "db | last words"]),
        (service("db", "sleep 600", "--privileged"), &["services.db: ", "\"--privileged\" is not allowed"]),
        (service("db", "sleep 600", "--memory 1g"), &["1024 MiB", "the job has 128"]),
    ] {
        let job =
            JobSpec { services: vec![service("other", "sleep 600", ""), one], ..spec(vec![run("echo ran")]) };
        let (finished, log) = pair.alone(push(MAIN), 0, job).await;
        assert_eq!(finished.outcome, Outcome::Failed, "{}", finished.reason);
        let said = format!("{}\n{log}", finished.reason);
        assert!(words.iter().all(|words| said.contains(words)) && !said.contains("\nran\n"), "{said}");
        assert!(pair.containers(0).await.is_empty());
    }
}

#[tokio::test]
async fn a_service_that_never_becomes_well_is_over_with_the_jobs_limit() {
    let Some(pair) = Pair::new(Kind::Containers, 72) else { return };
    let never = "--health-cmd \"false\" --health-interval 1s --health-retries 600";
    let services = vec![service("db", "echo last words; sleep 600", never)];
    let job = JobSpec { services, timeout_seconds: 5, ..spec(vec![run("echo ran")]) };
    let (finished, log) = pair.alone(push(MAIN), 0, job).await;
    assert_eq!(finished.outcome, Outcome::TimedOut, "{}", finished.reason);
    assert_eq!(finished.reason, "service db was not well within the job's limit of 5s");
    assert!(log.contains("db | last words") && !log.contains("ran"), "{log}");
    assert!(pair.containers(0).await.is_empty());
}

#[tokio::test]
async fn nothing_is_left_of_services_after_a_cancel_or_when_the_node_may_hold_them_no_longer() {
    let Some(pair) = Pair::new(Kind::Containers, 63) else { return };
    let never = "--health-cmd \"false\" --health-interval 1s --health-retries 600";
    for (health, kill) in [(HEALTH, false), (never, false), (HEALTH, true), (never, true)] {
        let job = JobSpec {
            services: vec![service("web", SLOW, health)],
            ..spec(vec![run("touch begun; sleep 600")])
        };
        let mut running = pair.begin(pair.place(pair.submit(push(MAIN), &[job]), 0, 0), false);
        // In the middle of the wait for the service, or of the first step.
        let parts = if health == never { 1 } else { 2 };
        let all = async {
            while pair.containers(0).await.iter().filter(|f| f.state == FoundState::Running).count() < parts {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("they run");
        if kill {
            running.kill.cancel()
        } else {
            running.cancel.cancel()
        }
        let finished = running.end().await;
        assert_eq!(
            finished.outcome,
            if kill { Outcome::Lost } else { Outcome::Cancelled },
            "{}",
            finished.reason
        );
        let runs = pair.containers(0).await.into_iter().any(|found| found.state == FoundState::Running);
        assert!(!runs, "{health} {kill}");
        pair.over(&running.given, &finished).await;
        assert!(pair.containers(0).await.is_empty());
    }
}

#[tokio::test]
async fn a_node_that_starts_again_takes_up_a_job_with_its_services() {
    let Some(mut pair) = Pair::new(Kind::Containers, 64) else { return };
    let steps =
        vec![run("touch begun; until test -e go; do sleep 0.1; done"), run("wget -qO- http://web/who")];
    let job = JobSpec { services: vec![service("web", SLOW, HEALTH)], ..spec(steps) };
    let given = pair.place(pair.submit(push(MAIN), &[job]), 0, 0);
    let (attempt, fence) = (given.attempt, given.fence);
    let mut running = pair.begin(given, false);
    let workspace = pair.nodes[0].logs.attempt_dir(attempt).join("workspace");
    let begun = async {
        while !workspace.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("it begins");
    // What its thread pool was still at would go on in this test, as it would not in a process that died.
    let known = running.told.wait_for(|told| told.steps.first().is_some_and(|step| step.started_at.0 > 0));
    tokio::time::timeout(PATIENCE, known).await.expect("it is told").expect("it lives");
    // The process dies without a word; its containers run on.
    running.die().await;
    let copy = std::sync::Arc::clone(&pair.copy);
    pair.nodes[0].restart(&copy);
    let service = |found: &actors::executor::Found| found.part == Part::Service("web".to_owned());
    assert!(
        pair.containers(0).await.iter().any(|found| service(found) && found.state == FoundState::Running)
    );
    use actors::runner::work::Work;
    let survivors = pair.nodes[0].work.survivors().await.expect("the engine answers");
    assert_eq!(survivors.len(), 1, "one attempt, whatever it consists of: {survivors:?}");
    let mut again = pair.begin(pair::Given { attempt, fence, node: 0 }, true);
    std::fs::write(workspace.join("go"), "").expect("the workspace is there");
    let finished = again.end().await;
    pair.over(&again.given, &finished).await;
    let log = pair.output(0, attempt).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    assert!(log.ends_with("you\n"), "{log}");
    assert!(pair.containers(0).await.is_empty());
}

#[tokio::test]
async fn a_service_whose_node_died_before_the_job_began_is_begun_anew() {
    let Some(mut pair) = Pair::new(Kind::Containers, 65) else { return };
    let gate = "--health-cmd \"test -e /go\" --health-interval 100ms --health-retries 600";
    let steps = vec![run("echo ran")];
    let job = JobSpec { services: vec![service("web", "sleep 600", gate)], ..spec(steps) };
    let given = pair.place(pair.submit(push(MAIN), &[job]), 0, 0);
    let (attempt, fence) = (given.attempt, given.fence);
    let mut running = pair.begin(given, false);
    let first = one(&pair, None).await;
    running.die().await;
    let copy = std::sync::Arc::clone(&pair.copy);
    pair.nodes[0].restart(&copy);
    let mut again = pair.begin(pair::Given { attempt, fence, node: 0 }, true);
    let second = one(&pair, Some(&first)).await;
    let made = std::process::Command::new("docker").args(["exec", &second, "touch", "/go"]).status();
    assert!(made.is_ok_and(|status| status.success()));
    let finished = again.end().await;
    pair.over(&again.given, &finished).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{}", finished.reason);
    assert!(pair.containers(0).await.is_empty());
}

/// The only container that runs, once it is another than `not`.
async fn one(pair: &Pair, not: Option<&str>) -> String {
    let found = async {
        loop {
            let all = pair.containers(0).await;
            let running: Vec<_> =
                all.into_iter().filter(|found| found.state == FoundState::Running).collect();
            if let [one] = &running[..]
                && Some(one.id.0.as_str()) != not
            {
                return one.id.0.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it runs")
}

/// What it left there, the next job of the repository would find.
#[tokio::test]
async fn a_run_for_a_fork_has_no_volumes_of_the_repository() {
    let Some(pair) = Pair::new(Kind::Containers, 69) else { return };
    let container = Container { volumes: vec!["data:/data".to_owned()], ..Container::default() };
    let job = JobSpec { container, ..spec(vec![run("touch /data/x; ls /data")]) };
    let (finished, log) = pair.alone(push(MAIN), 0, job.clone()).await;
    assert_eq!((finished.outcome, log.as_str()), (Outcome::Succeeded, "x\n"), "{}", finished.reason);
    let fork = Event { from_fork: true, ..push(MAIN) };
    let (finished, _) = pair.alone(fork, 0, job).await;
    assert_eq!(finished.outcome, Outcome::Failed);
    assert!(finished.reason.contains("for a fork of it"), "{}", finished.reason);
}

#[tokio::test]
async fn a_step_can_be_a_container_with_the_jobs_workspace() {
    let Some(pair) = Pair::new(Kind::Containers, 66) else { return };
    let script = "-c 'pwd; cat made; echo there > /github/workspace/back; echo $INPUT_X; echo n=5 >> $GITHUB_OUTPUT; \
                  echo V=6 >> $GITHUB_ENV; test -s $GITHUB_EVENT_PATH && echo event; ls /troupe'";
    let mut one = docker(&[("entrypoint", "sh"), ("args", script), ("x", "in")]);
    one.id = "one".to_owned();
    let steps = vec![
        run("echo here > made"),
        one,
        run("cat back; echo ${{ steps.one.outputs.n }}$V"),
        docker(&[("args", "sh -c 'echo bad; exit 7'")]),
    ];
    let (finished, log) = pair.alone(push(MAIN), 0, with_expressions(steps)).await;
    assert_eq!(finished.outcome, Outcome::Failed, "{} {log}", finished.reason);
    assert_eq!(finished.steps.last().and_then(|step| step.exit_code), Some(7), "{} {log}", finished.reason);
    for line in ["/workspace", "here", "in", "event", "there", "56", "bad"] {
        assert!(log.lines().any(|found| found == line), "{line}: {log}");
    }
    assert!(!log.lines().any(|line| line == "plan" || line == "control" || line == "spool"), "{log}");
    assert!(pair.containers(0).await.is_empty());
}

/// Row 37: the engine follows links of the machine in what it mounts.
#[tokio::test]
async fn what_a_job_puts_in_the_place_of_its_files_leads_no_container_of_a_step_to_the_machine() {
    let Some(pair) = Pair::new(Kind::Containers, 71) else { return };
    let machine = tempfile::tempdir().expect("a directory");
    std::fs::write(machine.path().join("secret"), "of the machine").expect("it is written");
    let plant = format!(
        "set +e; for f in temp event.json permit; do mv /troupe/$f /troupe/old-$f; ln -s {0} /troupe/$f; done; ls -l /troupe; true",
        machine.path().display()
    );
    let look = "-c 'cat /troupe/temp/secret; ls /troupe/event.json/; touch /troupe/temp/there; echo looked'";
    let steps = vec![run(&plant), docker(&[("entrypoint", "sh"), ("args", look)]), run("ls /troupe/temp")];
    let (finished, log) = pair.alone(push(MAIN), 0, with_expressions(steps)).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    assert!(log.contains("looked\n") && !log.contains("of the machine"), "{log}");
    let left = std::fs::read_dir(machine.path()).expect("it is there").count();
    assert_eq!(left, 1, "{log}");
    // What a step leaves there for a while is the job's, as ever.
    assert!(log.ends_with("there\n"), "{log}");
}

#[tokio::test]
async fn ci_is_true_where_nobody_says_otherwise_in_every_kind_of_step() {
    let Some(pair) = Pair::new(Kind::Containers, 73) else { return };
    let shown = || vec![run("echo run $CI"), docker(&[("args", "sh -c 'echo docker $CI'")])];
    let (_, log) = pair.alone(push(MAIN), 0, with_expressions(shown())).await;
    assert_eq!(log, "run true\ndocker true\n");
    let env = vec![("CI".to_owned(), "false".to_owned())];
    let (_, log) = pair.alone(push(MAIN), 0, JobSpec { env, ..with_expressions(shown()) }).await;
    assert_eq!(log, "run false\ndocker false\n");
}

#[tokio::test]
async fn a_container_of_a_step_ends_when_its_job_is_cancelled() {
    let Some(pair) = Pair::new(Kind::Containers, 67) else { return };
    let steps = vec![docker(&[("args", "sh -c 'echo runs > up; sleep 600'")])];
    let given = pair.place(pair.submit(push(MAIN), &[with_expressions(steps)]), 0, 0);
    let up = pair.nodes[0].logs.attempt_dir(given.attempt).join("workspace/up");
    let mut running = pair.begin(given, false);
    let begun = async {
        while !up.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("it begins");
    running.cancel.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Cancelled, "{}", finished.reason);
    let runs = pair.containers(0).await.into_iter().any(|found| found.state == FoundState::Running);
    assert!(!runs);
    pair.over(&running.given, &finished).await;
    assert!(pair.containers(0).await.is_empty());
}

#[tokio::test]
async fn a_cache_of_the_home_directory_goes_from_one_nodes_container_to_anothers() {
    let Some(pair) = Pair::new(Kind::Containers, 68) else { return };
    let paths = "~/.deps\n/opt/tool/*/bin\nkept\n!~/.deps/skip";
    let job = || {
        let cache = native(Native::Cache, &[("key", "k"), ("path", paths)]);
        let script = "if test -e ~/.deps/x; then cat ~/.deps/x /opt/tool/1/bin/t kept/y; ls ~/.deps; readlink ~/.deps/link; \
                      else mkdir -p ~/.deps /opt/tool/1/bin /opt/tool/1/doc kept; echo 1 > ~/.deps/x; echo 2 > /opt/tool/1/bin/t; \
                      echo 3 > kept/y; touch ~/.deps/skip; ln -s /bin/sh ~/.deps/link; echo made anew; fi; ls /opt/tool/1";
        with_expressions(vec![cache, run(script)])
    };
    let (finished, log) = pair.alone(push(MAIN), 0, job()).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    assert!(log.contains("made anew") && log.contains("Cache saved with key: k"), "{log}");
    let (finished, log) = pair.alone(push(MAIN), 1, job()).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    let said: Vec<_> = log.lines().filter(|line| !line.starts_with("Cache")).collect();
    assert_eq!(said, ["1", "2", "3", "link", "x", "/bin/sh", "bin"], "{log}");
}
