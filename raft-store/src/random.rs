//! Randomness: the system's, or on a thread that was given a seed, all of it from that seed.
//!
//! A seam for simulations, which run everything on one thread. Nothing else gives a thread a seed.

use std::cell::RefCell;
use std::convert::Infallible;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng, TryRng};

thread_local! {
    static SEEDED: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// From now on everything on this thread draws from one generator with this seed. For simulations only: ids and secrets
/// made here can be guessed then.
pub fn seed_thread(seed: u64) {
    SEEDED.with_borrow_mut(|seeded| *seeded = Some(SmallRng::seed_from_u64(seed)));
}

/// The randomness of the thread that uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Random {
    fn draw<T>(draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
        SEEDED.with_borrow_mut(|seeded| match seeded {
            Some(seeded) => draw(seeded),
            None => draw(&mut rand::rng()),
        })
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(Self::draw(|rng| rng.next_u32()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(Self::draw(|rng| rng.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        Self::draw(|rng| rng.fill_bytes(bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_with_a_seed_repeats_itself_and_others_do_not() {
        let four = |seed: Option<u64>| {
            let draw = move || {
                seed.into_iter().for_each(seed_thread);
                [0; 4].map(|_: u64| Random.next_u64())
            };
            std::thread::spawn(draw).join().expect("drawn")
        };
        assert_eq!(four(Some(7)), four(Some(7)));
        assert_ne!(four(Some(7)), four(Some(8)));
        assert_ne!(four(None), four(None));
    }
}
