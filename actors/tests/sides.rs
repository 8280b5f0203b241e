//! What jobs leave to each other, on two nodes with jobs as processes: artifacts with names, and caches (bad-input rows 20 and 29).

#[path = "support/pair.rs"]
mod pair;
mod support;

use std::sync::atomic::Ordering;

use domain::{Event, EventKind, Native, Outcome, StepSpec};
use pair::{Kind, Pair, event, native, push, run, spec};

const MAIN: &str = "refs/heads/main";

fn pair(number: u64) -> Pair {
    Pair::new(Kind::Processes, number).expect("processes are always wanted")
}

fn upload(with: &[(&str, &str)]) -> StepSpec {
    native(Native::UploadArtifact, with)
}

fn download(with: &[(&str, &str)]) -> StepSpec {
    native(Native::DownloadArtifact, with)
}

fn cache(key: &str) -> StepSpec {
    native(Native::Cache, &[("key", key), ("path", "kept"), ("restore-keys", "deps-")])
}

#[tokio::test]
async fn an_artifact_goes_from_a_job_on_one_node_to_a_job_on_another() {
    let pair = pair(41);
    let make = spec(vec![
        run("mkdir -p dist/sub; echo a > dist/a; echo b > dist/sub/b; echo c > dist/c.map; chmod 755 dist/a"),
        upload(&[("name", "built"), ("path", "dist\n!dist/*.map"), ("retention-days", "5")]),
        run("echo other > other"),
        upload(&[("path", "other")]),
        download(&[("name", "built"), ("path", "again")]),
        run("cat again/sub/b"),
    ]);
    let take = spec(vec![
        download(&[("name", "built"), ("path", "got")]),
        run("cd got && find . -type f | sort && cat a sub/b && stat -c %a a"),
        download(&[]),
        run("cat built/a artifact/other"),
        download(&[("pattern", "b*"), ("merge-multiple", "true"), ("path", "flat")]),
        run("cat flat/sub/b"),
    ]);
    let id = pair.submit(push(MAIN), &[make, take]);
    let (made, log) = pair.job(id, 0, 0).await;
    assert_eq!(made.outcome, Outcome::Succeeded, "{} {log}", made.reason);
    let kept: Vec<_> = made.artifacts.iter().map(|one| (one.name.as_str(), one.path.as_str())).collect();
    assert_eq!(kept, [("built", "a"), ("built", "sub/b"), ("artifact", "other")]);
    assert!(log.ends_with("b\n"), "{log}");
    let (taken, log) = pair.job(id, 1, 1).await;
    assert_eq!(taken.outcome, Outcome::Succeeded, "{} {log}", taken.reason);
    let said: Vec<_> = log.lines().filter(|line| !line.contains("artifacts, ")).collect();
    assert_eq!(said, ["./a", "./sub/b", "a", "b", "644", "a", "other", "b"], "{log}");
}

#[tokio::test]
async fn an_artifact_that_is_replaced_is_replaced_whole() {
    let pair = pair(48);
    let again = [("name", "n"), ("path", "new"), ("overwrite", "true")];
    let make = spec(vec![
        run("mkdir old new; echo 1 > old/a; echo 1 > old/only; echo 2 > new/a"),
        upload(&[("name", "n"), ("path", "old")]),
        upload(&again),
        download(&[("name", "n"), ("path", "got")]),
        run("cd got && ls && cat a"),
    ]);
    let replace = spec(vec![
        run("mkdir new; echo 3 > new/b"),
        upload(&again),
        upload(&[("name", "m"), ("path", "new")]),
    ]);
    let take = spec(vec![
        download(&[("name", "n"), ("path", "got")]),
        run("cd got && ls && cat b"),
        download(&[("path", "all")]),
        run("find all -type f | sort"),
    ]);
    // The first of them is the last to end.
    let id = pair.submit(push(MAIN), &[take, replace, make]);
    let (made, log) = pair.job(id, 2, 0).await;
    assert_eq!(made.outcome, Outcome::Succeeded, "{} {log}", made.reason);
    let kept: Vec<_> = made.artifacts.iter().map(|one| (one.name.as_str(), one.path.as_str())).collect();
    assert_eq!(kept, [("n", "a")]);
    assert!(log.ends_with("a\n2\n"), "{log}");
    let (replaced, log) = pair.job(id, 1, 0).await;
    assert_eq!(replaced.outcome, Outcome::Succeeded, "{} {log}", replaced.reason);
    let (taken, log) = pair.job(id, 0, 1).await;
    assert_eq!(taken.outcome, Outcome::Succeeded, "{} {log}", taken.reason);
    let said: Vec<_> = log.lines().filter(|line| !line.contains("artifacts, ")).collect();
    let whose = format!("Artifact n is that of job {id}.1, which ended after {id}.2");
    assert_eq!(said, [whose.as_str(), "b", "3", whose.as_str(), "all/m/b", "all/n/b"], "{log}");
}

