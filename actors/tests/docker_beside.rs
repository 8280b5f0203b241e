//! What stands beside a job's container, with a real engine (bad-input row 37): services, steps that are containers, volumes, and
//! files of a container's own. `TROUPE_NO_DOCKER=1` skips these tests, visibly; without an engine they fail.

#[path = "support/container.rs"]
mod container;

use std::fs;
use std::process::Command;
use std::time::Duration;

use actors::executor::beside::{Beside, BesideSpec, Standing, Volume};
use actors::executor::{ContainerId, DockerOptions, Error, Executor, Extras, FoundState, Part, options};
use container::{Bench, IMAGE, Result, lease};
use domain::{Fence, RepoId, Resources};
use futures::{StreamExt, TryStreamExt};
use init::permit::{self, Permit};

const PATIENCE: Duration = Duration::from_secs(60);

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

impl Bench {
    fn permit(&self, until_ms: u64) -> Result {
        let permit = Permit { until_ms, paused_ms: 0 };
        Ok(fs::write(self.dir.path().join(permit::FILE), permit.encode())?)
    }

    fn beside(&self, part: Part, command: &[&str], options: &str) -> Result<BesideSpec> {
        self.permit(u64::MAX)?;
        Ok(BesideSpec {
            attempt: self.attempt,
            fence: Fence(7),
            part,
            image: IMAGE.to_owned(),
            permit: self.dir.path().join(permit::FILE),
            mounts: Vec::new(),
            workdir: None,
            env: vec![("WHO".to_owned(), "you".to_owned())],
            entrypoint: None,
            command: words(command),
            resources: Resources { cpu_millis: 500, memory_mib: 64 },
            pids: 64,
            slot: 0,
            extras: Extras { options: options::parse(options)?, volumes: Vec::new() },
            lease: lease(),
        })
    }

    async fn until(&self, id: &ContainerId, holds: impl Fn(&Standing) -> bool) -> Result<Standing> {
        let looked = async {
            loop {
                let standing = self.executor.standing(id).await?;
                if holds(&standing) {
                    return Ok::<_, Error>(standing);
                }
                tokio::task::yield_now().await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, looked).await??)
    }
}

fn service(name: &str) -> Part {
    Part::Service(name.to_owned())
}

