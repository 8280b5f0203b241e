//! Short runs of chaos, with a part of the faults each: what `scripts/chaos.sh` does for longer (docs/chaos.md).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::Path;
use std::time::Duration;

use chaos::engine::Engine;
use chaos::faults::Class;
use chaos::report::{Conclusion, Report, Round, write_round};
use chaos::round::{Settings, run};

/// Seeds and length are such that each of the classes comes at least once.
const LENGTH: Duration = Duration::from_secs(22);

/// Everything holds, and each class came to something.
async fn holds(seed: u64, classes: &[Class]) {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
    let settings = Settings {
        seed,
        nodes: 3,
        length: LENGTH,
        classes: classes.to_vec(),
        people: 8,
        keep: Some(out.clone()),
    };
    let ended = run(&settings).await;
    write_round(&ended, &out).unwrap();
    let mut report = Report::new(classes);
    report.rounds.push(Round::of(seed, &ended));
    report.write(&out).unwrap();
    let names: Vec<_> = classes.iter().map(|class| class.name()).collect();
    assert_eq!(
        report.conclusion(),
        Conclusion::Clean,
        "{}\nthe report is in {}; to have it again: scripts/chaos.sh --seed {seed} --seeds 1 --seconds {} --people 8 --faults {}",
        report.markdown(),
        out.display(),
        LENGTH.as_secs(),
        names.join(",")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_die_and_wires_that_are_cut() {
    use Class::{Clock, Freeze, Kill, KillAll, OneWay, SlowDisk, Split};
    holds(561, &[Kill, KillAll, Freeze, Split, OneWay, SlowDisk, Clock]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_go_bad_wires_and_an_engine_that_stops() {
    use Class::{CutLeader, Engine as EngineStops, FullDisk, KillLeader, LossyLinks, Restart, SlowLinks};
    let all = [KillLeader, Restart, EngineStops, CutLeader, SlowLinks, LossyLinks, FullDisk];
    if let Err(why) = Engine::can_be() {
        eprintln!("without an engine that stops: {why}");
        let rest: Vec<_> = all.into_iter().filter(|class| *class != EngineStops).collect();
        return holds(96, &rest).await;
    }
    holds(96, &all).await;
}