#[tokio::test]
async fn an_upload_tells_where_its_list_is() {
    let pair = pair(50);
    let one = StepSpec { id: "up".to_owned(), ..upload(&[("path", "f")]) };
    let script = "echo '${{ steps.up.outputs.artifact-id }} ${{ steps.up.outputs.artifact-url }}'";
    let spec = domain::JobSpec { expressions: true, ..spec(vec![run("echo 1 > f"), one, run(script)]) };
    let id = pair.submit(push(MAIN), &[spec]);
    let (finished, log) = pair.job(id, 0, 0).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    let wanted = format!("{id}.0/1/artifact https://ci.example/v1/attempts/{id}.0/1/artifacts\n");
    assert!(log.ends_with(&wanted), "{log}");
}

#[tokio::test]
async fn summaries_of_steps_are_no_artifact_of_a_users() {
    let pair = pair(49);
    let script = "echo '# Of a step' >> $GITHUB_STEP_SUMMARY; echo 1 > f";
    let make = domain::JobSpec { expressions: true, ..spec(vec![run(script), upload(&[("path", "f")])]) };
    let take = spec(vec![download(&[("path", "got")]), run("ls -A got"), download(&[("name", ".summary")])]);
    let id = pair.submit(push(MAIN), &[make, take]);
    let (made, _) = pair.job(id, 0, 0).await;
    let kept: Vec<_> = made.artifacts.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(kept, ["artifact", ".summary"]);
    let (taken, log) = pair.job(id, 1, 0).await;
    assert_eq!(taken.outcome, Outcome::Failed);
    let said = taken.reason + &log;
    assert!(log.contains("\nartifact\n") && said.contains("summaries of steps"), "{said}");
}

/// Row 20, and what else makes no sense.
#[tokio::test]
async fn an_upload_or_download_that_cannot_be_says_why() {
    let pair = pair(42);
    for (step, words) in [
        (upload(&[("name", "../x"), ("path", "f")]), "a name has none of"),
        (upload(&[("name", "%2e%2e"), ("path", "f")]), ". or .."),
        (upload(&[("name", "a\0b"), ("path", "f")]), "control characters"),
        (upload(&[("name", &"x".repeat(4096)), ("path", "f")]), "255 bytes"),
        (upload(&[("path", "")]), "no path is named"),
        (upload(&[("path", "/etc/passwd")]), "only files of the workspace"),
        (upload(&[("path", "absent"), ("if-no-files-found", "error")]), "no files were found"),
        (upload(&[("path", "f"), ("if-no-files-found", "perhaps")]), "expected warn, error or ignore"),
        (upload(&[("path", "f"), ("typo", "1")]), "typo: actions/upload-artifact has no such input"),
        (upload(&[("path", "many")]), "number of files is over the limit of 10"),
        (upload(&[("name", ".summary"), ("path", "f")]), "summaries of steps"),
        (download(&[("name", "absent")]), "this run has no artifact \"absent\"; it has: none"),
        (download(&[("name", "a/b")]), "a name has none of"),
        (download(&[("path", "../x")]), "`..` leads out"),
        (download(&[("run-id", "1")]), "run-id: only artifacts of the same run"),
    ] {
        let make = run("echo x > f; mkdir many; for n in 1 2 3 4 5 6 7 8 9 10 11; do echo > many/$n; done");
        let (finished, log) = pair.alone(push(MAIN), 0, spec(vec![make, step])).await;
        assert_eq!(finished.outcome, Outcome::Failed, "{words}");
        assert!(log.contains(words) || finished.reason.contains(words), "{words}: {} {log}", finished.reason);
        assert!(finished.artifacts.is_empty());
    }
    let twice = spec(vec![run("echo 1 > f"), upload(&[("path", "f")]), upload(&[("path", "f")])]);
    let (finished, log) = pair.alone(push(MAIN), 0, twice).await;
    let said = finished.reason + &log;
    assert!(said.contains("there is an artifact \"artifact\" of this run already"), "{said}");
}

