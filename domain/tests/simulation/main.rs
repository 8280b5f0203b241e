//! Seeded simulation of the state machine and the planner: random histories against the invariants.
//!
//! A history is a list of moves drawn from a seed. Every move reads the state it finds, so any part of a history is a
//! history too: a failing one is shrunk by leaving moves out, and printed with its seed.
//! `TROUPE_SIM_SEEDS` sets how many seeds are run (2,000), `TROUPE_SIM_FIRST` the first (0).

mod moves;
mod seen;
mod world;

use moves::{Move, moves_of_seed};
use seen::Seen;
use world::World;

const MOVES_PER_HISTORY: usize = 120;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Plays a history, then heals everything and expects that every job ends.
fn play(moves: &[Move]) -> Result<World, String> {
    let mut world = World::new();
    for one in moves {
        world.play(*one).map_err(|violation| format!("at {one:?}: {violation}"))?;
    }
    world.heal_and_finish()?;
    Ok(world)
}

/// Leaves out every move without which the history still fails (ddmin by halves, then one by one).
fn shrink(mut moves: Vec<Move>) -> Vec<Move> {
    let mut size = moves.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < moves.len() {
            let mut fewer = moves.clone();
            fewer.drain(start..(start + size).min(moves.len()));
            if play(&fewer).is_err() {
                moves = fewer;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    moves
}

#[test]
fn random_histories_keep_every_invariant_and_end() {
    let first = number_from_env("TROUPE_SIM_FIRST", 0);
    let seeds = number_from_env("TROUPE_SIM_SEEDS", 2000);
    let mut seen = Seen::default();
    for seed in first..first + seeds {
        let moves = moves_of_seed(seed, MOVES_PER_HISTORY);
        match play(&moves) {
            Ok(world) => seen.add(&world.seen),
            Err(found) => {
                let moves = shrink(moves);
                let again = play(&moves).err().unwrap_or_default();
                panic!("seed {seed}: {found}\nshrunk to {} moves, {again}:\n{moves:#?}", moves.len());
            }
        }
    }
    println!("{seeds} histories: {seen:?}");
    // A simulation in which something never happens proves nothing about it.
    if seeds >= 100 {
        seen.assert_all_happened();
    }
}

#[test]
fn the_same_seed_gives_the_same_history_and_hash() {
    let moves = moves_of_seed(7, MOVES_PER_HISTORY);
    let hash = |moves: &[Move]| play(moves).map(|world| world.state().hash());
    assert_eq!(hash(&moves), hash(&moves_of_seed(7, MOVES_PER_HISTORY)));
    assert_ne!(hash(&moves), hash(&moves_of_seed(8, MOVES_PER_HISTORY)));
}
