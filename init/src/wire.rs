//! The plan and the orders that the node writes, and the frames that init appends to the spool, as bytes.
//!
//! A frame is `length: u32, crc32: u32, body`, little-endian. A torn last frame is "not yet there"; everything else that
//! does not decode is an error. Must not know: files, processes.

use std::fmt;

/// Bytes of output in one frame, at most.
pub const MAX_CHUNK: usize = 32 * 1024;
/// Bytes of a frame's body, at most.
pub const MAX_BODY: usize = 64 * 1024;
/// Bytes of a plan or an order, at most.
pub const MAX_ORDER: usize = 64 * 1024 * 1024;
/// Bytes of one of [`FILES`], at most.
pub const MAX_FILE: usize = 1024 * 1024;
const HEAD: usize = 8;
const PLAN_MAGIC: &[u8; 8] = b"troupe\x00\x02";
const ORDER_MAGIC: &[u8; 8] = b"troupe\x01\x02";

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

/// How an order ended.
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

/// What is the same for all of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Absolute path of the workspace, as init sees it.
    pub workspace: String,
    /// Milliseconds for the job; 0 is no limit.
    pub timeout_ms: u64,
    /// Milliseconds between TERM and KILL, and for what is ordered after a cancel.
    pub grace_ms: u64,
    /// Milliseconds that output of a finished step is waited for while something keeps its pipes open.
    pub drain_ms: u64,
}

/// One thing that the node wants done; the file `order-N` of the control directory, N from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Index of the step that it is for.
    pub step: u16,
    /// The node knew that the job is cancelled or out of time when it gave it. Then only such orders are carried out.
    pub stopping: bool,
    /// Milliseconds; 0 means only the job's limit.
    pub timeout_ms: u64,
    /// What to do.
    pub work: Work,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A process.
    Run(Run),
    /// Nothing: the node does it itself and says so with `host N CODE`. Init sees to the limits.
    Host,
    /// The end: init exits with 0 or 1.
    Finish {
        /// The job succeeded.
        success: bool,
    },
}

/// A process to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Program and arguments, in which `{0}` is the script's file. Empty is `bash -e {0}` where there is bash, else `sh -e {0}`.
    pub argv: Vec<String>,
    /// The script's bytes.
    pub script: Vec<u8>,
    /// Absolute, or relative to the workspace; empty is the workspace.
    pub cwd: String,
    /// Added to init's environment, in order; later ones win.
    pub env: Vec<(String, String)>,
    /// Put before the PATH, the last one first.
    pub path: Vec<String>,
    /// It is given the files of [`FILES`], and what it wrote there is told.
    pub files: bool,
    /// Nothing comes after it, however it ends: init ends with it.
    pub last: bool,
}

/// Files by which a step tells something, each with the variable that names it.
pub const FILES: [(&str, &str); 5] = [
    ("output", "GITHUB_OUTPUT"),
    ("env", "GITHUB_ENV"),
    ("path", "GITHUB_PATH"),
    ("summary", "GITHUB_STEP_SUMMARY"),
    ("state", "GITHUB_STATE"),
];

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameKind {
    /// Output, byte for byte.
    Stdout(Vec<u8>),
    /// Output, byte for byte.
    Stderr(Vec<u8>),
    /// An order is begun.
    OrderStarted {
        /// Its number.
        order: u32,
    },
    /// A piece of what a step wrote into one of [`FILES`], before its order is over; pieces follow each other.
    File {
        /// Index in [`FILES`].
        file: u8,
        /// At most [`MAX_CHUNK`].
        bytes: Vec<u8>,
    },
    /// An order is over.
    OrderOver {
        /// Its number.
        order: u32,
        /// When it exited by itself, or was answered.
        exit_code: Option<i32>,
        /// When a signal ended it.
        signal: Option<i32>,
        /// How. Skipped: the job stops, and the node did not know that when it gave the order.
        outcome: Outcome,
        /// Which of [`FILES`], a bit for each, could not be read or had more than [`MAX_FILE`].
        bad_files: u8,
    },
    /// The job is cancelled or out of time: from now on only orders are carried out that say so.
    Stopping {
        /// Cancelled or timed out.
        outcome: Outcome,
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
    /// The frame's bytes. Content above [`MAX_CHUNK`] is the caller's to cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.at_ms.to_le_bytes());
        body.extend(self.step.to_le_bytes());
        match &self.kind {
            FrameKind::Stdout(bytes) => tagged(&mut body, 0, bytes),
            FrameKind::Stderr(bytes) => tagged(&mut body, 1, bytes),
            FrameKind::OrderStarted { order } => tagged(&mut body, 2, &order.to_le_bytes()),
            FrameKind::OrderOver { order, exit_code, signal, outcome, bad_files } => {
                tagged(&mut body, 3, &order.to_le_bytes());
                body.extend([*outcome as u8, *bad_files]);
                put_option(&mut body, *exit_code);
                put_option(&mut body, *signal);
            }
            FrameKind::File { file, bytes } => {
                body.extend([4, *file]);
                body.extend(bytes);
            }
            FrameKind::Stopping { outcome } => body.extend([5, *outcome as u8]),
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
            2 => FrameKind::OrderStarted { order: r.u32()? },
            3 => FrameKind::OrderOver {
                order: r.u32()?,
                outcome: r.outcome()?,
                bad_files: r.u8()?,
                exit_code: r.option()?,
                signal: r.option()?,
            },
            4 => FrameKind::File { file: r.file()?, bytes: r.rest().to_vec() },
            5 => FrameKind::Stopping { outcome: r.outcome()? },
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
        for n in [self.timeout_ms, self.grace_ms, self.drain_ms] {
            out.extend(n.to_le_bytes());
        }
        sealed(PLAN_MAGIC, &out)
    }

    /// The plan in these bytes.
    ///
    /// # Errors
    /// When they are no plan, or above [`MAX_ORDER`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = unsealed(PLAN_MAGIC, bytes)?;
        let workspace = text(r.bytes()?)?;
        let plan = Self { workspace, timeout_ms: r.u64()?, grace_ms: r.u64()?, drain_ms: r.u64()? };
        r.end()?;
        Ok(plan)
    }
}

