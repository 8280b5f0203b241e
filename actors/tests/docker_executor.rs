//! The Docker executor with a real engine and the image that scripts/base-image.sh makes (bad-input rows 37, 40, 41).
//! `TROUPE_NO_DOCKER=1` skips these tests, visibly; without an engine they fail.

#[path = "support/container.rs"]
mod container;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use actors::executor::{ContainerSpec, DockerOptions, Error, Executor, FoundState, Lease};
use actors::logs::{Content, Event, Frame, LogStore};
use container::{Bench, IMAGE, Result, lease};
use domain::Fence;
use init::wire::{FrameKind, Outcome};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl Bench {
    /// Everything that init wrote: the log's text, and the other frames.
    fn log(&self) -> Result<(String, Vec<FrameKind>)> {
        let logs = LogStore::new(self.dir.path().join("attempts"), 1_000_000);
        fs::create_dir_all(logs.attempt_dir(self.attempt))?;
        let (spool, mut events) = (self.dir.path().join("control/spool"), Vec::new());
        let mut copier = logs.copier(self.attempt, &spool, 9, None, &mut |event| events.push(event))?;
        loop {
            let pumped = copier.pump()?;
            events.extend(pumped.events);
            if !pumped.progressed {
                break;
            }
        }
        let bytes = fs::read(logs.attempt_dir(self.attempt).join("log"))?;
        let (mut at, mut text) = (0, String::new());
        while let Some((frame, len)) = Frame::decode(&bytes[at..]) {
            at += len;
            if let Content::Output(_, output) = frame.content {
                text.push_str(&String::from_utf8_lossy(&output));
            }
        }
        let kind = |event| if let Event::Told(frame) = event { Some(frame.kind) } else { None };
        Ok((text, events.into_iter().filter_map(kind).collect()))
    }

    fn inspect(&self, id: &str) -> Result<serde_json::Value> {
        let out = Command::new("docker").args(["inspect", id]).output()?;
        let all: serde_json::Value = serde_json::from_slice(&out.stdout)?;
        Ok(all[0].clone())
    }
}

/// How its one order ended.
fn outcome(events: &[FrameKind]) -> Option<Outcome> {
    events.iter().find_map(|kind| match kind {
        FrameKind::OrderOver { outcome, .. } => Some(*outcome),
        _ => None,
    })
}

#[tokio::test]
async fn a_job_runs_and_its_log_and_exit_code_are_kept() -> Result {
    let Some(bench) = Bench::new(1, DockerOptions::default())? else { return Ok(()) };
    bench.executor.ensure_image(IMAGE).await?;
    bench.plan("echo \"$GREETING\"; pwd; echo made > file; cat file; exit 3", 500)?;
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    let exit = bench.executor.wait(&id).await?;
    assert_eq!((exit.code, exit.oom_killed), (1, false), "{exit:?}");
    let (text, events) = bench.log()?;
    assert_eq!(text, "hello $(x)\n/workspace\nmade\n");
    let codes = events.iter().filter_map(|kind| match kind {
        FrameKind::OrderOver { exit_code, .. } => Some(*exit_code),
        _ => None,
    });
    assert_eq!(codes.collect::<Vec<_>>(), [Some(3)]);
    assert_eq!(outcome(&events), Some(Outcome::Failed));
    // The same attempt again finds what has ended, and does not run it twice.
    assert_eq!(bench.executor.start(bench.spec(IMAGE, 0)).await?, id);
    let found = bench.executor.list().await?;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].attempt, found[0].fence, found[0].state),
        (bench.attempt, Fence(7), FoundState::Ended)
    );
    bench.executor.remove(&id).await?;
    bench.executor.remove(&id).await?;
    assert!(bench.executor.list().await?.is_empty());
    assert!(matches!(bench.executor.wait(&id).await, Err(Error::Gone(_))));
    Ok(())
}

