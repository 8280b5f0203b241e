//! What the show is played with: a cluster, a private git server, a forge; and how runs are begun, waited for and looked at.

use std::path::Path;
use std::time::{Duration, Instant};

use fixtures::{FakeForge, PrivateGit, git};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Table, files, package};
use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::now_millis;
use crate::push::{self, Webhook};

/// The longest that anything is waited for: a whole run beside whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// The token of the git server and of the forge.
const TOKEN: &str = "a-token-of-the-show";
/// A secret of the repository.
pub(super) const DEPLOY_KEY: &str = "a secret of 24 letters.";
/// The name under which the statuses of pushes are told.
pub(super) const CONTEXT: &str = "troupe / project";

/// All of it.
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) git: PrivateGit,
    pub(super) forge: FakeForge,
    pub(super) table: Table,
    deliveries: usize,
}

/// A run that was begun.
pub(super) struct Begun {
    pub(super) run: String,
    pub(super) commit: String,
    /// Milliseconds since 1970.
    pub(super) at: u64,
}

impl World {
    /// Three nodes with Docker that know the repository, whose main branch has the project.
    pub(super) async fn start() -> Self {
        let mut table = Table::default();
        table.part("the project");
        let fetched = tempfile::tempdir().unwrap();
        let source = package::source(fetched.path());
        let version = package::said(&source, "dpkg-parsechangelog", &["-S", "Version"]);
        table.figure("lz4, as Debian has it", version.trim());
        let git = PrivateGit::start(&files::workflow(), "x-access-token", TOKEN).unwrap();
        copy(&source, &git.repo());
        git.commit(files::CORPUS, files::MAKE_CORPUS).unwrap();
        git.commit(files::SCRIPT, files::ROUNDTRIP).unwrap();
        let forge = FakeForge::start(TOKEN).unwrap();
        let cluster = Cluster::planned(&Plan::docker(3)).await;
        let body = json!({
            "clone_url": git.url(), "webhook_secret": push::SECRET, "token": TOKEN,
            "statuses": { "forge": "github", "api_url": forge.api_url("github"), "token": TOKEN },
        });
        let mut world = Self { cluster, git, forge, table, deliveries: 0 };
        world.change(Method::PUT, "/v1/repos/demo", &body).await;
        world.change(Method::PUT, "/v1/repos/demo/secrets/DEPLOY_KEY", &json!({ "value": DEPLOY_KEY })).await;
        for node in &world.cluster.nodes {
            node.get("/v1/repos/demo").await;
        }
        world
    }

    /// A node that runs.
    fn awake(&self) -> usize {
        self.cluster.nodes.iter().position(|node| node.runs()).expect("one runs")
    }

    /// Asks for a change, at whichever node runs, again while there is no leader.
    pub(super) async fn change(&mut self, method: Method, path: &str, body: &Value) -> Value {
        let node = &self.cluster.nodes[self.awake()];
        wait(format!("{method} {path} is done"), async || {
            let answer = node.request(method.clone(), path).json(body).send().await.ok()?;
            let status = answer.status();
            assert!(status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE, "{path}: {status}");
            if status.is_success() { answer.json().await.ok() } else { None }
        })
        .await
    }

    /// What a path shows at a node that runs.
    pub(super) async fn get(&self, path: &str) -> Value {
        let node = &self.cluster.nodes[self.awake()];
        wait(format!("{path} is shown"), async || node.try_get(path).await).await
    }

    /// All items of a list.
    pub(super) async fn all(&self, path: &str, filter: &str) -> Vec<Value> {
        let client = Client::of(&self.cluster.nodes[self.awake()]);
        wait(format!("{path} is shown"), async || client.all(path, filter).await).await
    }

    /// Commits a file, and tells the node of the push.
    pub(super) async fn push(&mut self, node: usize, path: &str, text: &str) -> Begun {
        let commit = self.git.commit(path, text).unwrap();
        let id = self.delivery_id();
        self.begin(node, commit.clone(), Webhook::push(&commit, &id)).await
    }

    /// An id as a forge gives it.
    pub(super) fn delivery_id(&mut self) -> String {
        self.deliveries += 1;
        format!("show-{}", self.deliveries)
    }

