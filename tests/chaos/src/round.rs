//! One run of chaos: a cluster, people at work, faults from a seed; then everything heals, and what came of it is judged.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixtures::{GitServer, git};
use futures::FutureExt as _;
use futures::future::join_all;

use crate::cluster::{Cluster, Plan};
use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::faults::{self, Class, Lane, MIN_FREE_MIB};
use crate::gather::gather;
use crate::history::{History, Nanos, Node};
use crate::now_nanos;
use crate::oracle::{Invariant, Verdict, Violation, judge};
use crate::push::register;
use crate::work::Kind;
use crate::workload::Workload;
use crate::world::{World, within};

/// Attempts at one time on each node, as `Plan` has it.
const SLOTS: usize = 2;
/// For the leader, and for the nodes: short, so that losses happen within a run.
const LEASES_MS: [u64; 2] = [5_000, 2_500];
/// MiB of each node's disk.
const DISK_MIB: u64 = 256;
/// The longest that people may take to end what they began.
const TO_END: Duration = Duration::from_secs(90);
/// The longest that Docker may take to tell of the last container's end.
const TO_TELL: Duration = Duration::from_secs(20);

/// What a run is to be like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides faults and work.
    pub seed: u64,
    /// 3 or 5, say.
    pub nodes: usize,
    /// How long faults come.
    pub length: Duration,
    /// Which do.
    pub classes: Vec<Class>,
    /// People at work.
    pub people: u64,
    /// Where the nodes' logs go when something does not hold.
    pub keep: Option<PathBuf>,
}

/// What came of a run.
pub struct Ended {
    /// All of it.
    pub history: History,
    /// What holds, and what does not.
    pub verdict: Verdict,
}

/// Runs it. A panic on the way is a violation like any other: what happened until then is judged all the same.
pub async fn run(settings: &Settings) -> Ended {
    let shared = Mutex::default();
    let ended = AssertUnwindSafe(whole(settings, &shared)).catch_unwind().await;
    let world = shared.lock().unwrap().take();
    let mut history = world.as_ref().map_or_else(History::default, |world| world.history().clone());
    history.ended = now_nanos();
    let mut verdict = judge(&history);
    if let Err(panic) = ended {
        verdict.violations.push(Violation {
            invariant: Invariant::EverythingEnds,
            found: format!("the run broke off: {}", words(&*panic)),
        });
    }
    if let (Some(world), Some(keep)) = (world, &settings.keep)
        && !verdict.violations.is_empty()
    {
        keep_logs(&*world.cluster.lock().await, keep);
    }
    Ended { history, verdict }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}

fn keep_logs(cluster: &Cluster, to: &Path) {
    for node in &cluster.nodes {
        let kept = fs::create_dir_all(to)
            .and_then(|()| fs::copy(node.log_file(), to.join(format!("{}.log", node.name))));
        if let Err(error) = kept {
            eprintln!("the log of {} cannot be kept in {}: {error}", node.name, to.display());
        }
    }
}

async fn whole(settings: &Settings, shared: &Mutex<Option<Arc<World>>>) {
    let engine = if settings.classes.contains(&Class::Engine) {
        Some(Engine::start().await.expect("an engine of its own, which the class `engine` takes"))
    } else {
        None
    };
    let docker = engine.as_ref().map(Engine::docker).unwrap_or_default();
    let evidence = Evidence::start(&docker);
    let plan = Plan {
        wires: true,
        shim: true,
        small_disks: settings.classes.contains(&Class::FullDisk).then_some(DISK_MIB),
        docker,
        raft: format!(", min_free_mib = {MIN_FREE_MIB}, log_segment_mib = 1"),
        more: format!("leases = {{ leader_ms = {}, node_ms = {} }}\n", LEASES_MS[0], LEASES_MS[1]),
        ..Plan::docker(settings.nodes)
    };
    let cluster = Cluster::planned(&plan).await;
    let git = repository();
    register(&cluster, &git).await;
    let node = |node: &crate::node::Node| Node {
        id: node.id().expect("it has begun"),
        name: node.name.clone(),
        slots: SLOTS,
    };
    let history = History {
        nodes: cluster.nodes.iter().map(node).collect(),
        lease_ms: LEASES_MS[0],
        booted: booted(),
        began: now_nanos(),
        ..History::default()
    };
    let world = Arc::new(World::new(cluster, engine, history));
    *shared.lock().unwrap() = Some(Arc::clone(&world));
    let work = Workload::new(settings.seed, git.head().expect("a commit"));
    phases(settings, &world, &work, &evidence).await;
}