#[tokio::test]
async fn a_service_is_found_by_its_name_and_known_as_the_attempts() -> Result {
    let Some(bench) = Bench::new(21, DockerOptions::default())? else { return Ok(()) };
    let health =
        "--health-cmd 'test -e /tmp/up' --health-interval 100ms --health-retries 600 --network-alias other";
    let script = "echo $WHO > /tmp/who; httpd -p 8080 -h /tmp; until test -e /tmp/go; do sleep 0.1; done; touch /tmp/up; sleep 600";
    let spec = bench.beside(service("web"), &["sh", "-c", script], health)?;
    let (web, _) = bench.executor.start_beside(spec.clone(), false).await?;
    assert_eq!(bench.executor.standing(&web).await?, Standing::Starting);
    // Asked again, as by the next life of the node: the same one.
    assert_eq!(bench.executor.start_beside(spec, false).await?.0, web);
    assert!(Command::new("docker").args(["exec", &web.0, "touch", "/tmp/go"]).status()?.success());
    bench.until(&web, |standing| *standing == Standing::Well).await?;
    bench.plan("wget -qO- http://web:8080/who http://other:8080/who > got", 500)?;
    let own = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    assert_eq!(bench.executor.wait(&own).await?.code, 0);
    assert_eq!(fs::read_to_string(bench.dir.path().join("workspace/got"))?, "you\nyou\n");
    let mut found: Vec<_> =
        bench.executor.list().await?.into_iter().map(|f| (f.part, f.state, f.fence)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let wanted = [(Part::Job, FoundState::Ended, Fence(7)), (service("web"), FoundState::Running, Fence(7))];
    assert_eq!(found, wanted);
    Ok(())
}

/// Its node was away meanwhile.
#[tokio::test]
async fn what_a_step_wrote_is_had_by_the_next_life_of_its_node_whether_or_not_it_has_ended() -> Result {
    let Some(bench) = Bench::new(28, DockerOptions::default())? else { return Ok(()) };
    let script = "echo one; until test -e /tmp/go; do sleep 0.05; done; echo two >&2; exit 3";
    let spec = bench.beside(Part::Step(4), &["sh", "-c", script], "")?;
    let (id, mut output) = bench.executor.start_beside(spec.clone(), true).await?;
    assert_eq!(output.next().await.transpose()?.as_deref(), Some(&b"one\n"[..]));
    drop(output);
    let (same, running) = bench.executor.start_beside(spec.clone(), true).await?;
    assert_eq!(same, id);
    assert!(Command::new("docker").args(["exec", &id.0, "touch", "/tmp/go"]).status()?.success());
    let whole = |output: actors::executor::beside::Bytestream| {
        tokio::time::timeout(PATIENCE, output.map_ok(|bytes| bytes.to_vec()).try_concat())
    };
    assert_eq!(whole(running).await??, b"one\ntwo\n");
    assert_eq!(bench.executor.wait(&id).await?.code, 3);
    let (_, ended) = bench.executor.start_beside(spec, true).await?;
    assert_eq!(whole(ended).await??, b"one\ntwo\n");
    assert_eq!(bench.executor.wait(&id).await?.code, 3);
    Ok(())
}

#[tokio::test]
async fn a_service_ends_with_the_permit_of_its_job() -> Result {
    let Some(bench) = Bench::new(22, DockerOptions::default())? else { return Ok(()) };
    let spec = bench.beside(service("db"), &["sh", "-c", "setsid sleep 600 & echo up; sleep 600"], "")?;
    let (db, output) = bench.executor.start_beside(spec, true).await?;
    // From its first byte on.
    let mut output = output;
    assert_eq!(output.next().await.transpose()?.as_deref(), Some(&b"up\n"[..]));
    let file = fs::OpenOptions::new().write(true).open(bench.dir.path().join(permit::FILE))?;
    std::os::unix::fs::FileExt::write_all_at(&file, &Permit { until_ms: 1, paused_ms: 0 }.encode(), 0)?;
    let Standing::Ended(exit) = bench.until(&db, |standing| matches!(standing, Standing::Ended(_))).await?
    else {
        return Err("it did not end".into());
    };
    assert_eq!(exit.code, i64::from(permit::RAN_OUT));
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_unwell_or_dies_is_seen_with_its_last_words() -> Result {
    let Some(bench) = Bench::new(23, DockerOptions::default())? else { return Ok(()) };
    let ill = "--health-cmd 'echo no way; exit 1' --health-interval 50ms --health-retries 2";
    let spec = bench.beside(service("ill"), &["sleep", "600"], ill)?;
    let (id, _) = bench.executor.start_beside(spec, false).await?;
    let standing = bench.until(&id, |standing| *standing != Standing::Starting).await?;
    assert_eq!(standing, Standing::Unwell("no way".to_owned()));
    let spec = bench.beside(service("dead"), &["sh", "-c", "echo one; echo two >&2; exit 3"], "")?;
    let (id, _) = bench.executor.start_beside(spec, false).await?;
    let standing = bench.until(&id, |standing| matches!(standing, Standing::Ended(_))).await?;
    assert!(matches!(&standing, Standing::Ended(exit) if exit.code == 3), "{standing:?}");
    let last = String::from_utf8(bench.executor.last_output(&id, 100).await?)?;
    assert!(last.contains("one\n") && last.contains("two\n"), "{last}");
    let absent = bench.beside(service("absent"), &["/no/such/program"], "")?;
    let (id, output) = bench.executor.start_beside(absent, true).await?;
    let output: Vec<_> = output.try_collect().await?;
    let said = String::from_utf8(output.concat())?;
    assert!(said.contains("cannot run /no/such/program"), "{said}");
    assert_eq!(bench.executor.wait(&id).await?.code, 127);
    Ok(())
}

#[tokio::test]
async fn options_are_given_and_no_more_than_there_is() -> Result {
    let Some(bench) = Bench::new(24, DockerOptions::default())? else { return Ok(()) };
    let options = "--hostname db --user 99:98 --workdir /tmp --shm-size 1m --tmpfs /scratch:size=1m \
                   --ulimit nofile=77:78 --memory 32m --cpus 0.25 --label a=b --read-only -e X='1 2'";
    let script =
        "hostname; id -u; id -g; pwd; ulimit -n; echo \"$X\"; touch /nowhere 2>/dev/null || echo read-only";
    let spec = bench.beside(service("db"), &["sh", "-c", script], options)?;
    let (id, output) = bench.executor.start_beside(spec, true).await?;
    let said: Vec<_> = output.try_collect().await?;
    let said = String::from_utf8(said.concat())?;
    assert!(said.starts_with("db\n99\n98\n/tmp\n77\n1 2\n") && said.ends_with("read-only\n"), "{said}");
    let seen = container::said(&["inspect", &id.0])?;
    let seen: serde_json::Value = serde_json::from_str(&seen)?;
    let (host, labels) = (&seen[0]["HostConfig"], &seen[0]["Config"]["Labels"]);
    let expected = serde_json::json!({
        "Privileged": false, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "PidsLimit": 64,
        "Memory": 32 << 20, "MemorySwap": 32 << 20, "NanoCpus": 250_000_000, "IpcMode": "private", "PidMode": "",
        "ShmSize": 1 << 20, "Tmpfs": { "/scratch": "size=1m" }, "UTSMode": "", "UsernsMode": "",
    });
    for (name, value) in expected.as_object().ok_or("not a map")? {
        assert_eq!(&host[name], value, "{name}");
    }
    assert_eq!((&labels["a"], &labels["troupe.part"]), (&"b".into(), &"service:db".into()));
    assert_eq!(host["NetworkMode"], format!("troupe-{}-slot-0", bench.node));
    for greedy in ["--memory 65m", "--cpus 0.6"] {
        let spec = bench.beside(service("greedy"), &["true"], greedy)?;
        let error = bench.executor.start_beside(spec, false).await.err().ok_or(greedy)?;
        assert!(matches!(&error, Error::Refused { why, .. } if why.contains("more than")), "{error}");
    }
    // A job's own container has an entrypoint already.
    let extras = Extras { options: options::parse("--entrypoint sh")?, volumes: Vec::new() };
    let spec = actors::executor::ContainerSpec { extras, ..bench.spec(IMAGE, 0) };
    let error = bench.executor.start(spec).await.err().ok_or("it has two")?;
    assert!(error.to_string().contains("--entrypoint is for services"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_volume_outlives_its_container_and_is_its_repositorys_alone() -> Result {
    let Some(bench) = Bench::new(25, DockerOptions::default())? else { return Ok(()) };
    let run = async |step: u16, repo: u128, script: &str| -> Result<String> {
        let mut spec = bench.beside(Part::Step(step), &["sh", "-c", script], "")?;
        spec.extras.volumes = vec![Volume::parse("data:/data", Some(RepoId(repo)))?];
        let (id, output) = bench.executor.start_beside(spec, true).await?;
        let said: Vec<_> = output.try_collect().await?;
        bench.executor.wait(&id).await?;
        bench.executor.remove(&id).await?;
        Ok(String::from_utf8(said.concat())?)
    };
    assert_eq!(run(0, 1, "echo kept > /data/x; ls /data").await?, "x\n");
    assert_eq!(run(1, 1, "cat /data/x").await?, "kept\n");
    assert_eq!(run(2, 2, "ls /data").await?, "");
    let volumes =
        || container::said(&["volume", "ls", "-q", "--filter", &format!("label=troupe.node={}", bench.node)]);
    assert_eq!(volumes()?.lines().count(), 2);
    bench.executor.forget_volumes(&|repo| repo == RepoId(1)).await?;
    assert_eq!(volumes()?.lines().count(), 1);
    bench.executor.forget_volumes(&|_| false).await?;
    assert_eq!(volumes()?, "");
    Ok(())
}

#[tokio::test]
async fn files_of_a_container_are_taken_and_given() -> Result {
    let Some(bench) = Bench::new(26, DockerOptions::default())? else { return Ok(()) };
    let spec = bench.beside(
        Part::Step(0),
        &["sh", "-c", "mkdir -p /srv/.x; echo hello > /srv/.x/y; echo up; sleep 600"],
        "",
    )?;
    let (id, mut output) = bench.executor.start_beside(spec, true).await?;
    assert_eq!(output.next().await.transpose()?.as_deref(), Some(&b"up\n"[..]));
    assert!(bench.executor.take(&id, "/srv/absent").await?.is_none());
    let tar = bench.executor.take(&id, "/srv/.x").await?.ok_or("not there")?;
    let tar: Vec<_> = tar.try_collect().await?;
    let tar = tar.concat();
    assert!(tar.windows(6).any(|bytes| bytes == b"hello\n"));
    let parts = futures::stream::iter([Ok(bytes::Bytes::from(tar))]).boxed();
    bench.executor.give(&id, parts).await?;
    assert_eq!(container::said(&["exec", &id.0, "cat", "/.x/y"])?, "hello");
    let made = bench.executor.made_with(&id).await?;
    assert!(made.env.contains(&("WHO".to_owned(), "you".to_owned())) && made.user.is_empty(), "{made:?}");
    // Both stand still, and go on, with the job's own.
    bench.plan("sleep 600", 500)?;
    let own = bench.executor.start(bench.spec(IMAGE, 0)).await?;
    bench.executor.pause(&own).await?;
    let states = async || -> Result<Vec<FoundState>> {
        Ok(bench.executor.list().await?.into_iter().map(|found| found.state).collect())
    };
    assert_eq!(states().await?, [FoundState::Paused; 2]);
    bench.executor.unpause(&own).await?;
    assert_eq!(states().await?, [FoundState::Running; 2]);
    Ok(())
}
