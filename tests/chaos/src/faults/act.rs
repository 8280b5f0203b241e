//! How each fault is done, and undone. What came of it is counted where it can be seen, so that a fault that hit nothing is
//! not taken for one.

use std::time::Duration;

use rustix::process::Signal;

use super::{Class, Planned};
use crate::history::{Fault, Gap, Nanos};
use crate::now_nanos;
use crate::weather::Weather;
use crate::wires::Pair;
use crate::world::{World, within};

/// MiB that a node wants free, as it is told (`raft.min_free_mib`).
pub const MIN_FREE_MIB: u64 = 48;
/// The longest that a process may take to end when it is asked to.
const TO_END: Duration = Duration::from_secs(30);

/// The longest that one which was started before may take to serve.
const TO_SERVE: Duration = Duration::from_secs(10);

/// What was done.
struct Done {
    nodes: Vec<usize>,
    words: String,
    effect: u64,
}

/// Does it, waits, and undoes it.
pub async fn act(world: &World, fault: &Planned) {
    let began = now_nanos();
    let done = match fault.class {
        Class::Kill | Class::KillLeader | Class::KillAll => kill(world, fault, began).await,
        Class::Freeze => freeze(world, fault, began).await,
        Class::Restart => restart(world, fault, began).await,
        Class::Engine => engine(world, fault, began).await,
        Class::Split | Class::CutLeader | Class::OneWay | Class::CutAll => cut(world, fault).await,
        Class::SlowLinks | Class::LossyLinks => weather(world, fault).await,
        Class::SlowDisk => slow_disk(world, fault).await,
        Class::FullDisk => full_disk(world, fault).await,
        Class::Clock => clock(world, fault).await,
    };
    let Done { nodes, words, effect } = done;
    world.hit(Fault { class: fault.class, nodes, words, began, ended: now_nanos(), effect });
}

/// Everything as it should be: all that was done is undone, whoever did it.
pub async fn heal(world: &World) {
    if let Some(engine) = &mut *world.engine.lock().await
        && !engine.runs()
    {
        engine.resume().await;
    }
    let mut cluster = world.cluster.lock().await;
    cluster.heal();
    for disk in &cluster.disks {
        disk.empty();
    }
    for node in &cluster.nodes {
        if let Some(shim) = &node.shim {
            shim.sync_takes(Duration::ZERO);
            shim.clock_is_ahead(0);
        }
        if node.runs() {
            node.signal(Signal::CONT);
        }
    }
    cluster.start_all();
    for gap in world.history().gaps.iter_mut().filter(|gap| gap.ended == Nanos::MAX) {
        gap.ended = now_nanos();
    }
}

fn some_node(world: &World, fault: &Planned) -> usize {
    (fault.whom % world.clients.len() as u64) as usize
}

async fn kill(world: &World, fault: &Planned, began: Nanos) -> Done {
    let nodes = match fault.class {
        Class::KillAll => (0..world.clients.len()).collect(),
        Class::KillLeader => vec![world.leader()],
        _ => vec![some_node(world, fault)],
    };
    let mut hit = Vec::new();
    {
        let mut cluster = world.cluster.lock().await;
        for number in &nodes {
            if cluster.nodes[*number].runs() {
                cluster.nodes[*number].kill();
                hit.push(*number);
            }
        }
    }
    world.rest(fault.lasts).await;
    let mut cluster = world.cluster.lock().await;
    for number in &hit {
        cluster.start_node(*number);
        world.was_away(*number, began);
    }
    let effect = hit.len() as u64;
    Done { nodes: hit, words: String::new(), effect }
}

async fn freeze(world: &World, fault: &Planned, began: Nanos) -> Done {
    let number = some_node(world, fault);
    let runs = {
        let cluster = world.cluster.lock().await;
        let node = &cluster.nodes[number];
        if node.runs() {
            node.signal(Signal::STOP);
        }
        node.runs()
    };
    world.rest(fault.lasts).await;
    let cluster = world.cluster.lock().await;
    if cluster.nodes[number].runs() {
        cluster.nodes[number].signal(Signal::CONT);
    }
    world.was_away(number, began);
    Done { nodes: vec![number], words: String::new(), effect: u64::from(runs) }
}

async fn restart(world: &World, fault: &Planned, began: Nanos) -> Done {
    let number = some_node(world, fault);
    // One that has just been started does not know the signal yet, and is ended by it.
    let client = &world.clients[number];
    let served = within(TO_SERVE, async || client.found("/v1/cluster").await).await.is_some();
    let began = now_nanos().max(began);
    world.leaving.lock().unwrap().insert(number);
    let asked = {
        let cluster = world.cluster.lock().await;
        let runs = cluster.nodes[number].runs();
        if runs {
            cluster.nodes[number].signal(Signal::TERM);
        }
        runs
    };
    if asked {
        let status = within(TO_END, async || world.cluster.lock().await.nodes[number].has_ended()).await;
        let mut cluster = world.cluster.lock().await;
        let node = &mut cluster.nodes[number];
        match status {
            None => {
                let words = format!(
                    "{} was asked to end, and had not after {TO_END:?}:\n{}",
                    node.name,
                    node.last_words()
                );
                node.kill();
                world.died(words);
            }
            Some(status) if served && !status.success() => {
                world.died(format!(
                    "{} was asked to end, and did with {status}:\n{}",
                    node.name,
                    node.last_words()
                ));
            }
            Some(_) => *world.history().waits.entry("deaths".to_owned()).or_default() += 1,
        }
    }
    world.rest(fault.lasts).await;
    let mut cluster = world.cluster.lock().await;
    if !cluster.nodes[number].runs() {
        cluster.start_node(number);
    }
    world.leaving.lock().unwrap().remove(&number);
    world.was_away(number, began);
    Done { nodes: vec![number], words: String::new(), effect: u64::from(asked) }
}