    /// Tells a node of something, and waits for the run that it becomes.
    pub(super) async fn begin(&self, node: usize, commit: String, webhook: Webhook) -> Begun {
        let at = now_millis();
        let delivery = webhook.accepted(&self.cluster.nodes[node]).await;
        let run = wait(format!("delivery {delivery} is a run"), async || {
            let seen = self.cluster.nodes[node].try_get(&format!("/v1/deliveries/{delivery}")).await?;
            Some(seen["runs"].get(0)?.as_str()?.to_owned())
        })
        .await;
        Begun { run, commit, at }
    }

    /// A run as it is once its end is known, and how many seconds after its webhook that was.
    pub(super) async fn end(&mut self, begun: &Begun) -> Value {
        let path = format!("/v1/runs/{}", begun.run);
        let seen = wait(format!("run {} has ended", begun.run), async || {
            Some(self.get(&path).await).filter(|seen| seen["outcome"].is_string())
        })
        .await;
        let took = seen["finished_at"].as_u64().unwrap_or_default().saturating_sub(begun.at);
        self.table.figure("from the webhook to the end of the run", format!("{:.1} s", took as f64 / 1000.0));
        seen
    }

    /// What a job of a run wrote in its last attempt.
    pub(super) async fn log(&self, job: &Value) -> String {
        let path = format!("/v1/attempts/{}/{}/log", id(job), job["attempts"]);
        let client = Client::of(&self.cluster.nodes[self.awake()]);
        let bytes = wait(format!("{path} is shown"), async || client.bytes(&path).await).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Stops new placements on a node, or allows them again.
    pub(super) async fn drain(&mut self, node: usize, drain: bool) {
        let path = format!("/v1/nodes/{}/drain", self.cluster.nodes[node].name);
        self.change(Method::POST, &path, &json!({ "drain": drain })).await;
    }

    /// The statuses that the forge was told of a commit under a name, in order, once the last one is this: each with where it
    /// leads.
    pub(super) async fn told(&self, begun: &Begun, context: &str, last: &str) -> Vec<(String, String)> {
        let of = || {
            let all = self.forge.told().into_iter();
            let ours = all.filter(|one| one.commit == begun.commit && one.context == context);
            ours.map(|one| (one.state, one.target_url)).collect::<Vec<_>>()
        };
        // What does not come is judged, not waited for as long as a run.
        let deadline = Instant::now() + PATIENCE / 20;
        while of().last().is_none_or(|(state, _)| state != last) && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        of()
    }
}

/// The jobs of a run that run somewhere: groups do not.
pub(super) fn jobs(run: &Value) -> Vec<&Value> {
    run["jobs"].as_array().into_iter().flatten().filter(|job| job["form"] == "job").collect()
}

/// A job by the beginning of its key; the builds' have the matrix behind it.
pub(super) fn named<'a>(run: &'a Value, name: &str) -> &'a Value {
    jobs(run)
        .into_iter()
        .find(|job| job["name"].as_str().is_some_and(|found| found.starts_with(name)))
        .unwrap_or(&Value::Null)
}

/// The id of a job.
pub(super) fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap_or_default()
}

/// What follows these words in a text, on their line.
pub(super) fn after<'a>(text: &'a str, words: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(words));
    found.map(|rest| rest.split_whitespace().next().unwrap_or_default()).unwrap_or_default()
}

/// Asks until there is an answer.
///
/// # Panics
/// When there is none for ten minutes.
pub(super) async fn wait<T>(what: String, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain until {what}", PATIENCE.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Its files beside ours; its own workflows ask for what is GitHub's alone.
fn copy(source: &Path, repo: &Path) {
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        if ![".github", ".git"].iter().any(|left_out| entry.file_name() == *left_out) {
            package::said(
                source,
                "cp",
                &["-R", crate::cluster::text(&entry.path()), crate::cluster::text(repo)],
            );
        }
    }
}

/// Commits onto a branch of its own, to which a pull request's ref points, as a forge has those of forks; the commit.
pub(super) fn fork(world: &World, number: u32, changes: &[(&str, &str)]) -> String {
    let repo = world.git.repo();
    let run = |args: &[&str]| git(&repo, args).unwrap();
    run(&["checkout", "-q", "-b", "of-a-fork"]);
    let commits: Vec<_> = changes.iter().map(|(path, text)| world.git.commit(path, text).unwrap()).collect();
    let last = commits.last().expect("a change").clone();
    run(&["update-ref", &format!("refs/pull/{number}/head"), &last]);
    run(&["checkout", "-q", "main"]);
    run(&["branch", "-q", "-D", "of-a-fork"]);
    last
}
