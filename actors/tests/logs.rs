//! Logs: copied from the spool exactly once whatever dies when, capped, followed, read by offset.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use actors::logs::{Content, Error, Event, Frame, Listening, LogStore, SpoolCopier, Stream, follow, read};
use domain::{AttemptId, JobId, RunId};
use futures::StreamExt;
use init::wire::{self, FrameKind};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const ATTEMPT: AttemptId = AttemptId { job: JobId { run: RunId(7), index: 0 }, number: 1 };

/// That its steps can have reason to tell.
const EVENTS: usize = 10;

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
    fn copy(&self, store: &LogStore) -> Result<Vec<FrameKind>> {
        let mut events = Vec::new();
        let mut copier =
            store.copier(ATTEMPT, &self.spool(), EVENTS, None, &mut |event| events.push(event))?;
        loop {
            let pumped = copier.pump()?;
            events.extend(pumped.events);
            if !pumped.progressed {
                return Ok(kinds(events));
            }
        }
    }
}

fn kinds(events: Vec<Event>) -> Vec<FrameKind> {
    let kind = |event| if let Event::Told(frame) = event { Some(frame.kind) } else { None };
    events.into_iter().filter_map(kind).collect()
}

fn started() -> FrameKind {
    FrameKind::OrderStarted { order: 1 }
}

fn out(text: &str) -> FrameKind {
    FrameKind::Stdout(text.as_bytes().to_vec())
}

fn err(text: &str) -> FrameKind {
    FrameKind::Stderr(text.as_bytes().to_vec())
}