async fn engine(world: &World, fault: &Planned, began: Nanos) -> Done {
    let mut engine = world.engine.lock().await;
    let effect = u64::from(engine.is_some());
    if let Some(engine) = &mut *engine {
        engine.stop().await;
        world.rest(fault.lasts).await;
        engine.resume().await;
        world.history().engine.push(Gap { node: 0, began, ended: now_nanos() });
    }
    Done { nodes: (0..world.clients.len()).collect(), words: String::new(), effect }
}

/// Between which nodes nothing is carried.
fn pairs(world: &World, fault: &Planned) -> (Vec<usize>, Vec<Pair>) {
    let all = 0..world.clients.len();
    let between = |few: &[usize], there: bool, back: bool| {
        let (mut pairs, few) = (Vec::new(), few.to_vec());
        for other in all.clone().filter(|other| !few.contains(other)) {
            for one in &few {
                pairs.extend(there.then_some((*one, other)));
                pairs.extend(back.then_some((other, *one)));
            }
        }
        (few, pairs)
    };
    let minority: Vec<usize> =
        (0..(all.len() - 1) / 2).map(|number| (some_node(world, fault) + number) % all.len()).collect();
    match fault.class {
        Class::Split => between(&minority, true, true),
        Class::CutLeader => between(&[world.leader()], true, true),
        Class::OneWay => {
            let there = fault.strength < 0.5;
            between(&[some_node(world, fault)], there, !there)
        }
        _ => {
            let pair =
                |one: usize| all.clone().filter(move |other| *other != one).map(move |other| (one, other));
            (all.clone().collect(), all.clone().flat_map(pair).collect())
        }
    }
}

async fn cut(world: &World, fault: &Planned) -> Done {
    let (nodes, pairs) = pairs(world, fault);
    let before = {
        let cluster = world.cluster.lock().await;
        cluster.cut(&pairs);
        cluster.wires().done()
    };
    world.rest(fault.lasts).await;
    let cluster = world.cluster.lock().await;
    cluster.wires().cut(&[]);
    let effect = cluster.wires().done().held - before.held;
    Done { nodes, words: format!("{pairs:?} cut, bytes held {effect} times"), effect }
}

async fn weather(world: &World, fault: &Planned) -> Done {
    let strength = fault.strength;
    let millis = |most: f64| Duration::from_millis((most * strength) as u64 + 5);
    let weather = match fault.class {
        Class::SlowLinks => Weather {
            delay: millis(80.0),
            jitter: millis(80.0),
            bytes_per_second: Some(2 << 20),
            ..Weather::default()
        },
        _ => Weather {
            stalls: 10 + (strength * 90.0) as u32,
            breaks: 2 + (strength * 20.0) as u32,
            ..Weather::default()
        },
    };
    let all = Planned { class: Class::CutAll, ..*fault };
    let (nodes, pairs) = pairs(world, &all);
    let before = {
        let cluster = world.cluster.lock().await;
        cluster.wires().weather(&pairs, weather);
        cluster.wires().done()
    };
    world.rest(fault.lasts).await;
    let cluster = world.cluster.lock().await;
    cluster.wires().weather(&[], weather);
    let done = cluster.wires().done();
    let (delayed, broken) = (done.delayed - before.delayed, done.broken - before.broken);
    let effect = if fault.class == Class::SlowLinks { delayed } else { broken };
    Done {
        nodes,
        words: format!("{weather:?}: {delayed} pieces carried, {broken} connections broken"),
        effect,
    }
}

async fn slow_disk(world: &World, fault: &Planned) -> Done {
    let number = some_node(world, fault);
    let longer = Duration::from_millis(50 + (fault.strength * 1450.0) as u64);
    let shim = world.cluster.lock().await.nodes[number].shim.clone();
    let Some(shim) = shim else { return Done { nodes: vec![number], words: String::new(), effect: 0 } };
    let before = shim.syncs();
    shim.sync_takes(longer);
    world.rest(fault.lasts).await;
    shim.sync_takes(Duration::ZERO);
    let effect = shim.syncs() - before;
    Done { nodes: vec![number], words: format!("{effect} syncs took {longer:?} longer"), effect }
}

async fn full_disk(world: &World, fault: &Planned) -> Done {
    let number = some_node(world, fault);
    // Nearly full is another thing than full: new work is refused, or everything.
    let left = if fault.strength < 0.5 { MIN_FREE_MIB / 2 } else { 2 };
    let full = {
        let cluster = world.cluster.lock().await;
        let Some(disk) = cluster.disks.get(number) else {
            return Done { nodes: vec![number], words: String::new(), effect: 0 };
        };
        disk.leave(left);
        disk.free() < MIN_FREE_MIB << 20
    };
    world.rest(fault.lasts).await;
    world.cluster.lock().await.disks[number].empty();
    Done { nodes: vec![number], words: format!("{left} MiB left"), effect: u64::from(full) }
}

async fn clock(world: &World, fault: &Planned) -> Done {
    let number = some_node(world, fault);
    let size = [2_000, 60_000, 3_600_000][(fault.strength * 3.0) as usize % 3];
    let millis = if fault.whom & (1 << 32) == 0 { size } else { -size };
    let shim = world.cluster.lock().await.nodes[number].shim.clone();
    let Some(shim) = shim else { return Done { nodes: vec![number], words: String::new(), effect: 0 } };
    let before = shim.reads();
    shim.clock_is_ahead(millis);
    world.rest(fault.lasts).await;
    shim.clock_is_ahead(0);
    let effect = shim.reads() - before;
    Done { nodes: vec![number], words: format!("{millis} ms off, read {effect} times"), effect }
}
