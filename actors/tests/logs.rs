//! Logs: copied from the spool exactly once whatever dies when, capped, followed, read by offset.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use actors::logs::{Content, Error, Frame, LogStore, Stream, follow, read};
use domain::{AttemptId, JobId, Outcome, RunId};
use futures::StreamExt;
use init::wire::{self, FrameKind};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const ATTEMPT: AttemptId = AttemptId { job: JobId { run: RunId(7), index: 0 }, number: 1 };

struct Bench {
    dir: tempfile::TempDir,
    cap: u64,
}

impl Bench {
    fn new(cap: u64) -> Result<Self> {
        let bench = Self { dir: tempfile::tempdir()?, cap };
        fs::create_dir_all(bench.store().attempt_dir(ATTEMPT))?;
        Ok(bench)
    }

    /// As a node that has just started has it.
    fn store(&self) -> LogStore {
        LogStore::new(self.dir.path().join("attempts"), self.cap)
    }

    fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    fn write(&self, kinds: &[FrameKind]) -> Result {
        let mut bytes = Vec::new();
        for kind in kinds {
            bytes.extend(wire::Frame { at_ms: 5, step: 1, kind: kind.clone() }.encode());
        }
        self.append(&bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result {
        OpenOptions::new().create(true).append(true).open(self.spool())?.write_all(bytes)?;
        Ok(())
    }

    /// Copies all there is.
    fn copy(&self, store: &LogStore) -> Result<Vec<Frame>> {
        let mut copier = store.copier(ATTEMPT, &self.spool())?;
        let mut events = copier.take_replayed();
        loop {
            let pumped = copier.pump()?;
            events.extend(pumped.events);
            if !pumped.progressed {
                return Ok(events);
            }
        }
    }
}

fn out(text: &str) -> FrameKind {
    FrameKind::Stdout(text.as_bytes().to_vec())
}

fn err(text: &str) -> FrameKind {
    FrameKind::Stderr(text.as_bytes().to_vec())
}

fn finished() -> FrameKind {
    FrameKind::StepFinished { exit_code: Some(3), signal: None, outcome: wire::Outcome::Failed }
}

fn text(frames: &[Frame]) -> String {
    let output = frames.iter().filter_map(|frame| match &frame.content {
        Content::Output(_, bytes) => Some(String::from_utf8_lossy(bytes)),
        _ => None,
    });
    output.collect()
}

#[tokio::test]
async fn what_was_written_is_read_in_order_with_offsets() -> Result {
    let bench = Bench::new(1000)?;
    bench.write(&[FrameKind::StepStarted, out("one\n"), err("two\n"), out("three\n"), finished()])?;
    let store = bench.store();
    let events = bench.copy(&store)?;
    let expected = Content::StepFinished { exit_code: Some(3), signal: None, outcome: Outcome::Failed };
    assert_eq!(
        events.iter().map(|e| e.content.clone()).collect::<Vec<_>>(),
        [Content::StepStarted, expected]
    );
    store.end(ATTEMPT);
    let page = read(&store, ATTEMPT, 0, u64::MAX).await?;
    assert_eq!((text(&page.frames).as_str(), page.next, page.end), ("one\ntwo\nthree\n", 14, true));
    let streams = page.frames.iter().filter_map(|f| match f.content {
        Content::Output(stream, _) => Some((stream, f.offset)),
        _ => None,
    });
    let streams: Vec<_> = streams.collect();
    assert_eq!(streams, [(Stream::Stdout, 0), (Stream::Stderr, 4), (Stream::Stdout, 8)]);
    for from in 0..14 {
        let page = read(&store, ATTEMPT, from, u64::MAX).await?;
        assert_eq!(text(&page.frames), "one\ntwo\nthree\n"[from as usize..], "from {from}");
    }
    Ok(())
}

#[test]
fn a_node_killed_at_any_byte_loses_nothing_and_doubles_nothing() -> Result {
    let bench = Bench::new(1000)?;
    bench.write(&[FrameKind::StepStarted, out("one\n"), err("two\n"), finished()])?;
    let events = bench.copy(&bench.store())?;
    let log = bench.store().attempt_dir(ATTEMPT).join("log");
    let whole = fs::read(&log)?;
    for cut in 0..=whole.len() {
        // What a node that died in the middle of a write leaves.
        fs::write(&log, &whole[..cut])?;
        assert_eq!(bench.copy(&bench.store())?, events, "cut at {cut}");
        assert!(fs::read(&log)? == whole, "cut at {cut}: the log differs");
    }
    Ok(())
}

#[test]
fn half_a_frame_in_the_spool_is_not_there_yet_and_garbage_is_an_error() -> Result {
    let bench = Bench::new(1000)?;
    let frame = wire::Frame { at_ms: 5, step: 1, kind: out("whole\n") }.encode();
    let store = bench.store();
    let mut copier = store.copier(ATTEMPT, &bench.spool())?;
    assert!(!copier.pump()?.progressed, "no spool yet");
    bench.append(&frame[..frame.len() - 1])?;
    assert!(!copier.pump()?.progressed, "half a frame");
    bench.append(&frame[frame.len() - 1..])?;
    assert!(copier.pump()?.progressed);
    assert_eq!(copier.output_bytes(), 6);
    bench.append(&[0xff; 64])?;
    assert!(matches!(copier.pump(), Err(Error::BadSpool { .. })));
    Ok(())
}

#[tokio::test]
async fn output_past_the_cap_is_counted_and_dropped_also_across_a_restart() -> Result {
    let bench = Bench::new(10)?;
    bench.write(&[out("0123456"), out("789abc"), finished(), out("more")])?;
    bench.copy(&bench.store())?;
    bench.write(&[out("after the restart"), FrameKind::StepStarted])?;
    let store = bench.store();
    let events = bench.copy(&store)?;
    store.end(ATTEMPT);
    let page = read(&store, ATTEMPT, 0, u64::MAX).await?;
    assert_eq!((text(&page.frames).as_str(), page.next), ("0123456789", 10));
    let dropped = page.frames.iter().filter_map(|frame| match frame.content {
        Content::Dropped(bytes) => Some(bytes),
        _ => None,
    });
    assert_eq!(dropped.sum::<u64>(), 3 + 4 + 17);
    assert!(events.iter().any(|event| event.content == Content::StepStarted), "steps are never dropped");
    Ok(())
}

#[tokio::test]
async fn a_follower_sees_every_byte_once_until_the_end() -> Result {
    let bench = Bench::new(1_000_000)?;
    bench.write(&[out("0\n")])?;
    let store = bench.store();
    let mut copier = store.copier(ATTEMPT, &bench.spool())?;
    copier.pump()?;
    let mut frames = Box::pin(follow(store.clone(), ATTEMPT, 0));
    let mut seen = vec![frames.next().await.ok_or("no frame")??];
    for n in 1..100 {
        bench.write(&[out(&format!("{n}\n"))])?;
        copier.pump()?;
        seen.push(frames.next().await.ok_or("no frame")??);
    }
    store.end(ATTEMPT);
    assert!(frames.next().await.is_none(), "a follower ends with the log");
    let wanted: String = (0..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(text(&seen), wanted);
    let late: Vec<_> = follow(store, ATTEMPT, 100)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<std::result::Result<_, _>>()?;
    assert_eq!(text(&late), wanted[100..]);
    Ok(())
}

#[tokio::test]
async fn a_log_of_another_node_is_not_here() -> Result {
    let bench = Bench::new(10)?;
    let error = read(&bench.store(), ATTEMPT, 0, 10).await.err().ok_or("read a log that is not there")?;
    assert!(matches!(error, Error::NotHere { attempt: ATTEMPT }), "{error}");
    Ok(())
}
