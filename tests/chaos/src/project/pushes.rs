//! What people do to the project: they break a test and mend it, ask from a fork, and let a minute pass.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::files;
use super::world::{Begun, CONTEXT, DEPLOY_KEY, World, after, fork, id, jobs, named, wait};
use crate::client::Client;
use crate::push::Webhook;

/// The version that the sources have.
fn version(world: &World) -> String {
    let header = std::fs::read_to_string(world.git.repo().join("lib/lz4.h")).unwrap();
    let number = |name: &str| after(&header, &format!("#define LZ4_VERSION_{name} ")).to_owned();
    format!("{}.{}.{}", number("MAJOR"), number("MINOR"), number("RELEASE"))
}

/// The names of the jobs with their outcomes.
fn outcomes(run: &serde_json::Value) -> Vec<String> {
    let text = |job: &serde_json::Value, field: &str| job[field].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        jobs(run).iter().map(|job| format!("{} {}", text(job, "name"), text(job, "outcome"))).collect();
    all.sort_unstable();
    all
}

const ALL_WELL: [&str; 4] =
    ["build fast succeeded", "build small succeeded", "prepare succeeded", "test succeeded"];

/// What the forge was told last of a commit, and where it leads.
async fn check_status(world: &mut World, begun: &Begun, context: &str, wanted: &str) {
    let told = world.told(begun, context, wanted).await;
    let (state, link) = told.last().cloned().unwrap_or_default();
    world.table.check(format!("the last status of {context}"), state, wanted);
    let leads = link.rsplit_once("/v1/runs/").map(|(_, run)| run.to_owned());
    world.table.check("it leads to the run", leads, Some(begun.run.clone()));
}

pub(super) async fn a_push_that_breaks_a_test(world: &mut World) {
    world.table.part("a push breaks a test");
    let begun = world.push(0, files::EXPECTED, "0.0.0\n").await;
    let run = world.end(&begun).await;
    world.table.check("the run", run["outcome"].as_str(), Some("failed"));
    let wanted = ["build fast succeeded", "build small succeeded", "prepare succeeded", "test failed"];
    world.table.check("its jobs", outcomes(&run), wanted);
    let log = world.log(named(&run, "test")).await;
    world.table.check("the log says why", log.contains(&format!("it is {}", version(world))), true);
    let log = world.log(named(&run, "prepare")).await;
    let characters = DEPLOY_KEY.len().to_string();
    world.table.check("the secret's characters", after(&log, "the key has "), characters);
    for kind in ["small", "fast"] {
        let log = world.log(named(&run, &format!("build {kind}"))).await;
        world.table.check(format!("no cache yet for {kind}"), log.contains("Cache not found"), true);
        world.table.check(
            format!("it is kept for {kind}"),
            log.contains("Cache saved with key: corpus-"),
            true,
        );
    }
    check_status(world, &begun, CONTEXT, "failure").await;
}

pub(super) async fn a_push_that_mends_it(world: &mut World) {
    world.table.part("a push mends it");
    let version = version(world);
    let begun = world.push(1, files::EXPECTED, &format!("{version}\n")).await;
    let run = world.end(&begun).await;
    world.table.check("the run", run["outcome"].as_str(), Some("succeeded"));
    world.table.check("its jobs", outcomes(&run), ALL_WELL);
    let tested = world.log(named(&run, "test")).await;
    world.table.check("the test ran", tested.ends_with("all is well\n"), true);
    for kind in ["small", "fast"] {
        let job = named(&run, &format!("build {kind}"));
        let log = world.log(job).await;
        world.table.check(
            format!("the cache of {kind}"),
            log.contains("Cache restored from key: corpus-"),
            true,
        );
        world.table.check(
            format!("it was not made again for {kind}"),
            log.contains("made the corpus"),
            false,
        );
        let built = after(&log, &format!("built {kind} ")).to_owned();
        let got = after(&tested, &format!("tested {kind} "));
        world.table.check(format!("what the test got is what {kind} made"), got, built.as_str());
        let path = format!("/v1/attempts/{}/{}/artifacts/lz4?name=lz4-{kind}", id(job), job["attempts"]);
        let bytes = Client::of(&world.cluster.nodes[2]).bytes(&path).await.unwrap_or_default();
        world.table.check(
            format!("what anybody gets of {kind} is that"),
            hex::encode(Sha256::digest(bytes)),
            built,
        );
    }
    let said = world.cluster.nodes[0].cli(&["cache", "list", "demo", "--key", "corpus-"]);
    world.table.check("caches that `troupe cache list` shows", said.out.lines().skip(1).count(), 2);
    check_status(world, &begun, CONTEXT, "success").await;
}

