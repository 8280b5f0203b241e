//! What the real engine says and does where the executor depends on it: words, timeouts, networks. Images are made from the
//! one that scripts/base-image.sh makes. `TROUPE_NO_DOCKER=1` skips these tests, visibly; without an engine they fail.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use actors::executor::{ContainerSpec, DockerExecutor, DockerOptions, Error, Executor};
use actors::init_binary;
use domain::{AttemptId, Fence, JobId, NodeId, Resources, RunId};
use init::wire::{Condition, Plan, Shell, Step, StepKind};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const IMAGE: &str = "troupe/busybox:local";

/// One attempt's directories; what was made in the engine goes with it.
struct Bench {
    dir: tempfile::TempDir,
    node: NodeId,
    attempt: AttemptId,
    executor: DockerExecutor,
    images: Vec<String>,
}

fn docker(args: &[&str]) -> Result<Output> {
    Ok(Command::new("docker").args(args).output()?)
}

fn said(args: &[&str]) -> Result<String> {
    let out = docker(args)?;
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    out.status.success().then_some(()).ok_or(words)?;
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = format!("label=troupe.node={}", self.node);
        for (list, remove) in
            [(["ps", "-aq", "--no-trunc"], ["rm", "-f"]), (["network", "ls", "-q"], ["network", "rm"])]
        {
            let ids = said(&[&list[..], &["--filter", &label]].concat()).unwrap_or_default();
            for id in ids.split_whitespace() {
                drop(docker(&[&remove[..], &[id]].concat()));
            }
        }
        for image in &self.images {
            drop(docker(&["rmi", "-f", image]));
        }
    }
}