#[tokio::test]
async fn a_container_has_the_safe_defaults_and_no_way_to_the_engine() -> Result {
    let Some(bench) = Bench::new(2, DockerOptions::default())? else { return Ok(()) };
    bench.plan(
        "ls /var/run/docker.sock /run/docker.sock 2>/dev/null || true; id -u; grep CapEff /proc/self/status",
        500,
    )?;
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    bench.executor.wait(&id).await?;
    let seen = bench.inspect(&id.0)?;
    let host = &seen["HostConfig"];
    let expected = serde_json::json!({
        "Privileged": false, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "PidsLimit": 64,
        "Memory": 64 << 20, "MemorySwap": 64 << 20, "NanoCpus": 500_000_000, "IpcMode": "private", "Init": true,
        "PidMode": "", "UTSMode": "", "UsernsMode": "",
    });
    for (name, value) in expected.as_object().ok_or("not a map")? {
        assert_eq!(&host[name], value, "{name}");
    }
    assert_eq!(host["LogConfig"]["Type"], "local");
    assert_eq!(host["NetworkMode"], format!("troupe-{}-slot-0", bench.node));
    assert_eq!(host["CapAdd"].as_array().map(Vec::len), Some(5));
    assert!(host["Devices"].as_array().is_none_or(Vec::is_empty));
    let binds: Vec<_> =
        host["Binds"].as_array().ok_or("no binds")?.iter().filter_map(|b| b.as_str()).collect();
    assert_eq!(binds.len(), 3, "{binds:?}");
    assert!(binds.iter().all(|bind| !bind.contains("docker.sock")));
    let (text, _) = bench.log()?;
    // CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID: bits 0, 1, 3, 6, 7.
    assert_eq!(text, "0\nCapEff:\t00000000000000cb\n");
    Ok(())
}