pub(super) async fn a_pull_request_from_a_fork(world: &mut World) {
    world.table.part("a pull request from a fork");
    let base = fixtures::git(&world.git.repo(), &["rev-parse", "main"]).unwrap();
    let workflow = files::workflow().replace("number MAJOR", "echo stolen; number MAJOR");
    let corpus = format!("{}# another one\n", files::MAKE_CORPUS);
    let changes = [(".github/workflows/ci.yml", workflow.as_str()), (files::CORPUS, corpus.as_str())];
    let commit = fork(world, 7, &changes);
    let delivery = world.delivery_id();
    let webhook = Webhook::pull_request(7, (&commit, "topic"), base.trim(), &delivery);
    let begun = world.begin(2, commit, webhook).await;
    let path = format!("/v1/runs/{}", begun.run);
    let held = world.get(&path).await;
    world.table.check("it waits for approval", held["needs_approval"].as_bool(), Some(true));
    let context = format!("{CONTEXT} (pull_request)");
    let told = world.told(&begun, &context, "pending").await;
    world.table.check(
        "the forge is told that it waits",
        told.last().map(|(state, _)| state.as_str()),
        Some("pending"),
    );
    let held = world.get(&path).await;
    let begins: u64 = jobs(&held).iter().filter_map(|job| job["attempts"].as_u64()).sum();
    world.table.check("attempts before that", begins, 0);
    world.change(reqwest::Method::POST, &format!("{path}/approve"), &json!({})).await;
    let run = world.end(&begun).await;
    world.table.check("the run, once approved", run["outcome"].as_str(), Some("succeeded"));
    world.table.check("its jobs", outcomes(&run), ALL_WELL);
    let log = world.log(named(&run, "prepare")).await;
    world.table.check("the workflow is the base's", log.contains("stolen"), false);
    world.table.check("the secret's characters", after(&log, "the key has "), "0");
    for kind in ["small", "fast"] {
        let log = world.log(named(&run, &format!("build {kind}"))).await;
        world.table.check(format!("its own corpus for {kind}"), log.contains("made the corpus"), true);
        world.table.check(format!("it keeps none for {kind}"), log.contains("Cache saved"), false);
    }
    let caches = world.all("/v1/repos/demo/caches", "").await;
    let scopes: std::collections::BTreeSet<_> =
        caches.iter().filter_map(|one| one["scope"].as_str()).collect();
    world.table.check("refs that have caches", scopes, std::collections::BTreeSet::from(["refs/heads/main"]));
    check_status(world, &begun, &context, "success").await;
}

/// As many as minutes have begun since the first, one in each.
pub(super) async fn scheduled_runs(world: &mut World) {
    world.table.part("what comes every minute");
    let runs = wait("three scheduled runs have ended".to_owned(), async || {
        let all = world.all("/v1/runs", "&repo=demo").await;
        let ours: Vec<_> = all.into_iter().filter(|run| run["event"] == "schedule").collect();
        let all_over = ours.iter().all(|run| run["outcome"].is_string());
        (ours.len() >= 3 && all_over).then_some(ours)
    })
    .await;
    let mut minutes: Vec<u64> =
        runs.iter().filter_map(|run| Some(run["created_at"].as_u64()? / 60_000)).collect();
    minutes.sort_unstable();
    let first = minutes.first().copied().unwrap_or_default();
    let all: Vec<u64> = (first..).take(minutes.len()).collect();
    world.table.figure("scheduled runs", minutes.len());
    world.table.check("one in each minute", minutes, all);
    let outcomes: std::collections::BTreeSet<_> =
        runs.iter().filter_map(|run| run["outcome"].as_str()).collect();
    world.table.check("how they ended", outcomes, std::collections::BTreeSet::from(["succeeded"]));
}
