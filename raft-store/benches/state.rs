//! The state of a node with many queued jobs: its memory, its snapshot, and how long anything stands still for it.
//!
//! `cargo bench -p raft-store --bench state -- [JOBS [SPEC_BYTES]]`, 1,000,000 and 512 unless it is said otherwise. Prints
//! a table.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{ClusterId, Command, Entry, Labels, NewJob, NewRun, Resources, RunId, SpecBytes};
use domain::{Timestamp, TokenId};
use openraft::EntryPayload;
use openraft::LogId;
use openraft::RaftSnapshotBuilder;
use openraft::alias::EntryOf;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use raft_store::disk::{LocalDisk, SharedDisk};
use raft_store::{Proposal, StateMachine, TypeConfig};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// What is asked for on the command line.
#[derive(Clone, Copy)]
struct Load {
    jobs: u64,
    /// Bytes of a job's specification.
    spec_bytes: usize,
}

/// Asks for a cold start in the directory behind it.
const COLD: &str = "--cold";
/// Entries that are applied together while the state is filled.
const FILL: u64 = 1000;
/// The same, while a snapshot is written or installed: what a busy leader applies at a time.
const BATCH: u64 = 64;

impl Load {
    fn from_args() -> Result<Self> {
        // Cargo adds words of its own.
        let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
        let numbers: std::result::Result<Vec<u64>, _> = words.take(2).map(|word| word.parse()).collect();
        let numbers = numbers?;
        let (jobs, spec_bytes) = (numbers.first().copied(), numbers.get(1).copied());
        Ok(Self { jobs: jobs.unwrap_or(1_000_000), spec_bytes: spec_bytes.unwrap_or(512) as usize })
    }
}

fn entry(index: u64, load: Load) -> EntryOf<TypeConfig> {
    let command = match index {
        1 => Command::InitCluster { cluster: ClusterId(1), token: TokenId(1), token_hash: [7; 32] },
        _ => submit(index, load),
    };
    let proposal = Proposal::new(Entry { at: Timestamp(index), command });
    EntryOf::<TypeConfig>::new(LogId::new_term_index(1, index), EntryPayload::Normal(proposal))
}

