//! What becomes of bytes on a wire that is bad but not cut. TCP has no lost bytes: a lossy wire is one on which some are late
//! by a retransmission, and on which connections break.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::Instant;

/// A kind of bad wire; by default a good one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Each piece is late by this.
    pub delay: Duration,
    /// And by up to this more.
    pub jitter: Duration,
    /// Bytes in a second, at most; none for no bound.
    pub bytes_per_second: Option<u64>,
    /// Of a thousand pieces, so many are late by a retransmission, 200 ms.
    pub stalls: u32,
    /// Of a thousand pieces, so many break their connection.
    pub breaks: u32,
}

/// What a retransmission takes, as Linux has it at least.
const STALL: Duration = Duration::from_millis(200);

/// What becomes of one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried at this moment.
    At(Instant),
    /// The connection breaks.
    Broken,
}

/// One direction of one connection, in which nothing overtakes.
#[derive(Debug)]
pub(crate) struct Line {
    /// When it has taken all that was put into it.
    free: Instant,
    last: Instant,
}

impl Line {
    pub(crate) fn new(now: Instant) -> Self {
        Self { free: now, last: now }
    }

    pub(crate) fn fate(&mut self, weather: &Weather, now: Instant, bytes: usize, rng: &mut SmallRng) -> Fate {
        if *weather == Weather::default() {
            self.last = self.last.max(now);
            return Fate::At(self.last);
        }
        if rng.random_range(0..1000) < weather.breaks {
            return Fate::Broken;
        }
        let takes = weather.bytes_per_second.map_or(0.0, |rate| bytes as f64 / rate as f64);
        self.free = self.free.max(now) + Duration::from_secs_f64(takes);
        let stall = if rng.random_range(0..1000) < weather.stalls { STALL } else { Duration::ZERO };
        let jitter = weather.jitter.mul_f64(rng.random_range(0.0..1.0));
        self.last = self.last.max(self.free + weather.delay + jitter + stall);
        Fate::At(self.last)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn good_weather_changes_nothing_and_bad_weather_keeps_the_order() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let mut line = Line::new(now);
        assert_eq!(line.fate(&Weather::default(), now, 1 << 20, &mut rng), Fate::At(now));
        let slow = Weather {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(50),
            bytes_per_second: Some(1000),
            stalls: 500,
            breaks: 0,
        };
        let mut before = now;
        for _ in 0..100 {
            let Fate::At(at) = line.fate(&slow, now, 10, &mut rng) else { panic!("nothing breaks") };
            assert!(at >= before);
            before = at;
        }
        // A hundred times ten bytes, at a thousand in a second.
        assert!(before >= now + Duration::from_millis(1010));
        let broken = Weather { breaks: 1000, ..Weather::default() };
        assert_eq!(line.fate(&broken, now, 1, &mut rng), Fate::Broken);
    }
}
