//! What Docker says of the containers of nodes, through its own command line: not through any code of ours.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

use crate::until;

/// The containers of these nodes that run now.
#[must_use]
pub fn running(nodes: &[String]) -> Vec<String> {
    let list = |node: &String| docker(&["ps", "-q", "--no-trunc", "--filter", &label(node)]);
    nodes.iter().flat_map(list).collect()
}

/// The containers of these nodes that stand still now.
#[must_use]
pub fn paused(nodes: &[String]) -> Vec<String> {
    let paused = ["ps", "-q", "--no-trunc", "--filter", "status=paused", "--filter"];
    nodes.iter().flat_map(|node| docker(&[paused.as_slice(), &[&label(node)]].concat())).collect()
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

/// Removes every container and network of these nodes.
pub fn remove_all(nodes: &[String]) {
    for node in nodes {
        for id in docker(&["ps", "-aq", "--filter", &label(node)]) {
            docker(&["rm", "-f", &id]);
        }
        for id in docker(&["network", "ls", "-q", "--filter", &label(node)]) {
            docker(&["network", "rm", &id]);
        }
    }
}

fn label(node: &str) -> String {
    format!("label=troupe.node={node}")
}

/// The lines that the command wrote; what it complains about is shown and is no reason to stop cleaning up.
fn docker(args: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(args).output().expect("docker is installed");
    if !output.status.success() {
        eprintln!("docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