fn submit(index: u64, load: Load) -> Command {
    let job = NewJob {
        labels: Labels::from_iter(["linux", "nowhere"]),
        resources: Resources { cpu_millis: 1000, memory_mib: 512 },
        retry: domain::Retry::of_losses(3),
        ..NewJob::named("build")
    };
    let id = RunId(u128::from(index) << 64 | u128::from(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let specs = vec![SpecBytes(noise(index, load.spec_bytes))];
    let run = NewRun::of(id, "a job of the bench", vec![job], specs);
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&index.to_le_bytes());
    Command::SubmitRun {
        key: format!("token:bench-{index:016x}"),
        digest,
        sender: "bench".to_owned(),
        run,
        max_open_jobs: u32::MAX,
    }
}

/// Bytes of which none can be saved: Weyl's sequence, mixed as SplitMix64 does.
fn noise(seed: u64, bytes: usize) -> Arc<[u8]> {
    let words = (1..).map(|number| {
        let word = (seed << 16 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word ^ word >> 27
    });
    words.flat_map(u64::to_le_bytes).take(bytes).collect::<Vec<u8>>().into()
}

/// Applies so many entries; answers how long the machine took for them, and nothing else did.
async fn apply(machine: &mut StateMachine, load: Load, first: u64, count: u64) -> Result<Duration> {
    let entries: Vec<_> = (first..first + count).map(|index| Ok((entry(index, load), None))).collect();
    let since = Instant::now();
    machine.apply(Box::pin(futures::stream::iter(entries))).await?;
    Ok(since.elapsed())
}

/// KiB of this process in memory.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

/// What the process takes, and how much of that each job costs beside its specification.
fn memory(load: Load, empty: u64) -> Result<String> {
    let now = resident()?;
    let grown = (now.saturating_sub(empty) << 10) as f64;
    let overhead = grown / load.jobs as f64 - load.spec_bytes as f64;
    Ok(format!("{} MiB, {overhead:.0} bytes a job beside its specification", now >> 10))
}

fn say(what: &str, value: impl std::fmt::Display) {
    println!("| {what} | {value} |");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Batches are applied until `work` is done; answers the longest, the median, and how many there were.
async fn apply_while<T>(
    machine: &mut StateMachine,
    load: Load,
    next: &mut u64,
    work: impl Future<Output = T>,
) -> Result<(T, String)> {
    let mut work = std::pin::pin!(work);
    let mut times = Vec::new();
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
        times.push(apply(machine, load, *next, BATCH).await?);
        *next += BATCH;
    };
    times.sort_unstable();
    let (median, longest) = (times.get(times.len() / 2), times.last());
    let words = format!(
        "longest {}, median {}, of {} batches of {BATCH}",
        ms(longest.copied().unwrap_or_default()),
        ms(median.copied().unwrap_or_default()),
        times.len()
    );
    Ok((done, words))
}

fn open(dir: &Path) -> Result<StateMachine> {
    Ok(StateMachine::open(Arc::new(LocalDisk) as SharedDisk, dir)?)
}

fn cold_start(load: Load, dir: &Path) -> Result {
    let (empty, since) = (resident()?, Instant::now());
    let machine = open(dir)?;
    say("cold start from it", format!("{:.2} s", since.elapsed().as_secs_f64()));
    say("memory of the new process", memory(load, empty)?);
    drop(machine);
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result {
    let load = Load::from_args()?;
    let Load { jobs, spec_bytes } = load;
    if let Some(dir) = std::env::args().skip_while(|word| word != COLD).nth(1) {
        return cold_start(load, Path::new(&dir));
    }
    let dir = tempfile::tempdir()?;
    let here = dir.path().join("here");
    println!("| {jobs} queued jobs, {spec_bytes} bytes of specification each | |\n|---|---|");
    let empty = resident()?;
    say("memory of the process at first", format!("{} MiB", empty >> 10));
    let mut machine = open(&here)?;
    let (mut next, mut busy) = (1, Duration::ZERO);
    while next <= jobs {
        busy += apply(&mut machine, load, next, FILL.min(jobs + 1 - next)).await?;
        next += FILL.min(jobs + 1 - next);
    }
    let open_jobs = machine.view().current().state.open_jobs;
    assert_eq!(u64::from(open_jobs), jobs - 1, "all but the first entry are jobs");
    say("applied", format!("{:.0} entries/s", jobs as f64 / busy.as_secs_f64()));
    say("memory", memory(load, empty)?);

    let (_, quiet) =
        apply_while(&mut machine, load, &mut next, tokio::time::sleep(Duration::from_secs(2))).await?;
    say("apply, nothing else going on", quiet);
    let since = Instant::now();
    let mut builder = machine.get_snapshot_builder().await;
    say("apply stands still for the view", ms(since.elapsed()));
    let mut builds = tokio::task::JoinSet::new();
    builds.spawn(async move { (builder.build_snapshot().await, builder) });
    let build = async { builds.join_next().await.ok_or("nothing was built") };
    let (built, stalls) = apply_while(&mut machine, load, &mut next, build).await?;
    let (snapshot, builder) = built??;
    let snapshot = snapshot?;
    let bytes = fs::metadata(&snapshot.snapshot.path)?.len();
    let seconds = since.elapsed().as_secs_f64();
    say("snapshot written and synced", format!("{seconds:.2} s, {} MiB", bytes >> 20));
    say("apply meanwhile", stalls);
    say("memory after it", memory(load, empty)?);
    drop(builder);

    // Another member, which has a state of its own, is sent the snapshot.
    let since = Instant::now();
    machine.install_snapshot(&snapshot.meta, snapshot.snapshot.clone()).await?;
    say("the same snapshot installed over what is newer", ms(since.elapsed()));
    say("memory then", memory(load, empty)?);
    drop((machine, snapshot));
    // In a process that has no memory yet.
    let status = std::process::Command::new(std::env::current_exe()?)
        .args([&jobs.to_string(), &spec_bytes.to_string(), COLD])
        .arg(&here)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("the cold start failed: {status}").into()) }
}
