//! One frame of a log, and its encoding:
//! `[payload length u32][crc32 of payload u32][payload]`, little endian, payload =
//! `[at ms u64][step u16][kind u8][spool position u64][output offset u64][content]`.

use domain::{Outcome, Timestamp};

/// Largest content of one frame, in bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
const HEAD: usize = 8;
const FIXED: usize = 8 + 2 + 1 + 8 + 8;

/// Which of a step's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Output, byte for byte.
    Output(Stream, Vec<u8>),
    /// A step started.
    StepStarted,
    /// A step ended.
    StepFinished {
        /// Its exit code, when it exited by itself.
        exit_code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
        /// How it ended.
        outcome: Outcome,
    },
    /// The cap was reached: so many bytes of output were dropped here.
    Dropped(u64),
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// Index of the step.
    pub step: u16,
    /// Where the spool had been read up to, this frame included; its highest bit says that the next frame belongs to this one.
    pub spool_end: u64,
    /// Bytes of output before this frame: both streams counted together.
    pub offset: u64,
    /// What it says.
    pub content: Content,
}

impl Frame {
    /// Bytes of output in this frame.
    #[must_use]
    pub fn output_len(&self) -> u64 {
        match &self.content {
            Content::Output(_, bytes) => bytes.len() as u64,
            _ => 0,
        }
    }

    /// Appends the encoded frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        out.extend_from_slice(&self.at.0.to_le_bytes());
        out.extend_from_slice(&self.step.to_le_bytes());
        out.push(self.content.kind());
        out.extend_from_slice(&self.spool_end.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        self.content.encode(out);
        let payload = &out[start + HEAD..];
        let (len, crc) = (payload.len() as u32, crc32fast::hash(payload));
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
        out[start + 4..start + HEAD].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the frame at the head of `bytes`, and its encoded length; none when it is not whole or not right, which at
    /// the end of a file means that it was not written whole.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
        let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let crc = u32::from_le_bytes(bytes.get(4..HEAD)?.try_into().ok()?);
        if !(FIXED..=FIXED + MAX_FRAME_BYTES + 16).contains(&len) {
            return None;
        }
        let payload = bytes.get(HEAD..HEAD + len)?;
        if crc32fast::hash(payload) != crc {
            return None;
        }
        let number =
            |range: std::ops::Range<usize>| Some(u64::from_le_bytes(payload.get(range)?.try_into().ok()?));
        let frame = Frame {
            at: Timestamp(number(0..8)?),
            step: u16::from_le_bytes(payload.get(8..10)?.try_into().ok()?),
            spool_end: number(11..19)?,
            offset: number(19..27)?,
            content: Content::decode(payload[10], &payload[FIXED..])?,
        };
        Some((frame, HEAD + len))
    }
}

impl Content {
    fn kind(&self) -> u8 {
        match self {
            Self::Output(Stream::Stdout, _) => 0,
            Self::Output(Stream::Stderr, _) => 1,
            Self::StepStarted => 2,
            Self::StepFinished { .. } => 3,
            Self::Dropped(_) => 4,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Output(_, bytes) => out.extend_from_slice(bytes),
            Self::Dropped(bytes) => out.extend_from_slice(&bytes.to_le_bytes()),
            Self::StepStarted => {}
            Self::StepFinished { exit_code, signal, outcome } => {
                for number in [exit_code, signal] {
                    out.push(u8::from(number.is_some()));
                    out.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
                }
                out.push(outcome_code(*outcome));
            }
        }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Option<Self> {
        let optional = |at: usize| -> Option<Option<i32>> {
            let value = i32::from_le_bytes(bytes.get(at + 1..at + 5)?.try_into().ok()?);
            Some((bytes[at] != 0).then_some(value))
        };
        Some(match kind {
            0 => Self::Output(Stream::Stdout, bytes.to_vec()),
            1 => Self::Output(Stream::Stderr, bytes.to_vec()),
            2 => Self::StepStarted,
            3 => Self::StepFinished {
                exit_code: optional(0)?,
                signal: optional(5)?,
                outcome: outcome_of(*bytes.get(10)?)?,
            },
            4 => Self::Dropped(u64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }
}

const OUTCOMES: [Outcome; 6] = [
    Outcome::Succeeded,
    Outcome::Failed,
    Outcome::Cancelled,
    Outcome::TimedOut,
    Outcome::Skipped,
    Outcome::Lost,
];

fn outcome_code(outcome: Outcome) -> u8 {
    OUTCOMES.iter().position(|o| *o == outcome).unwrap_or(0) as u8
}

fn outcome_of(code: u8) -> Option<Outcome> {
    OUTCOMES.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_survives_encoding_and_a_cut_or_flipped_frame_does_not_decode() {
        let contents = [
            Content::Output(Stream::Stdout, b"a\0\xff\n".to_vec()),
            Content::Output(Stream::Stderr, Vec::new()),
            Content::StepStarted,
            Content::StepFinished { exit_code: Some(3), signal: None, outcome: Outcome::Failed },
            Content::StepFinished { exit_code: None, signal: Some(9), outcome: Outcome::TimedOut },
            Content::Dropped(9),
        ];
        for content in contents {
            let frame = Frame { at: Timestamp(5), step: 2, spool_end: 77, offset: 1 << 40, content };
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(Frame::decode(&bytes), Some((frame, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..cut]), None);
            }
            for flip in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[flip] ^= 1;
                assert_eq!(Frame::decode(&bad), None, "flipped byte {flip}");
            }
        }
    }
}