#[tokio::test]
async fn a_cache_made_on_one_node_is_a_hit_on_another_and_a_miss_when_that_is_away() {
    let pair = pair(43);
    let make = |key| {
        spec(vec![
            cache(key),
            run("test -e kept/x && cat kept/x || { mkdir kept; echo made > kept/x; echo made anew; }"),
        ])
    };
    let (first, log) = pair.alone(push(MAIN), 0, make("deps-1")).await;
    assert_eq!(first.outcome, Outcome::Succeeded, "{} {log}", first.reason);
    assert!(log.contains("made anew"), "{log}");
    let kept: Vec<_> = pair.entries();
    assert_eq!(kept, [(MAIN.to_owned(), "deps-1".to_owned())], "{log}");
    let (_, log) = pair.alone(push(MAIN), 1, make("deps-1")).await;
    assert!(log.contains("made\n") && !log.contains("anew"), "{log}");
    // Another key: the one that begins so, and one more at the end.
    let other = spec(vec![cache("deps-2"), run("cat kept/x && echo other > kept/x")]);
    let (finished, log) = pair.alone(push(MAIN), 1, other).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    assert_eq!(pair.entries().len(), 2);
    // The bytes of the second are on the second node, which is away; the first node has never had them.
    pair.shelves.away.store(true, Ordering::Relaxed);
    let (finished, log) = pair.alone(push(MAIN), 0, make("deps-2")).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{} {log}", finished.reason);
    assert!(log.contains("made anew"), "{log}");
    // A job that fails keeps nothing.
    let failing = spec(vec![cache("deps-3"), run("mkdir -p kept; exit 1")]);
    pair.alone(push(MAIN), 0, failing).await;
    assert_eq!(pair.entries().len(), 2);
}

/// Row 29.
#[tokio::test]
async fn what_a_pull_request_keeps_is_seen_by_it_alone_and_a_fork_keeps_nothing() {
    let pair = pair(44);
    let make = || {
        spec(vec![
            native(Native::Cache, &[("key", "k"), ("path", "kept")]),
            run("cat kept/x || { mkdir kept; echo $GITHUB_REF > kept/x; }"),
        ])
    };
    let request = |n: u32| event(EventKind::PullRequest, &format!("refs/pull/{n}/head"), MAIN);
    let fork = Event { from_fork: true, ..request(8) };
    let (finished, _) = pair.alone(fork.clone(), 0, make()).await;
    assert_eq!((finished.outcome, pair.entries().len()), (Outcome::Succeeded, 0), "a fork keeps nothing");
    pair.alone(request(7), 0, make()).await;
    let of_request = ("refs/pull/7/head".to_owned(), "k".to_owned());
    assert_eq!(pair.entries(), std::slice::from_ref(&of_request));
    // Neither another request, nor the branch that it goes to, sees it; they keep their own.
    for (event, own) in [(request(9), "refs/pull/9/head"), (push(MAIN), MAIN)] {
        pair.alone(event, 0, make()).await;
        assert!(pair.entries().contains(&(own.to_owned(), "k".to_owned())), "{own}");
    }
    let (_, log) = pair.alone(request(7), 0, make()).await;
    assert!(log.contains("refs/pull/7/head\n"), "{log}");
    // Of the default branch everybody sees what it keeps, a fork, too.
    let (_, log) = pair.alone(fork, 0, make()).await;
    assert!(log.contains("refs/heads/main\n"), "{log}");
    assert_eq!(pair.entries().len(), 3);
}

impl Pair {
    /// Scope and key of every cache.
    fn entries(&self) -> Vec<(String, String)> {
        let state = actors::replica::Replica::state(&*self.copy);
        state.caches_of(pair::REPO).map(|(_, entry)| (entry.scope.clone(), entry.key.clone())).collect()
    }
}
