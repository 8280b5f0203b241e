//! Commit statuses against a forge that speaks the real endpoints and fails when it is told to. The state is one copy in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::artifacts::Blobs;
use actors::replica::{Leadership, NodeAddress, Replica};
use actors::root::{self, Handle, Parts};
use actors::runner::{Sources, reaper};
use actors::supervisor::Policy;
use actors::vault::{Purpose, Vault};
use actors::workspace::Mirrors;
use actors::{gateway, queue, runner};
use domain::{
    Access, AttemptId, BootId, Capacity, CloneAs, Command, DeliveryId, DeliveryState, Event, EventKind,
    JobId, Labels, NewJob, NewRun, NodeFacts, NodeId, Outcome, Reply, RepoId, Resources, RunId, Sealed,
    SpecBytes, StatusApi,
};
use fixtures::{FakeForge, Told, Trouble};
use support::{Bench, BenchWork, OneCopy, PATIENCE};

const ME: NodeId = NodeId(7);
/// A node that is registered and does nothing: deliveries are given to it.
const OTHER: NodeId = NodeId(8);
const TOKEN: &str = "t0ken-of-the-forge";

struct World {
    copy: Arc<OneCopy>,
    bench: Arc<Bench>,
    vault: Vault,
    dir: tempfile::TempDir,
    node: Option<Handle>,
}

fn facts(node: NodeId, name: &str) -> NodeFacts {
    NodeFacts {
        node,
        name: name.parse().unwrap(),
        boot: BootId(1),
        cluster_addr: "127.0.0.1:1".to_owned(),
        http_addr: "127.0.0.1:2".to_owned(),
        labels: ["linux"].into_iter().collect(),
        capacity: Capacity { resources: Resources { cpu_millis: 4000, memory_mib: 4000 }, slots: 2 },
        version: "test".to_owned(),
    }
}

fn parts(copy: &Arc<OneCopy>, bench: &Arc<Bench>, dir: &Path, vault: &Vault, patience: Duration) -> Parts {
    let statuses = queue::outbox::Options {
        runs_url: "https://ci.example.com/v1/runs/".to_owned(),
        patience,
        vault: vault.clone(),
    };
    Parts {
        replica: Arc::clone(copy) as _,
        work: Arc::new(BenchWork(Arc::clone(bench))),
        sources: Sources { mirrors: Mirrors::new(dir.join("mirrors"), Duration::from_secs(5)) },
        wire: None,
        bulk: None,
        gateway: gateway::Options::new(ME, "n1".parse().unwrap(), BootId(1)),
        queue: queue::Options {
            reconcile: Duration::from_millis(20),
            outbox: statuses,
            ..queue::Options::default()
        },
        runner: runner::Options {
            facts: facts(ME, "n1"),
            attempts: dir.join("attempts"),
            heartbeat: Duration::from_millis(20),
            first_lease: Duration::from_secs(10),
            margin: Duration::from_millis(100),
            reaper: reaper::Options::new(Blobs::new(dir.join("blobs"))),
        },
        policy: Policy { backoff_min: Duration::from_millis(1), ..Policy::default() },
    }
}

impl World {
    /// A leader whose requests may take so long.
    async fn new(patience: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "ab".repeat(32)).unwrap();
        let vault = Vault::read(&key).unwrap();
        let (copy, bench) = (OneCopy::led_by(ME), Arc::<Bench>::default());
        let node = root::start(parts(&copy, &bench, dir.path(), &vault, patience)).await.unwrap();
        Self { copy, bench, vault, dir, node: Some(node) }
    }

    fn repo(&self, number: u128, kind: &str, forge: &FakeForge) {
        let name = format!("team/app{number}");
        let token = Sealed(self.vault.seal(&name, Purpose::Statuses, TOKEN).unwrap().into());
        let status = StatusApi { forge: kind.to_owned(), api_url: forge.api_url(kind), token };
        let put = Command::PutRepo {
            id: RepoId(number),
            name: name.parse().unwrap(),
            clone_url: format!("https://git.example/{name}.git"),
            webhook_secret: Sealed(Arc::from([0u8; 8])),
            labels: Labels::default(),
            access: Access { clone: CloneAs::Nobody, status: Some(status) },
            approve_forks: true,
            over: None,
        };
        assert!(matches!(self.copy.apply(put), Reply::Repo { .. }));
    }

    /// A push to a repository has become a run of one job, which waits for approval if that is wanted. Its job.
    fn push(&self, repo: u128, run: u128, needs_approval: bool) -> JobId {
        let run = RunId(run);
        self.expand(repo, DeliveryId(run.0), vec![new_run(run)], needs_approval);
        JobId { run, index: 0 }
    }

    /// A push has become these runs.
    fn expand(&self, repo: u128, delivery: DeliveryId, runs: Vec<NewRun>, from_fork: bool) {
        self.copy.apply(Command::RegisterNode(NodeFacts {
            capacity: Capacity { slots: 0, ..facts(OTHER, "n2").capacity },
            ..facts(OTHER, "n2")
        }));
        let event = Event { commit: "c".repeat(40), from_fork, ..Event::of(EventKind::Push) };
        self.copy.apply(Command::AcceptDelivery {
            id: delivery,
            repo: RepoId(repo),
            key: String::new(),
            digest: [delivery.0 as u8; 32],
            event,
            only_path: String::new(),
        });
        self.copy.apply(Command::AssignExpansion { delivery, node: OTHER });
        let DeliveryState::Expanding { fence, .. } =
            self.copy.state().deliveries.get(&delivery).unwrap().state
        else {
            panic!("it is not given to a node");
        };
        let commit = "c".repeat(40);
        let (git_ref, payload) = (String::new(), String::new());
        let expand = Command::ExpandDelivery {
            delivery,
            fence,
            commit,
            git_ref,
            payload,
            runs,
            triggers: None,
            numbers_from: None,
            reason: String::new(),
        };
        assert_eq!(self.copy.apply(expand), Reply::Done);
    }

    async fn end(&self, job: JobId, outcome: Outcome) {
        let running = |s: &domain::ClusterState| s.jobs.get(&job).is_some_and(|j| j.started_at.0 > 0);
        self.copy.until("the job runs", running).await;
        self.bench.end(AttemptId { job, number: 1 }, outcome);
    }

    async fn empty(&self) {
        self.copy.until("the outbox is empty", |s| s.outbox.is_empty()).await;
    }

    async fn stop(mut self) {
        self.node.take().unwrap().shutdown().await;
        drop(self.dir);
    }
}