impl Order {
    /// Name of its file in the control directory.
    #[must_use]
    pub fn file(number: u32) -> String {
        format!("order-{number}")
    }

    /// The order's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.step.to_le_bytes().to_vec();
        out.push(u8::from(self.stopping));
        out.extend(self.timeout_ms.to_le_bytes());
        match &self.work {
            Work::Host => out.push(0),
            Work::Finish { success } => out.extend([1, u8::from(*success)]),
            Work::Run(run) => {
                out.extend([2, u8::from(run.files), u8::from(run.last)]);
                put(&mut out, &run.script);
                put(&mut out, run.cwd.as_bytes());
                for list in [&run.argv, &run.path] {
                    out.extend((list.len() as u32).to_le_bytes());
                    list.iter().for_each(|word| put(&mut out, word.as_bytes()));
                }
                out.extend((run.env.len() as u32).to_le_bytes());
                for (key, value) in &run.env {
                    put(&mut out, key.as_bytes());
                    put(&mut out, value.as_bytes());
                }
            }
        }
        sealed(ORDER_MAGIC, &out)
    }

    /// The order in these bytes.
    ///
    /// # Errors
    /// When they are no order, or above [`MAX_ORDER`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = unsealed(ORDER_MAGIC, bytes)?;
        let (step, stopping, timeout_ms) = (r.u16()?, r.u8()? == 1, r.u64()?);
        let work = match r.u8()? {
            0 => Work::Host,
            1 => Work::Finish { success: r.u8()? == 1 },
            2 => Work::Run(r.run()?),
            _ => return Err(Error::Malformed("unknown kind of order")),
        };
        r.end()?;
        Ok(Self { step, stopping, timeout_ms, work })
    }
}

fn sealed(magic: &[u8; 8], content: &[u8]) -> Vec<u8> {
    let mut whole = magic.to_vec();
    whole.extend(crc32(content).to_le_bytes());
    whole.extend(content);
    whole
}

fn unsealed<'a>(magic: &[u8; 8], bytes: &'a [u8]) -> Result<Reader<'a>, Error> {
    if bytes.len() > MAX_ORDER {
        return Err(Error::Length { found: bytes.len(), limit: MAX_ORDER });
    }
    let mut r = Reader(bytes.strip_prefix(magic).ok_or(Error::Malformed("not of this version"))?);
    if r.u32()? != crc32(r.0) {
        return Err(Error::Checksum);
    }
    Ok(r)
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
    fn file(&mut self) -> Result<u8, Error> {
        let file = self.u8()?;
        if usize::from(file) < FILES.len() { Ok(file) } else { Err(Error::Malformed("unknown file")) }
    }
    fn words(&mut self) -> Result<Vec<String>, Error> {
        (0..self.u32()?).map(|_| text(self.bytes()?)).collect()
    }
    fn run(&mut self) -> Result<Run, Error> {
        let (files, last) = (self.u8()? == 1, self.u8()? == 1);
        let (script, cwd) = (self.bytes()?.to_vec(), text(self.bytes()?)?);
        let (argv, path) = (self.words()?, self.words()?);
        let mut env = Vec::new();
        for _ in 0..self.u32()? {
            env.push((text(self.bytes()?)?, text(self.bytes()?)?));
        }
        Ok(Run { argv, script, cwd, env, path, files, last })
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
        let over = FrameKind::OrderOver {
            order: 9,
            exit_code: None,
            signal: Some(9),
            outcome: Outcome::Cancelled,
            bad_files: 3,
        };
        let kinds = [
            FrameKind::Stderr(b"x".to_vec()),
            FrameKind::OrderStarted { order: 1 << 20 },
            FrameKind::File { file: 4, bytes: b"a=b".to_vec() },
            FrameKind::Stopping { outcome: Outcome::TimedOut },
            over,
        ];
        for kind in kinds {
            let frame = Frame { at_ms: 7, step: 3, kind };
            let bytes = frame.encode();
            for cut in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..cut]), Ok(None));
            }
            let mut flipped = bytes.clone();
            flipped[HEAD + 1] ^= 1;
            assert_eq!(Frame::decode(&flipped), Err(Error::Checksum));
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len()))));
        }
        assert!(Frame::decode(&[0xFF; 64]).is_err());
        assert!(Frame::decode(&[0; 64]).is_err());
    }

    #[test]
    fn plans_and_orders_come_back_and_every_cut_is_refused() {
        let plan = Plan { workspace: "/w".into(), timeout_ms: 1, grace_ms: 2, drain_ms: 3 };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes), Ok(plan));
        for cut in 0..bytes.len() {
            assert!(Plan::decode(&bytes[..cut]).is_err());
        }
        let run = Run {
            argv: vec!["sh".into(), "{0}".into()],
            script: b"\x00\xff".to_vec(),
            cwd: "a".into(),
            env: vec![("A".into(), "b".into())],
            path: vec!["/p".into()],
            files: true,
            last: false,
        };
        for work in [Work::Run(run), Work::Host, Work::Finish { success: true }] {
            let order = Order { step: 7, stopping: true, timeout_ms: 5, work };
            let bytes = order.encode();
            for cut in 0..bytes.len() {
                assert!(Order::decode(&bytes[..cut]).is_err());
            }
            assert_eq!(Order::decode(&bytes), Ok(order));
        }
    }
}
