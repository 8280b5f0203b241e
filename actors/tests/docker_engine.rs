//! What the real engine says and does where the executor depends on it: words, timeouts, networks. Images are made from the
//! one that scripts/base-image.sh makes. `TROUPE_NO_DOCKER=1` skips these tests, visibly; without an engine they fail.

#[path = "support/container.rs"]
mod container;

use std::time::Duration;

use actors::executor::{ContainerSpec, DockerExecutor, DockerOptions, Error, Executor};
use actors::init_binary;
use container::{Bench, IMAGE, Result, said};
use domain::Resources;

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