fn finished() -> FrameKind {
    FrameKind::OrderOver {
        order: 1,
        exit_code: Some(3),
        signal: None,
        outcome: wire::Outcome::Failed,
        bad_files: 0,
    }
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
    bench.write(&[started(), out("one\n"), err("two\n"), out("three\n"), finished()])?;
    let store = bench.store();
    let events = bench.copy(&store)?;
    assert_eq!(events, [started(), finished()]);
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

/// What a node leaves on disk: log and journal.
fn left(bench: &Bench) -> Result<[Vec<u8>; 2]> {
    let dir = bench.store().attempt_dir(ATTEMPT);
    Ok([fs::read(dir.join("log")).unwrap_or_default(), fs::read(dir.join("journal")).unwrap_or_default()])
}

/// Copies a spool that grows by frames, and then all of it again and again by nodes that died in the middle of a write.
fn killed_at_any_byte(frames: &[FrameKind], listening: Option<&Listening>) -> Result<String> {
    let copier = |bench: &Bench, events: &mut Vec<Event>| -> Result<SpoolCopier> {
        Ok(bench.store().copier(ATTEMPT, &bench.spool(), EVENTS, listening, &mut |e| events.push(e))?)
    };
    let (bench, mut whole) = (Bench::new(1000)?, Vec::new());
    let mut states = vec![[Vec::new(), Vec::new()]];
    let mut copying = copier(&bench, &mut whole)?;
    for frame in frames {
        bench.write(std::slice::from_ref(frame))?;
        whole.extend(copying.pump()?.events);
        states.push(left(&bench)?);
    }
    drop(copying);
    let wanted = states[states.len() - 1].clone();
    let dir = bench.store().attempt_dir(ATTEMPT);
    for ((before, after), frame) in states.iter().zip(&states[1..]).zip(frames) {
        let log = |journal| (before[0].len()..=after[0].len()).map(move |cut| (&after[0][..cut], journal));
        let journal = |log| (before[1].len()..=after[1].len()).map(move |cut| (log, &after[1][..cut]));
        // A command is written down before what it stood in; what init tells behind what came before it.
        let cuts: Vec<_> = match frame {
            FrameKind::Stdout(_) | FrameKind::Stderr(_) => {
                journal(&before[0][..]).chain(log(&after[1][..])).collect()
            }
            _ => log(&before[1][..]).chain(journal(&after[0][..])).collect(),
        };
        for (log, journal) in cuts {
            fs::write(dir.join("log"), log)?;
            fs::write(dir.join("journal"), journal)?;
            let mut events = Vec::new();
            let mut again = copier(&bench, &mut events)?;
            while {
                let pumped = again.pump()?;
                events.extend(pumped.events);
                pumped.progressed
            } {}
            let (log, journal) = (log.len(), journal.len());
            assert_eq!(events, whole, "{log} bytes of log, {journal} of journal");
            let found = left(&bench)?;
            assert_eq!(decoded(&found[0]), decoded(&wanted[0]), "{log} bytes of log, {journal} of journal");
            assert!(found[1] == wanted[1], "{log} bytes of log, {journal} of journal: the journals differ");
        }
    }
    Ok(text(&decoded(&wanted[0])))
}

fn decoded(log: &[u8]) -> Vec<Frame> {
    let (mut at, mut frames) = (0, Vec::new());
    while let Some((frame, len)) = Frame::decode(&log[at..]) {
        frames.push(frame);
        at += len;
    }
    frames
}

#[test]
fn a_node_killed_at_any_byte_loses_nothing_and_doubles_nothing() -> Result {
    let frames = [started(), out("one\n"), err("two\n"), finished()];
    assert_eq!(killed_at_any_byte(&frames, None)?, "one\ntwo\n");
    Ok(())
}

#[test]
fn a_node_killed_at_any_byte_shows_no_secret_and_hears_every_command_once() -> Result {
    let frames = [
        started(),
        out("a hun"),
        out("ter2 b\n::add-ma"),
        err("else\n"),
        out("sk::tok-en\nnow tok"),
        out("-en\n::notice::n"),
        out("ote\n"),
        finished(),
        started(),
        out("hunter2 tok-en"),
        finished(),
    ];
    let listening = Listening { secrets: vec![("PASSWORD".to_owned(), "hunter2".to_owned())], debug: false };
    let text = killed_at_any_byte(&frames, Some(&listening))?;
    assert_eq!(text, "a *** b\n::add-maelse\nsk::***\nnow ***\n::notice::note\n*** ***");
    Ok(())
}

#[test]
fn half_a_frame_in_the_spool_is_not_there_yet_and_garbage_is_an_error() -> Result {
    let bench = Bench::new(1000)?;
    let frame = wire::Frame { at_ms: 5, step: 1, kind: out("whole\n") }.encode();
    let store = bench.store();
    let mut copier = store.copier(ATTEMPT, &bench.spool(), EVENTS, None, &mut |_| {})?;
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
    bench.write(&[out("after the restart"), started()])?;
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
    assert!(events.contains(&started()), "steps are never dropped");
    Ok(())
}

#[tokio::test]
async fn a_follower_sees_every_byte_once_until_the_end() -> Result {
    let bench = Bench::new(1_000_000)?;
    bench.write(&[out("0\n")])?;
    let store = bench.store();
    let mut copier = store.copier(ATTEMPT, &bench.spool(), EVENTS, None, &mut |_| {})?;
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

fn is_bad_spool(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(Error::BadSpool { .. }))
}

/// The numbers of bytes in each frame that says that something was dropped.
fn marks(frames: &[Frame]) -> Vec<u64> {
    let marks = frames.iter().filter_map(|frame| match frame.content {
        Content::Dropped(bytes) => Some(bytes),
        _ => None,
    });
    marks.collect()
}

#[tokio::test]
async fn a_log_longer_than_any_buffer_is_taken_up_where_it_stopped() -> Result {
    let bench = Bench::new(100 << 20)?;
    let line = |n: u32| FrameKind::Stdout(format!("{n:0>1000}\n").into_bytes());
    let first: Vec<_> = (0..3000).map(line).collect();
    bench.write(&[started()])?;
    bench.write(&first)?;
    let events = bench.copy(&bench.store())?;
    bench.write(&[finished(), line(3000)])?;
    let store = bench.store();
    let again = bench.copy(&store)?;
    assert_eq!((again.len(), &again[0]), (2, &events[0]));
    store.end(ATTEMPT);
    let page = read(&store, ATTEMPT, 0, u64::MAX).await?;
    let wanted: String = (0..=3000).map(|n| format!("{n:0>1000}\n")).collect();
    assert!(text(&page.frames) == wanted, "a byte is missing or doubled");
    Ok(())
}

#[tokio::test]
async fn forged_frames_do_not_make_the_log_grow() -> Result {
    for forged in [started(), FrameKind::Stopping { outcome: wire::Outcome::Cancelled }, finished()] {
        let bench = Bench::new(1000)?;
        bench.write(&[out("before\n")])?;
        bench.write(&vec![forged; 100_000])?;
        let store = bench.store();
        let error = bench.copy(&store).err().ok_or("it was taken")?;
        assert!(is_bad_spool(&*error), "{error}");
        store.end(ATTEMPT);
        let page = read(&store, ATTEMPT, 0, u64::MAX).await?;
        assert_eq!(text(&page.frames), "before\n", "what was right is there");
        assert_eq!(page.frames.len(), 1);
        let journal = fs::metadata(store.attempt_dir(ATTEMPT).join("journal"))?.len();
        assert!(journal < 1000, "{journal}");
        // Also when it is taken up again.
        assert!(bench.copy(&bench.store()).is_err_and(|error| is_bad_spool(&*error)));
        assert_eq!(read(&store, ATTEMPT, 0, u64::MAX).await?.frames.len(), page.frames.len());
    }
    Ok(())
}

#[test]
fn what_steps_tell_is_bounded() -> Result {
    let bench = Bench::new(1000)?;
    let piece = FrameKind::File { file: 0, bytes: vec![b'x'; 32 * 1024] };
    bench.write(&vec![piece; 2000])?;
    let error = bench.copy(&bench.store()).err().ok_or("it was taken")?;
    assert!(is_bad_spool(&*error) && error.to_string().contains("bytes in all"), "{error}");
    Ok(())
}

#[tokio::test]
async fn output_in_tiny_pieces_does_not_make_a_log_many_times_its_cap() -> Result {
    const CAP: u64 = 200_000;
    let bench = Bench::new(CAP)?;
    bench.write(&vec![out("x"); CAP as usize])?;
    let store = bench.store();
    bench.copy(&store)?;
    bench.write(&[started()])?;
    bench.copy(&store)?;
    store.end(ATTEMPT);
    let size = fs::metadata(store.attempt_dir(ATTEMPT).join("log"))?.len();
    assert!(size < 2 * CAP + (1 << 20) + 1000, "{size}");
    let page = read(&store, ATTEMPT, 0, u64::MAX).await?;
    assert!(page.next > 0 && page.next < CAP);
    assert_eq!(page.next + marks(&page.frames).iter().sum::<u64>(), CAP, "what is not there is counted");
    Ok(())
}

#[tokio::test]
async fn what_is_dropped_for_long_is_counted_in_few_frames() -> Result {
    let bench = Bench::new(10)?;
    let (store, mut total) = (bench.store(), 0);
    let mut copier = store.copier(ATTEMPT, &bench.spool(), EVENTS, None, &mut |_| {})?;
    let chunk = FrameKind::Stdout(vec![b'x'; 30_000]);
    for _ in 0..100 {
        bench.write(&vec![chunk.clone(); 30])?;
        total += 30 * 30_000;
        assert!(copier.pump()?.progressed);
    }
    // The node dies, and what was not told yet is read again.
    drop(copier);
    let mut copier = store.copier(ATTEMPT, &bench.spool(), EVENTS, None, &mut |_| {})?;
    while copier.pump()?.progressed {}
    copier.sync()?;
    store.end(ATTEMPT);
    let marks = marks(&read(&store, ATTEMPT, 0, u64::MAX).await?.frames);
    assert!(marks.len() <= 3, "{marks:?}");
    assert_eq!(marks.iter().sum::<u64>() + 10, total);
    Ok(())
}