impl Bench {
    /// None, said aloud, when these tests are not wanted.
    fn new(node: u64, options: DockerOptions) -> Result<Option<Self>> {
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
    fn image(&mut self, instruction: &str) -> Result<String> {
        let (name, from) = (format!("troupe/test-{}:local", self.node), said(&["create", IMAGE, "true"])?);
        let made = said(&["commit", "--change", instruction, &from, &name]);
        said(&["rm", &from])?;
        made?;
        self.images.push(name.clone());
        Ok(name)
    }

    fn spec(&self, image: &str, slot: u16) -> ContainerSpec {
        ContainerSpec {
            attempt: self.attempt,
            fence: Fence(7),
            node: self.node,
            image: image.to_owned(),
            control_dir: self.dir.path().join("control"),
            workspace: self.dir.path().join("workspace"),
            read_only: Vec::new(),
            env: BTreeMap::new(),
            resources: Resources { cpu_millis: 500, memory_mib: 64 },
            pids: 64,
            slot,
        }
    }

    fn plan(&self, script: &str, grace_ms: u64) -> Result {
        let step = Step {
            kind: StepKind::Run {
                shell: Shell::Sh,
                script: script.as_bytes().to_vec(),
                cwd: "/workspace".to_owned(),
            },
            env: Vec::new(),
            condition: Condition::Success,
            timeout_ms: 0,
            continue_on_error: false,
        };
        let plan = Plan {
            workspace: "/workspace".to_owned(),
            timeout_ms: 60_000,
            grace_ms,
            drain_ms: 200,
            steps: vec![step],
        };
        fs::write(self.dir.path().join("control/plan"), plan.encode())?;
        Ok(())
    }
}

#[tokio::test]
async fn an_image_whose_user_does_not_exist_is_refused_with_the_engines_words() -> Result {
    let Some(mut bench) = Bench::new(21, DockerOptions::default())? else { return Ok(()) };
    bench.plan("true", 500)?;
    let image = bench.image("USER ghost")?;
    bench.executor.ensure_image(&image).await?;
    // However often it is asked: the container that was made and did not start is there by then.
    for _ in 0..2 {
        let error = bench.executor.start(bench.spec(&image, 0)).await.err().ok_or("it started")?;
        let refused =
            matches!(&error, Error::Refused { why, .. } if why.contains("unable to find user ghost"));
        assert!(refused, "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn limits_that_cannot_be_are_refused_with_the_engines_words() -> Result {
    let Some(bench) = Bench::new(22, DockerOptions::default())? else { return Ok(()) };
    bench.plan("true", 500)?;
    let resources = Resources { cpu_millis: 500, memory_mib: 1 };
    let error = bench.executor.start(ContainerSpec { resources, ..bench.spec(IMAGE, 0) }).await;
    assert!(matches!(&error, Err(Error::Refused { why, .. }) if why.contains("emory limit")), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn an_image_that_is_gone_again_is_not_the_jobs_fault() -> Result {
    let Some(bench) = Bench::new(23, DockerOptions::default())? else { return Ok(()) };
    bench.plan("true", 500)?;
    let error = bench.executor.start(bench.spec("troupe/never-there:local", 0)).await;
    assert!(matches!(&error, Err(Error::Machine { why, .. }) if why.contains("No such image")), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn an_end_is_waited_for_longer_than_an_answer_and_so_is_a_grace() -> Result {
    let options = DockerOptions { answer: Duration::from_secs(1), ..DockerOptions::default() };
    let Some(bench) = Bench::new(24, options)? else { return Ok(()) };
    // It is told to end and takes its time, which is more than the patience with an answer.
    bench.plan("trap '' TERM; echo > ready; while true; do sleep 0.1; done", 3000)?;
    // Made by one with the usual patience, which is found again by one with little.
    let patient = DockerExecutor::connect(bench.node, init_binary::install(bench.dir.path())?)?;
    let id = patient.start(bench.spec(IMAGE, 0)).await?;
    let waits = bench.executor.wait(&id);
    let ready = bench.dir.path().join("workspace/ready");
    let stops = async {
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        bench.executor.stop(&id, Duration::from_secs(60)).await
    };
    let (exit, stopped) =
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(waits, stops) }).await?;
    stopped?;
    assert_eq!(exit?.code, 1, "init itself ended in order");
    Ok(())
}

#[tokio::test]
async fn a_container_says_its_slot_and_a_network_that_was_removed_is_made_again() -> Result {
    let Some(bench) = Bench::new(25, DockerOptions::default())? else { return Ok(()) };
    bench.plan("true", 500)?;
    // Made and not started: its node died in between, and then someone removed the network, which nobody used.
    let network = format!("troupe-{}-slot-3", bench.node);
    said(&["network", "create", "--label", &format!("troupe.node={}", bench.node), &network])?;
    let labels =
        [("node", bench.node.to_string()), ("attempt", bench.attempt.to_string()), ("fence", "7".to_owned())]
            .map(|(key, value)| format!("--label=troupe.{key}={value}"));
    let name = format!("--name=troupe-{}", bench.attempt).replace('/', "-");
    let net = format!("--network={network}");
    let made: Vec<&str> =
        ["create", &name, &net].into_iter().chain(labels.iter().map(String::as_str)).collect();
    said(&[&made[..], &[IMAGE, "true"]].concat())?;
    said(&["network", "rm", &network])?;
    let mut tries = 0;
    let id = loop {
        match bench.executor.start(bench.spec(IMAGE, 3)).await {
            Ok(id) => break id,
            Err(Error::Unreachable(_)) if tries < 2 => tries += 1,
            Err(error) => return Err(error.into()),
        }
    };
    assert_eq!(bench.executor.wait(&id).await?.code, 0);
    let found = bench.executor.list().await?;
    assert_eq!(found.len(), 1, "{found:?}");
    if tries > 0 {
        assert_eq!(found[0].slot, Some(3), "made anew by the executor");
    }
    bench.executor.remove(&id).await?;
    let id = bench.executor.start(bench.spec(IMAGE, 3)).await?;
    let found = bench.executor.list().await?;
    assert_eq!(found.iter().map(|f| (f.id.clone(), f.slot)).collect::<Vec<_>>(), [(id, Some(3))]);
    Ok(())
}
