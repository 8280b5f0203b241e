//! The log store and the state machine: openraft's own suite, then what it does not test: crashes, damage, restarts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use domain::{ClusterId, Command, Entry, Timestamp, TokenId};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::errors::ErrorSource;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt as _;
use openraft::{EntryPayload, LogId, RaftLogReader, RaftSnapshotBuilder, StorageError};
use raft_store::disk::{LocalDisk, SharedDisk};
use raft_store::{LogSizes, LogStore, Proposal, StateMachine, TypeConfig};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn open(dir: &Path) -> std::io::Result<LogStore> {
    LogStore::open(disk(), dir, LogSizes { segment: 64 << 10, cache: 1 << 20 })
}

struct Builder;

fn disk() -> SharedDisk {
    Arc::new(LocalDisk)
}

fn failed(error: &std::io::Error) -> StorageError<TypeConfig> {
    StorageError::read(openraft::impls::BoxedErrorSource::from_error(error))
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> std::result::Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().map_err(|e| failed(&e))?;
        let log = open(&dir.path().join("log")).map_err(|e| failed(&e))?;
        let machine = StateMachine::open(disk(), &dir.path().join("state")).map_err(|e| failed(&e))?;
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn openrafts_suite_passes() -> Result {
    Suite::test_all(Builder).await?;
    Ok(())
}

fn entry(index: u64) -> EntryOf<TypeConfig> {
    let command = match index {
        1 => Command::InitCluster { cluster: ClusterId(1), token: TokenId(1), token_hash: [7; 32] },
        _ => Command::CreateToken {
            id: TokenId(u128::from(index)),
            name: format!("token {index}"),
            hash: [index as u8; 32],
            right: domain::Right::Read,
            expires_at: None,
        },
    };
    let proposal = Proposal::new(Entry { at: Timestamp(index), command });
    EntryOf::<TypeConfig>::new(LogId::new_term_index(1, index), EntryPayload::Normal(proposal))
}

fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<EntryOf<TypeConfig>> {
    range.map(entry).collect()
}

async fn apply(machine: &mut StateMachine, entries: Vec<EntryOf<TypeConfig>>) -> Result {
    let stream = futures::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
    machine.apply(Box::pin(stream)).await?;
    Ok(())
}

/// Copies what a crash would leave: the files as they are now, while the store is still open.
fn copy_dir(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}

fn newest_chunk(dir: &Path) -> Result<std::path::PathBuf> {
    let mut chunks: Vec<_> =
        fs::read_dir(dir)?.map(|file| file.map(|f| f.path())).collect::<std::io::Result<_>>()?;
    chunks.retain(|path| {
        path.extension().is_some_and(|e| e == "log") && fs::metadata(path).is_ok_and(|m| m.len() > 0)
    });
    chunks.sort();
    chunks.pop().ok_or_else(|| "no chunk".into())
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() -> Result {
    let dir = tempfile::tempdir()?;
    let live = dir.path().join("live");
    let mut log = open(&live)?;
    let vote = VoteOf::<TypeConfig>::new(3, 42);
    log.save_vote(&vote).await?;
    log.blocking_append(entries(0..=9)).await?;
    let committed: LogIdOf<TypeConfig> = LogId::new_term_index(1, 7);
    log.save_committed(Some(committed)).await?;
    log.blocking_append(entries(10..=19)).await?;
    let crashed = dir.path().join("crashed");
    copy_dir(&live, &crashed)?;
    let mut again = open(&crashed)?;
    assert_eq!(again.read_vote().await?, Some(vote));
    assert_eq!(again.try_get_log_entries(0..).await?, entries(0..=19));
    assert_eq!(again.read_committed().await?, Some(committed));
    Ok(())
}

#[tokio::test]
async fn appends_that_share_a_sync_are_each_told_and_all_on_disk() -> Result {
    let dir = tempfile::tempdir()?;
    let live = dir.path().join("live");
    let mut last = 0;
    // Closed and opened at once, again and again: nothing of a closed log may hold it.
    for round in 0..8 {
        let mut log = open(&live)?;
        let mut told = Vec::new();
        for index in last..last + 50 {
            let (sender, synced) = TypeConfig::oneshot();
            log.append(entries(index..=index), IOFlushed::signal(sender)).await?;
            told.push(synced);
        }
        // A vote among them is as durable as ever, and so is what was appended before it.
        let vote = VoteOf::<TypeConfig>::new(round + 1, 42);
        log.save_vote(&vote).await?;
        let crashed = dir.path().join(format!("crashed-{round}"));
        copy_dir(&live, &crashed)?;
        let mut again = open(&crashed)?;
        assert_eq!(again.read_vote().await?, Some(vote));
        last += 50;
        assert_eq!(again.try_get_log_entries(0..).await?, entries(0..=last - 1));
        for synced in told {
            synced.await??;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_writing_goes_on() -> Result {
    let dir = tempfile::tempdir()?;
    let live = dir.path().join("live");
    let mut log = open(&live)?;
    log.blocking_append(entries(0..=9)).await?;
    let whole = fs::metadata(newest_chunk(&live)?)?.len();
    log.blocking_append(entries(10..=10)).await?;
    let end = fs::metadata(newest_chunk(&live)?)?.len();
    assert!(end > whole);
    for cut in [whole + 1, (whole + end) / 2, end - 1] {
        let torn = dir.path().join(format!("torn-{cut}"));
        copy_dir(&live, &torn)?;
        fs::OpenOptions::new().write(true).open(newest_chunk(&torn)?)?.set_len(cut)?;
        let mut again = open(&torn)?;
        assert_eq!(again.try_get_log_entries(0..).await?, entries(0..=9), "cut at {cut}");
        again.blocking_append(entries(10..=12)).await?;
        assert_eq!(again.try_get_log_entries(0..).await?, entries(0..=12), "cut at {cut}");
    }
    Ok(())
}

#[tokio::test]
async fn a_flipped_byte_before_the_tail_is_refused() -> Result {
    let dir = tempfile::tempdir()?;
    let live = dir.path().join("live");
    let mut log = open(&live)?;
    log.blocking_append(entries(0..=9)).await?;
    let flipped = dir.path().join("flipped");
    copy_dir(&live, &flipped)?;
    let chunk = newest_chunk(&flipped)?;
    let mut bytes = fs::read(&chunk)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&chunk, bytes)?;
    assert!(open(&flipped).is_err(), "a damaged log was opened");
    Ok(())
}

#[tokio::test]
async fn truncated_and_purged_entries_stay_away_after_a_crash() -> Result {
    let dir = tempfile::tempdir()?;
    let live = dir.path().join("live");
    let mut log = open(&live)?;
    log.append(entries(0..=9), IOFlushed::noop()).await?;
    log.truncate_after(Some(LogId::new_term_index(1, 6))).await?;
    log.purge(LogId::new_term_index(1, 2)).await?;
    let crashed = dir.path().join("crashed");
    copy_dir(&live, &crashed)?;
    let mut again = open(&crashed)?;
    assert_eq!(again.try_get_log_entries(0..).await?, entries(3..=6));
    assert_eq!(again.get_log_state().await?.last_purged_log_id, Some(LogId::new_term_index(1, 2)));
    Ok(())
}

#[tokio::test]
async fn a_snapshot_brings_the_state_back_and_to_another_node() -> Result {
    let dir = tempfile::tempdir()?;
    let mut machine = StateMachine::open(disk(), &dir.path().join("a"))?;
    let view = machine.view();
    apply(&mut machine, entries(1..=20)).await?;
    assert_eq!((*view.index().borrow(), view.current().state.tokens.len()), (20, 20));
    let mut builder = machine.get_snapshot_builder().await;
    // What is applied while the snapshot is written is not in it.
    apply(&mut machine, entries(21..=30)).await?;
    let snapshot = builder.build_snapshot().await?;
    assert_eq!(snapshot.meta.last_log_id, Some(LogId::new_term_index(1, 20)));

    let mut restarted = StateMachine::open(disk(), &dir.path().join("a"))?;
    assert_eq!(restarted.applied_state().await?.0, snapshot.meta.last_log_id);
    apply(&mut restarted, entries(21..=30)).await?;
    assert_eq!(restarted.view().current().state.hash(), view.current().state.hash());

    let mut other = StateMachine::open(disk(), &dir.path().join("b"))?;
    // Announced as another than it is: refused, and nothing is replaced.
    let announced = SnapshotMetaOf::<TypeConfig> {
        last_log_id: Some(LogId::new_term_index(1, 19)),
        ..snapshot.meta.clone()
    };
    assert!(other.install_snapshot(&announced, snapshot.snapshot.clone()).await.is_err());
    assert!(other.get_current_snapshot().await?.is_none());
    assert_eq!(other.view().current().index, 0);
    other.install_snapshot(&snapshot.meta, snapshot.snapshot).await?;
    apply(&mut other, entries(21..=30)).await?;
    assert_eq!(other.view().current().state.hash(), view.current().state.hash());
    Ok(())
}

#[tokio::test]
async fn no_byte_of_a_snapshot_can_change_unnoticed() -> Result {
    let dir = tempfile::tempdir()?;
    let mut machine = StateMachine::open(disk(), dir.path())?;
    apply(&mut machine, entries(1..=5)).await?;
    let snapshot = machine.get_snapshot_builder().await.build_snapshot().await?;
    let good = fs::read(&snapshot.snapshot.path)?;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&snapshot.snapshot.path, bad)?;
        let error =
            StateMachine::open(disk(), dir.path()).err().ok_or(format!("byte {at} flipped unnoticed"))?;
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
    for cut in (0..good.len()).step_by(7) {
        fs::write(&snapshot.snapshot.path, &good[..cut])?;
        assert!(StateMachine::open(disk(), dir.path()).is_err(), "cut at {cut} unnoticed");
    }
    fs::write(&snapshot.snapshot.path, [&good[..], b"x"].concat())?;
    assert!(StateMachine::open(disk(), dir.path()).is_err(), "a byte behind the end unnoticed");
    fs::write(&snapshot.snapshot.path, good)?;
    StateMachine::open(disk(), dir.path())?;
    Ok(())
}

/// Of every kind of thing that a state holds there is a record in a snapshot: here of those that no hash of an empty table tells apart.
#[tokio::test]
async fn settings_waits_and_reviews_are_in_a_snapshot() -> Result {
    use domain::{Command as C, JobId, NewJob, NewRun, RepoId, Retry, RunId, SpecBytes};
    let dir = tempfile::tempdir()?;
    let mut machine = StateMachine::open(disk(), &dir.path().join("a"))?;
    let (repo, node) = (RepoId(1), domain::NodeId(1));
    let text = |text: &str| text.to_owned();
    let delivery = domain::DeliveryId(5);
    let retry = Retry { failed: true, backoff_seconds: 60, ..Retry::of_losses(2) };
    let jobs = vec![
        NewJob { retry, ..NewJob::named("flaky") },
        NewJob { environment: Some(text("live")), ..NewJob::named("deploy") },
    ];
    let run = NewRun::of(RunId(7), "ci", jobs, vec![SpecBytes(Arc::from([1u8]))]);
    let job = JobId { run: RunId(7), index: 0 };
    let commands = vec![
        C::RegisterNode(domain::NodeFacts {
            node,
            name: "n1".parse()?,
            boot: domain::BootId(1),
            cluster_addr: text("h:1"),
            http_addr: text("h:2"),
            labels: Default::default(),
            capacity: domain::Capacity {
                resources: domain::Resources { cpu_millis: 9000, memory_mib: 9000 },
                slots: 9,
            },
            version: text("0.1.0"),
        }),
        C::PutRepo {
            id: repo,
            name: "o/r".parse()?,
            clone_url: text("https://example.com/o/r"),
            webhook_secret: domain::Sealed(Arc::from(&b"sealed"[..])),
            labels: Default::default(),
            access: Default::default(),
            approve_forks: true,
            over: None,
        },
        C::PutVariable { repo, name: text("TEAM"), value: text("blue") },
        C::PutEnvironment { repo, name: text("Live"), approval: true },
        C::AcceptDelivery {
            id: delivery,
            repo,
            key: text("k"),
            digest: [1; 32],
            event: domain::Event::of(domain::EventKind::Push),
            only_path: String::new(),
        },
        C::AssignExpansion { delivery, node },
        C::ExpandDelivery {
            delivery,
            fence: domain::Fence(6),
            commit: text("c"),
            git_ref: text("refs/heads/main"),
            payload: String::new(),
            runs: vec![run],
            triggers: None,
            numbers_from: None,
            reason: String::new(),
        },
        C::Place { placements: vec![domain::Placement { job, number: 1, node }] },
        C::Report(domain::AttemptReport {
            attempt: domain::AttemptId { job, number: 1 },
            fence: domain::Fence(8),
            node,
            what: domain::Progress::finished(domain::Outcome::Failed, ""),
        }),
    ];
    let entries = commands.into_iter().zip(1_u64..).map(|(command, index)| {
        let proposal = Proposal::new(Entry { at: Timestamp(index), command });
        EntryOf::<TypeConfig>::new(LogId::new_term_index(1, index), EntryPayload::Normal(proposal))
    });
    apply(&mut machine, entries.collect()).await?;
    let before = machine.view().current().state.clone();
    assert_eq!((before.reviews.len(), before.backoffs.len()), (1, 1), "both jobs are held");
    machine.get_snapshot_builder().await.build_snapshot().await?;
    let after = StateMachine::open(disk(), &dir.path().join("a"))?.view().current().state.clone();
    let of = |state: &domain::ClusterState| {
        let variables: Vec<_> =
            state.variables_of(repo).map(|(name, value)| format!("{name}={value}")).collect();
        let environments: Vec<_> = state.environments_of(repo).cloned().collect();
        let reviews: Vec<_> = state.reviews.iter().map(|(id, review)| (*id, review.clone())).collect();
        let backoffs: Vec<_> = state.backoffs.iter().map(|(id, until)| (*id, *until)).collect();
        (variables, environments, reviews, backoffs)
    };
    assert_eq!(of(&after), of(&before));
    assert_eq!(after.hash(), before.hash());
    Ok(())
}
