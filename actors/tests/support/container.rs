//! One attempt's directories and an executor on the real engine, with the image that scripts/base-image.sh makes.
#![allow(dead_code, reason = "shared by tests that use parts")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use actors::executor::{ContainerSpec, DockerExecutor, DockerOptions, Extras, Lease};
use actors::init_binary;
use domain::{AttemptId, Fence, JobId, NodeId, Resources, RunId};
use init::wire::{Order, Plan, Run, Work};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

pub const IMAGE: &str = "troupe/busybox:local";

/// One attempt's directories; what was made in the engine goes with it.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub node: NodeId,
    pub attempt: AttemptId,
    pub executor: DockerExecutor,
    images: Vec<String>,
}

pub fn docker(args: &[&str]) -> Result<Output> {
    Ok(Command::new("docker").args(args).output()?)
}

pub fn said(args: &[&str]) -> Result<String> {
    let out = docker(args)?;
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    out.status.success().then_some(()).ok_or(words)?;
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = format!("label=troupe.node={}", self.node);
        for (list, remove) in [
            (&["ps", "-aq", "--no-trunc"][..], &["rm", "-f"][..]),
            (&["network", "ls", "-q"], &["network", "rm"]),
            (&["volume", "ls", "-q"], &["volume", "rm"]),
        ] {
            let ids = said(&[list, &["--filter", &label]].concat()).unwrap_or_default();
            for id in ids.split_whitespace() {
                drop(docker(&[remove, &[id]].concat()));
            }
        }
        for image in &self.images {
            drop(docker(&["rmi", "-f", image]));
        }
    }
}

impl Bench {
    /// None, said aloud, when these tests are not wanted.
    pub fn new(node: u64, options: DockerOptions) -> Result<Option<Self>> {
        if std::env::var_os("TROUPE_NO_DOCKER").is_some() {
            println!("skipped: TROUPE_NO_DOCKER is set");
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        // Ids of their own, so that runs of this test beside each other do not meet.
        let node = NodeId(node << 48 | u64::from(std::process::id()));
        let attempt = AttemptId { job: JobId { run: RunId(u128::from(node.0)), index: 0 }, number: 1 };
        for sub in ["control", "workspace"] {
            fs::create_dir(dir.path().join(sub))?;
        }
        let fifo = Command::new("mkfifo").arg(dir.path().join("control/control")).status()?;
        assert!(fifo.success());
        let executor = DockerExecutor::connect_with(node, init_binary::install(dir.path())?, options)?;
        Ok(Some(Self { dir, node, attempt, executor, images: Vec::new() }))
    }

    /// An image that differs from the usual one by an instruction.
    pub fn image(&mut self, instruction: &str) -> Result<String> {
        let (name, from) = (format!("troupe/test-{}:local", self.node), said(&["create", IMAGE, "true"])?);
        let made = said(&["commit", "--change", instruction, &from, &name]);
        said(&["rm", &from])?;
        made?;
        self.images.push(name.clone());
        Ok(name)
    }

    pub fn spec(&self, image: &str, slot: u16) -> ContainerSpec {
        ContainerSpec {
            attempt: self.attempt,
            fence: Fence(7),
            node: self.node,
            image: image.to_owned(),
            control_dir: self.dir.path().join("control"),
            workspace: self.dir.path().join("workspace"),
            mounts: Vec::new(),
            env: BTreeMap::from([("GREETING".to_owned(), "hello $(x)".to_owned())]),
            resources: Resources { cpu_millis: 500, memory_mib: 64 },
            pids: 64,
            slot,
            extras: Extras::default(),
            lease: lease(),
        }
    }

    /// What init is to do: a script, and nothing after it.
    pub fn plan(&self, script: &str, grace_ms: u64) -> Result {
        let run = Run {
            argv: ["sh", "-e", "{0}"].map(str::to_owned).to_vec(),
            script: script.as_bytes().to_vec(),
            last: true,
            ..Run::default()
        };
        let order = Order { step: 0, stopping: false, timeout_ms: 0, work: Work::Run(run) };
        let workspace = "/workspace".to_owned();
        let plan = Plan { workspace, timeout_ms: 60_000, grace_ms, drain_ms: 200 };
        let control = self.dir.path().join("control");
        fs::write(control.join("plan"), plan.encode())?;
        fs::write(control.join(Order::file(1)), order.encode())?;
        Ok(())
    }
}

/// To start within the next hour.
pub fn lease() -> Lease {
    let until = Instant::now() + Duration::from_secs(3600);
    Lease { until: watch::channel(Some(until)).1, kill: CancellationToken::new() }
}
