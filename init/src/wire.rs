//! The plan that the node writes and the frames that init appends to the spool, as bytes.
//!
//! A frame is `length: u32, crc32: u32, body`, little-endian. A torn last frame is "not yet there"; everything else that
//! does not decode is an error. Must not know: files, processes.

use std::fmt;

/// Bytes of output in one frame, at most.
pub const MAX_CHUNK: usize = 32 * 1024;
/// Bytes of a frame's body, at most.
pub const MAX_BODY: usize = 64 * 1024;
/// Bytes of a plan, at most.
pub const MAX_PLAN: usize = 8 * 1024 * 1024;
const HEAD: usize = 8;
const PLAN_MAGIC: &[u8; 8] = b"troupe\x00\x01";

/// Why bytes are not a plan or a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A length is outside its limits.
    Length {
        /// What was found, in bytes.
        found: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The checksum differs.
    Checksum,
    /// The content ends too early or makes no sense.
    Malformed(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found, limit } => {
                write!(f, "a length of {found} bytes is not possible, the limit is {limit}")
            }
            Self::Checksum => f.write_str("the checksum does not match the content"),
            Self::Malformed(what) => write!(f, "the content is malformed: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// How a step or the job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Succeeded,
    /// Any other exit, or it could not start.
    Failed,
    /// Someone cancelled it.
    Cancelled,
    /// A limit of time ended it.
    TimedOut,
    /// Its condition did not hold.
    Skipped,
}

/// When a step runs, given the steps before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Everything before succeeded.
    Success,
    /// Something before failed or timed out.
    Failure,
    /// In every case, cancellation included.
    Always,
}

/// What interprets a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// `bash -e` when there is one on the PATH, else `sh -e`.
    Default,
    /// `bash --noprofile --norc -eo pipefail`.
    Bash,
    /// `sh -e`.
    Sh,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// A script, run by init.
    Run {
        /// Interpreter.
        shell: Shell,
        /// The script's bytes.
        script: Vec<u8>,
        /// Absolute, or relative to the workspace; empty is the workspace.
        cwd: String,
    },
    /// Done by the node (a checkout); init waits for its answer.
    Host,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// Added to init's environment.
    pub env: Vec<(String, String)>,
    /// When it runs.
    pub condition: Condition,
    /// Milliseconds; 0 means only the job's limit.
    pub timeout_ms: u64,
    /// Its failure does not fail the job.
    pub continue_on_error: bool,
}

/// A job as init runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Absolute path of the workspace, as init sees it.
    pub workspace: String,
    /// Milliseconds for the job; 0 is no limit.
    pub timeout_ms: u64,
    /// Milliseconds between TERM and KILL, and for `always` steps after a cancel.
    pub grace_ms: u64,
    /// Milliseconds that output of a finished step is waited for while something keeps its pipes open.
    pub drain_ms: u64,
    /// In order.
    pub steps: Vec<Step>,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameKind {
    /// Output, byte for byte.
    Stdout(Vec<u8>),
    /// Output, byte for byte.
    Stderr(Vec<u8>),
    /// The step begins.
    StepStarted,
    /// The step is over.
    StepFinished {
        /// When it exited by itself.
        exit_code: Option<i32>,
        /// When a signal ended it.
        signal: Option<i32>,
        /// How.
        outcome: Outcome,
    },
    /// The node shall do this step and answer `host STEP EXIT`.
    HostWanted,
    /// Last frame of a spool.
    JobFinished {
        /// How.
        outcome: Outcome,
        /// Why, for people; empty on success.
        reason: String,
    },
}

/// One entry of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Index of the step, from 0.
    pub step: u16,
    /// What it says.
    pub kind: FrameKind,
}