fn new_run(id: RunId) -> NewRun {
    let job = NewJob {
        labels: ["linux"].into_iter().collect(),
        resources: Resources { cpu_millis: 100, memory_mib: 10 },
        retry: domain::Retry::of_losses(3),
        ..NewJob::named("build")
    };
    NewRun::of(id, "ci", vec![job], vec![SpecBytes(Arc::from([1u8]))])
}

/// The fixture blocks.
async fn told(forge: &Arc<FakeForge>, wanted: impl Fn(&[Told], usize) -> bool + Send + 'static) -> Vec<Told> {
    let forge = Arc::clone(forge);
    tokio::task::spawn_blocking(move || forge.wait(PATIENCE, wanted)).await.unwrap().unwrap()
}

fn states(told: &[Told]) -> Vec<&str> {
    told.iter().map(|one| one.state.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_forge_is_told_in_its_own_words_and_in_order() {
    let forge = Arc::new(FakeForge::start(TOKEN).unwrap());
    let world = World::new(PATIENCE).await;
    for (number, kind, seen_as, words) in [
        (1, "github", "github", ["pending", "pending", "success"].as_slice()),
        (2, "gitea", "gitea", &["pending", "pending", "success"]),
        (3, "forgejo", "gitea", &["pending", "pending", "success"]),
        (4, "bitbucket", "bitbucket", &["INPROGRESS", "INPROGRESS", "SUCCESSFUL"]),
        (5, "bitbucket-data-center", "bitbucket-data-center", &["INPROGRESS", "INPROGRESS", "SUCCESSFUL"]),
        (6, "gitlab", "gitlab", &["pending", "running", "success"]),
    ] {
        world.repo(number, kind, &forge);
        let of = format!("team/app{number}");
        let seen = |told: Vec<Told>| told.into_iter().filter(|one| one.repository == of).collect::<Vec<_>>();
        let ended = {
            let of = of.clone();
            move |told: &[Told], word: &str| told.iter().any(|one| one.repository == of && one.state == word)
        };
        let job = world.push(number, number * 10, true);
        let (first, last) = (words[0], *words.last().unwrap());
        let begun = ended.clone();
        let now = seen(told(&forge, move |told, _| begun(told, first)).await);
        assert_eq!(now[0].description, "waits for approval");
        world.empty().await;
        world.copy.apply(Command::ApproveRun { run: job.run, sender: "ann".to_owned() });
        world.empty().await;
        if kind == "gitlab" {
            let runs = ended.clone();
            told(&forge, move |told, _| runs(told, "running")).await;
        }
        world.end(job, Outcome::Succeeded).await;
        let all = seen(told(&forge, move |told, _| ended(told, last)).await);
        // Only GitLab tells apart what waits and what runs: what the approval says may be that it runs already.
        let mut said = states(&all);
        if kind == "gitlab" {
            said.dedup();
        }
        assert_eq!(said, words, "{kind}");
        assert_ne!(all[1].description, all[0].description, "{kind}: it waits for approval no more");
        for one in &all {
            assert_eq!((one.forge, one.context.as_str()), (seen_as, "troupe / ci"));
            assert_eq!(
                (one.commit.len(), one.target_url.clone()),
                (40, format!("https://ci.example.com/v1/runs/{}", job.run))
            );
        }
        world.empty().await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_again_and_what_is_never_taken_is_given_up() {
    let forge = Arc::new(FakeForge::start(TOKEN).unwrap());
    let world = World::new(PATIENCE).await;
    world.repo(1, "github", &forge);
    let job = world.push(1, 10, false);
    told(&forge, |told, _| !told.is_empty()).await;
    world.empty().await;
    forge.fail(&[Trouble::Code(500), Trouble::Limited(1), Trouble::Lost]);
    world.end(job, Outcome::Failed).await;
    let all = told(&forge, |told, _| told.iter().filter(|one| one.state == "failure").count() == 2).await;
    // What was taken without a word that it was is told again.
    assert_eq!(states(&all), ["pending", "failure", "failure"], "{all:#?}");
    assert!(all[2].description.contains("build"), "{all:#?}");
    world.empty().await;
    assert_eq!(forge.asked(), 5);
    // A token that is not accepted is not tried again, and does not hold the next run.
    forge.believe("another");
    let job = world.push(1, 11, false);
    world.end(job, Outcome::Succeeded).await;
    world
        .copy
        .until("the run is over", |s| s.runs.get(&job.run).is_some_and(|run| run.outcome.is_some()))
        .await;
    world.empty().await;
    // A redirect is not followed, and a flood is not read.
    forge.believe(TOKEN);
    forge.fail(&[Trouble::Elsewhere, Trouble::Flood]);
    let before = forge.asked();
    world.push(1, 12, true);
    told(&forge, move |_, asked| asked == before + 1).await;
    world.empty().await;
    let job = world.push(1, 13, false);
    world.end(job, Outcome::Succeeded).await;
    let all = told(&forge, |told, _| told.iter().any(|one| one.state == "success")).await;
    assert!(all.last().unwrap().target_url.ends_with(&job.run.to_string()), "{all:#?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_hangs_holds_neither_another_one_nor_a_build() {
    let (hangs, answers) =
        (Arc::new(FakeForge::start(TOKEN).unwrap()), Arc::new(FakeForge::start(TOKEN).unwrap()));
    hangs.fail(&[Trouble::Silence; 1000]);
    let world = World::new(PATIENCE * 10).await;
    for number in 1..=10 {
        world.repo(number, "github", &hangs);
        world.push(number, number, true);
    }
    told(&hangs, |_, asked| asked == 4).await;
    world.repo(50, "github", &answers);
    let job = world.push(50, 50, false);
    world.end(job, Outcome::Succeeded).await;
    told(&answers, |told, _| told.iter().any(|one| one.state == "success")).await;
    assert_eq!(hangs.asked(), 4, "so many requests at one time go to one server");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_tells_what_this_one_could_not() {
    let forge = Arc::new(FakeForge::start(TOKEN).unwrap());
    forge.fail(&[Trouble::Silence]);
    let world = World::new(PATIENCE * 10).await;
    world.repo(1, "gitlab", &forge);
    world.push(1, 1, true);
    told(&forge, |_, asked| asked == 1).await;
    world.copy.leadership.send_replace(Leadership { term: 2, leader: None, is_me: false });
    let leader = Some((ME.0, NodeAddress::default()));
    world.copy.leadership.send_replace(Leadership { term: 3, leader, is_me: true });
    let all = told(&forge, |told, _| !told.is_empty()).await;
    assert_eq!(states(&all), ["pending"]);
    world.empty().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_opened_is_tried_again_and_never_sent() {
    let forge = Arc::new(FakeForge::start(TOKEN).unwrap());
    let world = World::new(PATIENCE).await;
    world.repo(1, "github", &forge);
    let mut repo = world.copy.state().repos.get(&RepoId(1)).unwrap().clone();
    // Of another repository.
    let token = Sealed(world.vault.seal("other", Purpose::Statuses, TOKEN).unwrap().into());
    repo.access.status.as_mut().unwrap().token = token;
    world.copy.apply(Command::PutRepo {
        id: RepoId(1),
        name: repo.name.clone(),
        clone_url: repo.clone_url.clone(),
        webhook_secret: repo.webhook_secret.clone(),
        labels: repo.labels.clone(),
        access: repo.access.clone(),
        approve_forks: false,
        over: None,
    });
    let sealed = world.push(1, 1, true);
    // Another repository's is told meanwhile.
    world.repo(2, "github", &forge);
    world.push(2, 2, true);
    let all = told(&forge, |told, _| !told.is_empty()).await;
    assert!(all.iter().all(|one| one.repository == "team/app2"), "{all:#?}");
    assert!(world.copy.state().outbox.contains(&sealed.run));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_of_one_name_have_a_status_each() {
    let forge = Arc::new(FakeForge::start(TOKEN).unwrap());
    let world = World::new(PATIENCE).await;
    world.repo(1, "github", &forge);
    let at = |id: u128, path: &str| NewRun { path: path.to_owned(), ..new_run(RunId(id)) };
    world.expand(1, DeliveryId(9), vec![at(1, "a.yml"), at(2, "b.yml")], true);
    let told = told(&forge, |told, _| told.len() >= 2).await;
    let mut contexts: Vec<_> = told.iter().map(|one| one.context.clone()).collect();
    contexts.sort();
    contexts.dedup();
    assert_eq!(contexts, ["troupe / a.yml", "troupe / b.yml"]);
    world.stop().await;
}
