//! When which fault is due, from a seed. Pure. Whom it hits may depend on who leads by then, so a plan says only by which draw
//! that is decided.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Class, Lane};

/// A fault that is to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    /// What.
    pub class: Class,
    /// When, from the beginning.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// Decides whom it hits.
    pub whom: u64,
    /// Decides how hard, 0 to 1.
    pub strength: f64,
}

/// The faults of one lane within `length`, in order, without overlaps. Every class comes before one comes again.
#[must_use]
pub fn plan(seed: u64, lane: Lane, classes: &[Class], length: Duration) -> Vec<Planned> {
    // A stream for each lane: another class in one of them leaves the others as they were.
    let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(4).wrapping_add(lane as u64));
    let mut deck: Vec<Class> = classes.iter().copied().filter(|class| class.lane() == lane).collect();
    // Some seeds leave time to work between faults, others hardly any.
    let pace = [1, 2, 4][(seed % 3) as usize];
    let (mut planned, mut at) = (Vec::new(), Duration::from_millis(rng.random_range(500..2_500)));
    while !deck.is_empty() {
        deck.shuffle(&mut rng);
        for class in &deck {
            let lasts = Duration::from_millis(rng.random_range(class.lasts()));
            let fault = Planned {
                class: *class,
                at,
                lasts,
                whom: rng.random(),
                strength: rng.random_range(0.0..1.0),
            };
            let rest = Duration::from_millis(rng.random_range(500..3_000) * pace);
            if at + lasts > length {
                return planned;
            }
            planned.push(fault);
            at += lasts + rest;
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(300);

    #[test]
    fn a_seed_is_one_plan_and_another_is_another() {
        for lane in Lane::ALL {
            let of = |seed| plan(seed, lane, &Class::ALL, LENGTH);
            assert_eq!(of(7), of(7));
            assert_ne!(of(7), of(8));
        }
    }

    #[test]
    fn faults_of_a_lane_follow_each_other_and_all_classes_come() {
        for seed in 0..50 {
            for lane in Lane::ALL {
                let planned = plan(seed, lane, &Class::ALL, LENGTH);
                for two in planned.windows(2) {
                    assert!(two[0].at + two[0].lasts < two[1].at);
                }
                assert!(planned.iter().all(|fault| fault.at + fault.lasts <= LENGTH));
                for class in Class::ALL.iter().filter(|class| class.lane() == lane) {
                    assert!(
                        planned.iter().any(|fault| fault.class == *class),
                        "seed {seed} has no {class:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_class_no_fault() {
        assert_eq!(plan(1, Lane::Network, &[Class::Kill], LENGTH), []);
    }
}