impl Frame {
    /// The frame's bytes. Output above [`MAX_CHUNK`] and reasons above 4 KiB are the caller's to cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.at_ms.to_le_bytes());
        body.extend(self.step.to_le_bytes());
        match &self.kind {
            FrameKind::Stdout(bytes) => tagged(&mut body, 0, bytes),
            FrameKind::Stderr(bytes) => tagged(&mut body, 1, bytes),
            FrameKind::StepStarted => body.push(2),
            FrameKind::StepFinished { exit_code, signal, outcome } => {
                body.extend([3, *outcome as u8]);
                put_option(&mut body, *exit_code);
                put_option(&mut body, *signal);
            }
            FrameKind::HostWanted => body.push(4),
            FrameKind::JobFinished { outcome, reason } => {
                body.extend([5, *outcome as u8]);
                body.extend(reason.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(HEAD + body.len());
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(crc32(&body).to_le_bytes());
        out.extend(body);
        out
    }

    /// The first frame and its length in bytes; `None` when it is not there as a whole yet.
    ///
    /// # Errors
    /// When the bytes are no frame.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        if bytes.len() < HEAD {
            return Ok(None);
        }
        let mut head = Reader(bytes);
        let (len, crc) = (head.u32()? as usize, head.u32()?);
        if !(11..=MAX_BODY).contains(&len) {
            return Err(Error::Length { found: len, limit: MAX_BODY });
        }
        let Some(body) = bytes.get(HEAD..HEAD + len) else { return Ok(None) };
        if crc32(body) != crc {
            return Err(Error::Checksum);
        }
        Ok(Some((Self::decode_body(Reader(body))?, HEAD + len)))
    }

    fn decode_body(mut r: Reader<'_>) -> Result<Self, Error> {
        let (at_ms, step) = (r.u64()?, r.u16()?);
        let kind = match r.u8()? {
            0 => FrameKind::Stdout(r.rest().to_vec()),
            1 => FrameKind::Stderr(r.rest().to_vec()),
            2 => FrameKind::StepStarted,
            3 => {
                FrameKind::StepFinished { outcome: r.outcome()?, exit_code: r.option()?, signal: r.option()? }
            }
            4 => FrameKind::HostWanted,
            5 => FrameKind::JobFinished { outcome: r.outcome()?, reason: text(r.rest())? },
            _ => return Err(Error::Malformed("unknown kind of frame")),
        };
        r.end()?;
        Ok(Self { at_ms, step, kind })
    }
}

