//! What the node says of time while a job runs, as the bytes of a file in the control directory: until when the job may run,
//! and for how long it stood still. Must not know: files, clocks.
//!
//! The node writes them in place and init reads them at any time, so they carry a check: what was read in the middle of a
//! write is nothing.

/// Name of the file in the control directory.
pub const FILE: &str = "permit";
/// Its size in bytes.
pub const BYTES: usize = 24;
/// Init's exit code when the permit has run out: its node is away, or has no lease any more.
pub const RAN_OUT: i32 = 75;
/// Init's exit code when the permit had run out before the first step: nothing of the job has run.
pub const TOO_LATE: i32 = 76;

const CHECK: u64 = 0x7472_6f75_7065_0001;

/// Times of one attempt, in milliseconds; the clock is the machine's since its start, the time it slept included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// When the job must have ended, unless a later permit is there by then.
    pub until_ms: u64,
    /// How long the job was paused, in all: its limits do not count that.
    pub paused_ms: u64,
}

impl Permit {
    /// The file's content.
    #[must_use]
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let words = [self.until_ms, self.paused_ms, self.until_ms ^ self.paused_ms.rotate_left(32) ^ CHECK];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The permit in these bytes; none when they are not whole.
    #[must_use]
    pub fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let mut words =
            bytes.chunks_exact(8).map(|word| word.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
        let permit = Self { until_ms: words.next()?, paused_ms: words.next()? };
        (permit.encode() == *bytes).then_some(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_nothing() {
        let (old, new) =
            (Permit { until_ms: 1 << 40, paused_ms: 7 }, Permit { until_ms: 9, paused_ms: u64::MAX });
        assert_eq!(Permit::decode(&new.encode()), Some(new));
        for written in 1..BYTES {
            let mut half = old.encode();
            half[..written].copy_from_slice(&new.encode()[..written]);
            let read = Permit::decode(&half);
            assert!(read.is_none() || read == Some(new), "{written}");
        }
        assert_eq!(Permit::decode(&[0; BYTES]), None);
    }
}