async fn phases(settings: &Settings, world: &World, work: &Workload, evidence: &Evidence) {
    let watched = async {
        tokio::join!(world.watch_leaders(), world.watch_processes());
    };
    let course = async {
        disturb(settings, world, work).await;
        faults::heal(world).await;
        world.history().healed = now_nanos();
        work.resume_the_rest(world).await;
        work.leave_some(world).await;
        gather(world).await;
        // Those that were there to the end.
        *world.history().waits.entry("deaths".to_owned()).or_default() += world.clients.len() as u64;
        let told = async || {
            let containers = evidence.containers(&world.history().engine);
            containers
                .iter()
                .all(|container| container.started.is_none() || container.ended.is_some())
                .then_some(())
        };
        within(TO_TELL, told).await;
        let mut containers = evidence.containers(&world.history().engine);
        // Others may use the same engine.
        let nodes = world.history().nodes.clone();
        containers.retain(|container| nodes.iter().any(|node| node.id == container.node));
        world.history().containers = containers;
    };
    tokio::select! {
        () = watched => {}
        () = course => {}
    }
}

/// The faults and the people, until both have ended: the people a little later, for they want their answers.
async fn disturb(settings: &Settings, world: &World, work: &Workload) {
    let lanes = async {
        let lanes = Lane::ALL.map(|lane| {
            let planned = faults::plan(settings.seed, lane, &settings.classes, settings.length);
            Box::pin(follow(world, planned))
        });
        let [process, network, machine] = lanes;
        tokio::join!(process, network, machine, world.rest(settings.length));
        world.stop();
        faults::heal(world).await;
    };
    let people = async {
        join_all((0..settings.people).map(|number| work.person(world, number))).await;
    };
    let ((), people) = tokio::join!(lanes, tokio::time::timeout(settings.length + TO_END, people));
    if people.is_err() {
        world.history().unfinished.push(format!("clients still had no answers {TO_END:?} after the faults"));
    }
}

async fn follow(world: &World, planned: Vec<faults::Planned>) {
    let began = tokio::time::Instant::now();
    for fault in planned {
        world.rest((began + fault.at).saturating_duration_since(tokio::time::Instant::now())).await;
        if world.is_stopped() {
            return;
        }
        faults::act(world, &fault).await;
    }
}

/// A repository with a branch for each graph, all of one commit.
fn repository() -> GitServer {
    let path = |kind: Kind| format!(".github/workflows/{}.yml", kind.name());
    let server = GitServer::start(&Kind::Chain.workflow()).expect("git");
    // Its first workflow has a name of the fixture's.
    fs::remove_file(server.repo().join(".github/workflows/ci.yml")).expect("it was just written");
    for kind in Kind::GRAPHS {
        server.commit(&path(kind), &kind.workflow()).expect("git");
    }
    for kind in Kind::GRAPHS {
        git(&server.repo(), &["branch", kind.name()]).expect("git");
    }
    server
}

/// When the machine was started.
fn booted() -> Nanos {
    let text = fs::read_to_string("/proc/uptime").expect("Linux");
    let seconds: f64 = text.split(' ').next().and_then(|first| first.parse().ok()).expect("seconds");
    now_nanos() - (seconds * 1e9) as Nanos
}