impl Plan {
    /// The plan's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.workspace.as_bytes());
        for n in [self.timeout_ms, self.grace_ms, self.drain_ms, self.steps.len() as u64] {
            out.extend(n.to_le_bytes());
        }
        for step in &self.steps {
            out.extend([step.condition as u8, u8::from(step.continue_on_error)]);
            out.extend(step.timeout_ms.to_le_bytes());
            match &step.kind {
                StepKind::Host => out.push(0),
                StepKind::Run { shell, script, cwd } => {
                    out.extend([1, *shell as u8]);
                    put(&mut out, script);
                    put(&mut out, cwd.as_bytes());
                }
            }
            out.extend((step.env.len() as u32).to_le_bytes());
            for (key, value) in &step.env {
                put(&mut out, key.as_bytes());
                put(&mut out, value.as_bytes());
            }
        }
        let mut whole = PLAN_MAGIC.to_vec();
        whole.extend(crc32(&out).to_le_bytes());
        whole.extend(out);
        whole
    }

    /// The plan in these bytes.
    ///
    /// # Errors
    /// When they are no plan, or above [`MAX_PLAN`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_PLAN {
            return Err(Error::Length { found: bytes.len(), limit: MAX_PLAN });
        }
        let mut r =
            Reader(bytes.strip_prefix(PLAN_MAGIC).ok_or(Error::Malformed("not a plan of this version"))?);
        if r.u32()? != crc32(r.0) {
            return Err(Error::Checksum);
        }
        let workspace = text(r.bytes()?)?;
        let (timeout_ms, grace_ms, drain_ms) = (r.u64()?, r.u64()?, r.u64()?);
        let mut steps = Vec::new();
        for _ in 0..r.u64()?.min(u64::from(u16::MAX)) {
            steps.push(r.step()?);
        }
        r.end()?;
        Ok(Self { workspace, timeout_ms, grace_ms, drain_ms, steps })
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend(bytes);
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn put_option(out: &mut Vec<u8>, value: Option<i32>) {
    out.push(u8::from(value.is_some()));
    out.extend(value.unwrap_or(0).to_le_bytes());
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed("text is not UTF-8"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Error::Malformed("it ends too early"))?;
        self.0 = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Malformed("it ends too early"))
    }
    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }
    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let n = self.u32()? as usize;
        self.take(n)
    }
    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Malformed("bytes after the end")) }
    }
    fn option(&mut self) -> Result<Option<i32>, Error> {
        let some = self.u8()?;
        let value = self.array().map(i32::from_le_bytes)?;
        Ok((some == 1).then_some(value))
    }
    fn outcome(&mut self) -> Result<Outcome, Error> {
        use Outcome::{Cancelled, Failed, Skipped, Succeeded, TimedOut};
        let all = [Succeeded, Failed, Cancelled, TimedOut, Skipped];
        all.get(usize::from(self.u8()?)).copied().ok_or(Error::Malformed("unknown outcome"))
    }
    fn step(&mut self) -> Result<Step, Error> {
        let conditions = [Condition::Success, Condition::Failure, Condition::Always];
        let condition =
            *conditions.get(usize::from(self.u8()?)).ok_or(Error::Malformed("unknown condition"))?;
        let (continue_on_error, timeout_ms) = (self.u8()? == 1, self.u64()?);
        let kind = match self.u8()? {
            0 => StepKind::Host,
            1 => {
                let shells = [Shell::Default, Shell::Bash, Shell::Sh];
                let shell = *shells.get(usize::from(self.u8()?)).ok_or(Error::Malformed("unknown shell"))?;
                StepKind::Run { shell, script: self.bytes()?.to_vec(), cwd: text(self.bytes()?)? }
            }
            _ => return Err(Error::Malformed("unknown kind of step")),
        };
        let mut env = Vec::new();
        for _ in 0..self.u32()? {
            env.push((text(self.bytes()?)?, text(self.bytes()?)?));
        }
        Ok(Step { kind, env, condition, timeout_ms, continue_on_error })
    }
}

/// CRC-32 (IEEE), so that init needs no crate.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut c, mut k) = (i as u32, 0);
            while k < 8 {
                c = if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
                k += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |c, b| TABLE[((c ^ u32::from(*b)) & 0xFF) as usize] ^ (c >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_a_torn_tail_is_not_yet_there() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let kind = FrameKind::StepFinished { exit_code: None, signal: Some(9), outcome: Outcome::Cancelled };
        let frame = Frame { at_ms: 7, step: 3, kind };
        let bytes = frame.encode();
        for cut in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..cut]), Ok(None));
        }
        assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len()))));
        let mut flipped = bytes.clone();
        flipped[HEAD + 1] ^= 1;
        assert_eq!(Frame::decode(&flipped), Err(Error::Checksum));
        assert!(Frame::decode(&[0xFF; 64]).is_err());
        assert!(Frame::decode(&[0; 64]).is_err());
    }

    #[test]
    fn plans_come_back_and_every_cut_is_refused() {
        let run = StepKind::Run { shell: Shell::Sh, script: b"\x00\xff".to_vec(), cwd: "a".into() };
        let env = vec![("A".to_owned(), "b".to_owned())];
        let step =
            Step { kind: run, env, condition: Condition::Always, timeout_ms: 5, continue_on_error: true };
        let plan =
            Plan { workspace: "/w".into(), timeout_ms: 1, grace_ms: 2, drain_ms: 3, steps: vec![step] };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes), Ok(plan));
        for cut in 0..bytes.len() {
            assert!(Plan::decode(&bytes[..cut]).is_err());
        }
    }
}