#[tokio::test]
async fn networks_of_slots_that_are_no_more_are_removed_and_those_in_use_stay() -> Result {
    let Some(bench) = Bench::new(12, DockerOptions::default())? else { return Ok(()) };
    let networks = || -> Result<Vec<String>> {
        let label = format!("label=troupe.node={}", bench.node);
        let out = Command::new("docker")
            .args(["network", "ls", "--format", "{{.Name}}", "--filter", &label])
            .output()?;
        let mut names: Vec<_> = String::from_utf8(out.stdout)?.lines().map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    };
    let name = |slot| format!("troupe-{}-slot-{slot}", bench.node);
    bench.plan("until test -e over; do sleep 0.1; done", 60_000)?;
    let id = bench.executor.start(ContainerSpec { slot: 3, ..bench.spec(IMAGE, 0) }).await?;
    bench.executor.forget_slots(2).await?;
    assert_eq!(networks()?, [name(3)], "a container runs in it");
    fs::write(bench.dir.path().join("workspace/over"), "")?;
    bench.executor.wait(&id).await?;
    bench.executor.remove(&id).await?;
    bench.executor.forget_slots(4).await?;
    assert_eq!(networks()?, [name(3)], "it is still one of the slots");
    bench.executor.forget_slots(3).await?;
    assert!(networks()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_step_that_ignores_the_request_to_end_is_killed() -> Result {
    let Some(bench) = Bench::new(3, DockerOptions::default())? else { return Ok(()) };
    bench.plan("trap '' TERM; echo ready > ready; while true; do sleep 1; done", 500)?;
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    let ready: PathBuf = bench.dir.path().join("workspace/ready");
    tokio::time::timeout(Duration::from_secs(60), async {
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    bench.executor.stop(&id, Duration::from_secs(30)).await?;
    let exit = bench.executor.wait(&id).await?;
    assert_eq!(exit.code, 1, "init itself ended in order: {exit:?}");
    let (_, events) = bench.log()?;
    assert_eq!(outcome(&events), Some(Outcome::Cancelled));
    Ok(())
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_said_with_the_engines_words() -> Result {
    let Some(bench) = Bench::new(4, DockerOptions::default())? else { return Ok(()) };
    // Nothing listens there: a registry that is down.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let image = format!("127.0.0.1:{port}/absent:1");
    let error = bench.executor.ensure_image(&image).await.err().ok_or("an absent image was had")?;
    assert!(
        matches!(&error, Error::ImageMissing { image: named, why } if *named == image && !why.is_empty()),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_job_that_takes_more_memory_than_it_asked_for_is_killed_and_told_why() -> Result {
    let Some(bench) = Bench::new(5, DockerOptions::default())? else { return Ok(()) };
    bench.plan("dd if=/dev/zero of=/dev/null bs=200M count=1", 500)?;
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    bench.executor.wait(&id).await?;
    let (_, events) = bench.log()?;
    let signals = events.iter().filter_map(|kind| match kind {
        FrameKind::OrderOver { exit_code, signal, .. } => Some((*exit_code, *signal)),
        _ => None,
    });
    let killed: Vec<_> = signals.collect();
    assert!(matches!(killed.as_slice(), [(Some(137), _) | (_, Some(9))]), "{killed:?}");
    assert_eq!(outcome(&events), Some(Outcome::Failed));
    Ok(())
}

/// An image of these files, `(path, bytes)`, as `docker import` makes it with some changes; gone when this is dropped.
struct Image(String);

impl Image {
    fn import(name: &str, files: &[(&str, &[u8])], change: &str) -> Result<Self> {
        use std::io::Write as _;
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir()?;
        for (path, bytes) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().ok_or("no parent")?)?;
            fs::write(&file, bytes)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        let tar = Command::new("tar").arg("-C").arg(dir.path()).args(["-c", "."]).output()?;
        let name = format!("troupe/test-{name}:{}", std::process::id());
        let mut import = Command::new("docker")
            .args(["import", "--change", change, "-", &name])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()?;
        import.stdin.take().ok_or("no stdin")?.write_all(&tar.stdout)?;
        assert!(import.wait()?.success());
        Ok(Self(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

/// The beginning of a program for another processor than any that runs these tests (Sun's, of 1992).
const SPARC: &[u8] = b"\x7fELF\x01\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x34";

#[tokio::test]
async fn an_image_in_which_nothing_runs_is_said_and_the_next_job_goes_on() -> Result {
    let Some(bench) = Bench::new(6, DockerOptions::default())? else { return Ok(()) };
    let other = [SPARC, &[0; 4096]].concat();
    for (name, files, change, said) in [
        ("empty", &[][..], "ENV A=b", "No such file"),
        ("sparc", &[("bin/sh", other.as_slice())][..], "ENV A=b", "Exec format error"),
    ] {
        let image = Image::import(name, files, change)?;
        bench.executor.ensure_image(&image.0).await?;
        bench.plan("echo never", 500)?;
        let id = bench.executor.start(bench.spec(&image.0, 0)).await?;
        bench.executor.wait(&id).await?;
        let (text, events) = bench.log()?;
        assert!(text.contains(said) && !text.contains("never\n"), "{name}: {text}");
        assert_eq!(outcome(&events), Some(Outcome::Failed), "{name}");
        bench.executor.remove(&id).await?;
        for sub in ["control/spool", "attempts"] {
            let path = bench.dir.path().join(sub);
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    // What the daemon itself refuses, in its words.
    let nobody = Image::import("nobody", &[], "USER nobody-here")?;
    let refused = bench.executor.start(bench.spec(&nobody.0, 0)).await.err().ok_or("it started")?;
    assert!(refused.to_string().contains("nobody-here"), "{refused}");
    for found in bench.executor.list().await? {
        bench.executor.remove(&found.id).await?;
    }
    bench.plan("echo still here", 500)?;
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    bench.executor.wait(&id).await?;
    assert_eq!(bench.log()?.0, "still here\n");
    Ok(())
}

#[tokio::test]
async fn what_may_not_begin_any_more_is_not_started_though_it_was_made() -> Result {
    let Some(bench) = Bench::new(10, DockerOptions::default())? else { return Ok(()) };
    bench.plan("true", 1000)?;
    let late = Lease { until: watch::channel(Some(Instant::now())).1, kill: CancellationToken::new() };
    let given_up = lease();
    given_up.kill.cancel();
    for lease in [late, given_up] {
        let refused = bench.executor.start(ContainerSpec { lease, ..bench.spec(IMAGE, 0) }).await;
        assert!(matches!(refused, Err(Error::NoLease)), "{refused:?}");
        let states: Vec<_> = bench.executor.list().await?.into_iter().map(|found| found.state).collect();
        assert_eq!(states, [FoundState::Created]);
    }
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    assert_eq!(bench.executor.wait(&id).await?.code, 0);
    Ok(())
}

#[tokio::test]
async fn what_stands_still_or_runs_already_is_no_error() -> Result {
    let Some(bench) = Bench::new(11, DockerOptions::default())? else { return Ok(()) };
    bench.plan("sleep 600", 100)?;
    let id = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    bench.executor.unpause(&id).await?;
    for _ in 0..2 {
        bench.executor.pause(&id).await?;
    }
    let states: Vec<_> = bench.executor.list().await?.into_iter().map(|found| found.state).collect();
    assert_eq!(states, [FoundState::Paused]);
    for _ in 0..2 {
        bench.executor.unpause(&id).await?;
    }
    bench.executor.remove(&id).await?;
    bench.executor.pause(&id).await?;
    Ok(())
}
