//! What Docker says of the containers of nodes, through its own command line: not through any code of ours.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

use crate::until;

/// The way to a Docker engine: by default the one of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Docker {
    /// Its socket, if it is not where this process finds it anyway.
    pub socket: Option<PathBuf>,
}

impl Docker {
    /// What a process needs in its environment to use this engine.
    #[must_use]
    pub fn environment(&self) -> Option<(&'static str, OsString)> {
        let socket = self.socket.as_ref()?;
        let mut host = OsString::from("unix://");
        host.push(socket);
        Some(("DOCKER_HOST", host))
    }

    /// Its command line.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args).envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// The containers of these nodes that run now.
    #[must_use]
    pub fn running(&self, nodes: &[String]) -> Vec<String> {
        let list = |node: &String| self.lines(&["ps", "-q", "--no-trunc", "--filter", &label(node)]);
        nodes.iter().flat_map(list).collect()
    }

    /// Those of them that stand still now.
    #[must_use]
    pub fn paused(&self, nodes: &[String]) -> Vec<String> {
        let paused = ["ps", "-q", "--no-trunc", "--filter", "status=paused", "--filter"];
        nodes.iter().flat_map(|node| self.lines(&[paused.as_slice(), &[&label(node)]].concat())).collect()
    }

    /// All containers of a node, each with its state.
    #[must_use]
    pub fn containers(&self, node: &str) -> Vec<String> {
        let format = r#"{{.State}} {{.Label "troupe.attempt"}}"#;
        self.lines(&["ps", "-a", "--filter", &label(node), "--format", format])
    }

    /// The networks of a node.
    #[must_use]
    pub fn networks(&self, node: &str) -> Vec<String> {
        self.lines(&["network", "ls", "-q", "--filter", &label(node)])
    }

    /// Removes every container and network of these nodes.
    pub fn remove_all(&self, nodes: &[String]) {
        for node in nodes {
            for id in self.lines(&["ps", "-aq", "--filter", &label(node)]) {
                self.lines(&["rm", "-f", &id]);
            }
            for id in self.networks(node) {
                self.lines(&["network", "rm", &id]);
            }
        }
    }

    /// Whether it answers now. Nobody else waits for that: one that starts may take its time.
    pub async fn answers(&self) -> bool {
        let mut command = tokio::process::Command::from(self.command(&["version"]));
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.status().await.is_ok_and(|status| status.success())
    }

    /// The lines that the command wrote; what it complains about is shown and is no reason to stop cleaning up.
    fn lines(&self, args: &[&str]) -> Vec<String> {
        let output = self.command(args).output().expect("docker is installed");
        if !output.status.success() {
            eprintln!("docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

fn label(node: &str) -> String {
    format!("label=troupe.node={node}")
}

/// Docker's own account of what becomes of containers, from the start of the watch. (Asked afterwards, Docker knows only the
/// last 256 events of everything on the machine.)
pub struct Watch {
    events: Child,
    seen: NamedTempFile,
}

impl Watch {
    /// Begins.
    ///
    /// # Panics
    /// When `docker` cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let seen = NamedTempFile::new().unwrap();
        let events = Command::new("docker")
            .args(["events", "--since", &now.to_string(), "--filter", "type=container"])
            .args(["--format", r#"{{.Action}} {{.ID}} {{index .Actor.Attributes "troupe.node"}}"#])
            .stdin(Stdio::null())
            .stdout(seen.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { events, seen }
    }

    /// The containers of these nodes that were created until `last` was removed, in order.
    pub async fn created(&self, nodes: &[String], last: &str) -> Vec<String> {
        let mut created = Vec::new();
        until(format!("container {last} is removed"), async || {
            let text = fs::read_to_string(self.seen.path()).unwrap();
            // The last line may not be whole.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let events: Vec<Vec<&str>> = whole.lines().map(|line| line.split(' ').collect()).collect();
            let of = |action: &str| {
                let ours =
                    |event: &&Vec<&str>| event[0] == action && nodes.iter().any(|node| event[2] == node);
                events.iter().filter(ours).map(|event| event[1].to_owned()).collect::<Vec<_>>()
            };
            created = of("create");
            of("destroy").iter().any(|id| id == last).then_some(())
        })
        .await;
        created
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.events.kill();
        let _ = self.events.wait();
    }
}
