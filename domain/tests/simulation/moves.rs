//! The moves of a simulated history, and how they are drawn from a seed.
//!
//! Must not know: what a move does (`world`).

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One move: its kind, and two numbers that choose among what the state offers.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    pub kind: Kind,
    pub a: u64,
    pub b: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Submit,
    SubmitAgain,
    Deliver,
    Assign,
    Expand,
    Defer,
    Plan,
    PlaceWildly,
    Start,
    Finish,
    DeliverReport,
    RepeatReport,
    WrongFence,
    Unplace,
    Lose,
    Return,
    Drain,
    NewLeader,
    Cancel,
    Rerun,
    Forget,
    ClockBack,
    LongWait,
    Pause,
    Resume,
    Admit,
    RemoveGuest,
    Decide,
    Approve,
    EndBackoff,
    Review,
    Environment,
}

/// Kinds with their weights.
const KINDS: [(Kind, u32); 32] = [
    (Kind::Submit, 12),
    (Kind::SubmitAgain, 2),
    (Kind::Deliver, 8),
    (Kind::Assign, 8),
    (Kind::Expand, 8),
    (Kind::Defer, 2),
    (Kind::Plan, 16),
    (Kind::PlaceWildly, 10),
    (Kind::Start, 12),
    (Kind::Finish, 14),
    (Kind::DeliverReport, 24),
    (Kind::RepeatReport, 6),
    (Kind::WrongFence, 3),
    (Kind::Unplace, 3),
    (Kind::Lose, 4),
    (Kind::Return, 5),
    (Kind::Drain, 3),
    (Kind::NewLeader, 2),
    (Kind::Cancel, 4),
    (Kind::Rerun, 3),
    (Kind::Forget, 2),
    (Kind::ClockBack, 2),
    (Kind::LongWait, 1),
    (Kind::Pause, 4),
    (Kind::Resume, 4),
    (Kind::Admit, 4),
    (Kind::RemoveGuest, 3),
    (Kind::Decide, 8),
    (Kind::Approve, 3),
    (Kind::EndBackoff, 5),
    (Kind::Review, 4),
    (Kind::Environment, 1),
];

/// The moves of a seed: one random stream for the kinds, one for the choices, so that a change of one leaves the other.
pub fn moves_of_seed(seed: u64, count: usize) -> Vec<Move> {
    let mut kinds = StdRng::seed_from_u64(seed);
    let mut choices = StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
    let total: u32 = KINDS.iter().map(|(_, weight)| weight).sum();
    let mut draw = || {
        let mut left = kinds.random_range(0..total);
        for (kind, weight) in KINDS {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        unreachable!("the weights sum to the total")
    };
    (0..count).map(|_| Move { kind: draw(), a: choices.random(), b: choices.random() }).collect()
}
