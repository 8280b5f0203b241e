//! Golden bytes: what nodes of other versions and old logs hold must be read for ever. A variant without a line fails,
//! and so does a line that changed. `TROUPE_GOLDEN=write` adds the lines that are missing; it changes none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use domain::*;
use raft_store::codec;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The variant's name. Exhaustive, so that a new variant does not compile until it is named here and sampled below.
fn command_name(command: &Command) -> &'static str {
    match command {
        Command::InitCluster { .. } => "InitCluster",
        Command::RegisterNode(_) => "RegisterNode",
        Command::SetDrain { .. } => "SetDrain",
        Command::LoseNode { .. } => "LoseNode",
        Command::PutRepo { .. } => "PutRepo",
        Command::RemoveRepo { .. } => "RemoveRepo",
        Command::CreateToken { .. } => "CreateToken",
        Command::RevokeToken { .. } => "RevokeToken",
        Command::AcceptDelivery { .. } => "AcceptDelivery",
        Command::AssignExpansion { .. } => "AssignExpansion",
        Command::ExpandDelivery { .. } => "ExpandDelivery",
        Command::DeferDelivery { .. } => "DeferDelivery",
        Command::SubmitRun { .. } => "SubmitRun",
        Command::Rerun { .. } => "Rerun",
        Command::CancelRun { .. } => "CancelRun",
        Command::Place { .. } => "Place",
        Command::Unplace { .. } => "Unplace",
        Command::Report(report) => match report.what {
            Progress::Started { .. } => "Report.Started",
            Progress::Steps { .. } => "Report.Steps",
            Progress::Finished { .. } => "Report.Finished",
            Progress::Paused { .. } => "Report.Paused",
            Progress::Resumed => "Report.Resumed",
        },
        Command::NoticeSent { .. } => "NoticeSent",
        Command::ForgetRuns { .. } => "ForgetRuns",
        Command::CreateJoinToken { .. } => "CreateJoinToken",
        Command::Join { .. } => "Join",
        Command::RemoveMember { .. } => "RemoveMember",
        Command::PauseRun { .. } => "PauseRun",
        Command::ResumeRun { .. } => "ResumeRun",
        Command::DecideJob { .. } => "DecideJob",
        Command::ApproveRun { .. } => "ApproveRun",
        Command::PutSecret { .. } => "PutSecret",
        Command::RemoveSecret { .. } => "RemoveSecret",
        Command::PutCache { .. } => "PutCache",
        Command::UseCache { .. } => "UseCache",
        Command::RemoveCaches { .. } => "RemoveCaches",
        Command::Tick { .. } => "Tick",
        Command::PutVariable { .. } => "PutVariable",
        Command::RemoveVariable { .. } => "RemoveVariable",
        Command::PutEnvironment { .. } => "PutEnvironment",
        Command::RemoveEnvironment { .. } => "RemoveEnvironment",
        Command::ReviewJob { .. } => "ReviewJob",
        Command::EndBackoff { .. } => "EndBackoff",
    }
}

/// How many names there are above.
const COMMANDS: usize = 43;

const JOB: JobId = JobId { run: RunId(5), index: 2 };
const ATTEMPT: AttemptId = AttemptId { job: JOB, number: 3 };

fn labels() -> Labels {
    Labels::from_iter(["linux", "big"])
}

fn event() -> Event {
    Event {
        kind: EventKind::Push,
        git_ref: "refs/heads/main".to_owned(),
        commit: "c".to_owned(),
        before: "b".to_owned(),
        sender: "s".to_owned(),
        title: "t".to_owned(),
        payload: "{}".to_owned(),
        from_fork: true,
        base_ref: "b".to_owned(),
        cause: Some(RunId(4)),
    }
}

fn new_run() -> NewRun {
    let concurrency = Some(Concurrency { group: "g".to_owned(), cancel_in_progress: true, queue_all: false });
    let job = NewJob {
        name: "Build".to_owned(),
        needs: vec![0],
        group: Some(1),
        form: Form::Group { fail_fast: true, max_parallel: 2 },
        condition: Condition::Failure,
        may_fail: true,
        concurrency: concurrency.clone(),
        labels: labels(),
        resources: Resources { cpu_millis: 500, memory_mib: 256 },
        priority: -3,
        retry: Retry { attempts: 2, backoff_seconds: 3, lost: true, failed: true, timed_out: false },
        spread: true,
        environment: Some("live".to_owned()),
        contexts: "{}".to_owned(),
        ..NewJob::named("build")
    };
    let specs = vec![SpecBytes(Arc::from([1, 2, 3]))];
    NewRun {
        title: "t".to_owned(),
        path: "p".to_owned(),
        concurrency,
        error: Some("e".to_owned()),
        ..NewRun::of(RunId(5), "ci", vec![job], specs)
    }
}

fn triggers() -> Triggers {
    let schedule = Schedule {
        path: "p".to_owned(),
        cron: "0 0 * * *".to_owned(),
        zone: "Z".to_owned(),
        last: Timestamp(1),
    };
    let workflows = vec!["w".to_owned()];
    let follow = Follow { path: "p".to_owned(), workflows, requested: true, completed: false };
    Triggers {
        git_ref: "r".to_owned(),
        schedules: [schedule].into(),
        follows: [follow].into(),
        read_by: Fence(9),
    }
}

fn sealed() -> Sealed {
    Sealed(Arc::from([1, 2]))
}

fn cache() -> CacheEntry {
    CacheEntry {
        scope: "s".to_owned(),
        key: "k".to_owned(),
        version: [2; 32],
        size: 3,
        digest: [4; 32],
        node: NodeId(5),
        created_at: Timestamp(6),
        used_at: Timestamp(7),
    }
}

fn steps() -> Vec<StepResult> {
    let outcome = Some(Outcome::Failed);
    vec![StepResult {
        exit_code: Some(3),
        signal: None,
        name: "n".to_owned(),
        outcome,
        started_at: Timestamp(1),
        finished_at: Timestamp(2),
    }]
}

fn report(what: Progress) -> Command {
    Command::Report(AttemptReport { attempt: ATTEMPT, fence: Fence(9), node: NodeId(1), what })
}

fn commands() -> Result<Vec<Command>> {
    let artifacts = vec![Artifact { name: "n".to_owned(), path: "a".to_owned(), size: 4, digest: [4; 32] }];
    Ok(vec![
        Command::InitCluster { cluster: ClusterId(1), token: TokenId(2), token_hash: [3; 32] },
        Command::RegisterNode(NodeFacts {
            node: NodeId(1),
            name: "n1".parse()?,
            boot: BootId(2),
            cluster_addr: "h:1".to_owned(),
            http_addr: "h:2".to_owned(),
            labels: labels(),
            capacity: Capacity { resources: Resources { cpu_millis: 1, memory_mib: 2 }, slots: 3 },
            version: "0.1.0".to_owned(),
        }),
        Command::SetDrain { node: NodeId(1), drain: true, until: Some(Timestamp(2)), life: Some(BootId(3)) },
        Command::LoseNode { node: NodeId(1), boot: BootId(2) },
        Command::PutRepo {
            id: RepoId(1),
            name: "o/r".parse()?,
            clone_url: "https://h/o/r".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: labels(),
            access: Access::default(),
            approve_forks: false,
            over: None,
        },
        Command::RemoveRepo { id: RepoId(1) },
        Command::CreateToken {
            id: TokenId(1),
            name: "t".to_owned(),
            hash: [1; 32],
            right: Right::Submit,
            expires_at: Some(Timestamp(7)),
        },
        Command::RevokeToken { id: TokenId(1) },
        Command::AcceptDelivery {
            id: DeliveryId(1),
            repo: RepoId(2),
            key: "github:1".to_owned(),
            digest: [1; 32],
            event: event(),
            only_path: "p".to_owned(),
        },
        Command::AssignExpansion { delivery: DeliveryId(1), node: NodeId(2) },
        Command::ExpandDelivery {
            delivery: DeliveryId(1),
            fence: Fence(2),
            commit: "c".to_owned(),
            git_ref: "refs/heads/main".to_owned(),
            payload: String::new(),
            runs: vec![new_run()],
            triggers: Some(triggers()),
            numbers_from: Some(3),
            reason: String::new(),
        },
        Command::DeferDelivery {
            delivery: DeliveryId(1),
            fence: Fence(2),
            reason: "r".to_owned(),
            not_before: Timestamp(3),
        },
        Command::SubmitRun {
            key: "k".to_owned(),
            digest: [1; 32],
            sender: "s".to_owned(),
            run: new_run(),
            max_open_jobs: 1000,
        },
        Command::Rerun { id: RunId(1), of: RunId(2), sender: "s".to_owned(), key: String::new() },
        Command::CancelRun { run: RunId(1), force: false },
        Command::Place { placements: vec![Placement { job: JOB, number: 1, node: NodeId(1) }] },
        Command::Unplace { attempt: ATTEMPT, fence: Fence(1), reason: "r".to_owned() },
        report(Progress::Started { at: Timestamp(1) }),
        report(Progress::Steps { steps: steps() }),
        report(Progress::Finished {
            outcome: Outcome::TimedOut,
            reason: "r".to_owned(),
            steps: steps(),
            artifacts,
            log_bytes: 300,
            outputs: vec![("a".to_owned(), "b".to_owned())],
            annotations: vec![],
        }),
        Command::NoticeSent { run: RunId(1), fence: Fence(2) },
        Command::ForgetRuns { runs: vec![RunId(1)] },
        Command::CreateJoinToken {
            id: TokenId(1),
            name: "t".to_owned(),
            hash: [1; 32],
            expires_at: Timestamp(7),
        },
        Command::Join {
            token_hash: [1; 32],
            node: NodeId(1),
            name: "n1".parse()?,
            cluster_addr: "h:1".to_owned(),
            request: [2; 32],
        },
        Command::RemoveMember { node: NodeId(1), name: "n1".parse()? },
        Command::PauseRun { run: RunId(1), sender: "s".to_owned() },
        Command::ResumeRun { run: RunId(1) },
        report(Progress::Paused { at: Timestamp(1) }),
        report(Progress::Resumed),
        Command::DecideJob {
            job: JOB,
            verdict: Verdict::Become { jobs: new_run().jobs, specs: vec![SpecBytes(Arc::from([7]))] },
        },
        Command::ApproveRun { run: RunId(1), sender: "s".to_owned() },
        Command::PutSecret { repo: RepoId(1), name: "N".to_owned(), value: sealed() },
        Command::RemoveSecret { repo: RepoId(1), name: "N".to_owned() },
        Command::PutCache { repo: RepoId(1), entry: cache(), most_bytes: 9 },
        Command::UseCache { repo: RepoId(1), scope: "s".to_owned(), key: "k".to_owned(), version: [2; 32] },
        Command::RemoveCaches { repo: RepoId(1), scope: "s".to_owned(), key_prefix: "k".to_owned() },
        Command::Tick {
            id: DeliveryId(1),
            repo: RepoId(1),
            path: "p".to_owned(),
            cron: "0 0 * * *".to_owned(),
            zone: "Z".to_owned(),
            due: Timestamp(3),
        },
        Command::PutVariable { repo: RepoId(1), name: "N".to_owned(), value: "v".to_owned() },
        Command::RemoveVariable { repo: RepoId(1), name: "N".to_owned() },
        Command::PutEnvironment { repo: RepoId(1), name: "live".to_owned(), approval: true },
        Command::RemoveEnvironment { repo: RepoId(1), name: "live".to_owned() },
        Command::ReviewJob { job: JOB, approve: true, sender: "s".to_owned() },
        Command::EndBackoff { job: JOB },
    ])
}

fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Done => "Done",
        Reply::Delivery { .. } => "Delivery",
        Reply::Run { .. } => "Run",
        Reply::Repo { .. } => "Repo",
        Reply::Placed { .. } => "Placed",
        Reply::Refused(refusal) => match refusal {
            Refusal::NotFound { .. } => "Refused.NotFound",
            Refusal::StaleFence { .. } => "Refused.StaleFence",
            Refusal::NumbersTaken { .. } => "Refused.NumbersTaken",
            Refusal::WrongState { .. } => "Refused.WrongState",
            Refusal::NodeUnfit { .. } => "Refused.NodeUnfit",
            Refusal::KeyConflict { .. } => "Refused.KeyConflict",
            Refusal::QueueFull { .. } => "Refused.QueueFull",
            Refusal::Invalid { .. } => "Refused.Invalid",
            Refusal::NameTaken { .. } => "Refused.NameTaken",
            Refusal::AlreadyDone { .. } => "Refused.AlreadyDone",
        },
    }
}

/// How many names there are above.
const REPLIES: usize = 15;

fn replies() -> Vec<Reply> {
    let text = || "x".to_owned();
    vec![
        Reply::Done,
        Reply::Delivery { id: DeliveryId(1), duplicate: true },
        Reply::Run { id: RunId(1), number: 2, duplicate: false },
        Reply::Repo { id: RepoId(1), existed: true },
        Reply::Placed { placed: 1, refused: vec![(JOB, Refusal::QueueFull { open: 1, limit: 2 })] },
        Reply::Refused(Refusal::NotFound { what: text(), id: text() }),
        Reply::Refused(Refusal::StaleFence { given: Fence(1), present: Fence(2) }),
        Reply::Refused(Refusal::NumbersTaken { given: 1, present: 2 }),
        Reply::Refused(Refusal::WrongState { what: text(), state: text(), wanted: text() }),
        Reply::Refused(Refusal::NodeUnfit { node: NodeId(1), why: text() }),
        Reply::Refused(Refusal::KeyConflict { key: text() }),
        Reply::Refused(Refusal::QueueFull { open: 1, limit: 2 }),
        Reply::Refused(Refusal::Invalid { field: text(), why: text() }),
        Reply::Refused(Refusal::NameTaken { what: text(), name: text(), owner: text() }),
        Reply::Refused(Refusal::AlreadyDone { what: text() }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares `name -> bytes` with the golden file.
fn check(file: &str, now: &BTreeMap<String, String>) -> Result {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut golden: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    if std::env::var("TROUPE_GOLDEN").as_deref() == Ok("write") {
        for (name, bytes) in now {
            golden.entry(name.clone()).or_insert_with(|| bytes.clone());
        }
        let lines: String = golden.iter().map(|(name, bytes)| format!("{name} {bytes}\n")).collect();
        fs::write(&path, lines)?;
    }
    for (name, bytes) in now {
        let before =
            golden.get(name).ok_or(format!("{name} has no golden bytes; see the head of this file"))?;
        assert_eq!(
            bytes, before,
            "the encoding of {name} changed: nodes and logs of other versions cannot be read"
        );
    }
    assert_eq!(golden.len(), now.len(), "{file} has lines of variants that are gone");
    Ok(())
}

#[test]
fn commands_are_encoded_as_ever() -> Result {
    let mut now = BTreeMap::new();
    for command in commands()? {
        let name = command_name(&command);
        let entry = Entry { at: Timestamp(11), command };
        let bytes = codec::encode(&entry)?;
        assert_eq!(codec::decode::<Entry>(&bytes, codec::MAX_BYTES)?, entry);
        now.insert(name.to_owned(), hex(&bytes));
    }
    assert_eq!(now.len(), COMMANDS, "a variant is not sampled");
    check("commands.txt", &now)
}

#[test]
fn replies_are_encoded_as_ever() -> Result {
    let mut now = BTreeMap::new();
    for reply in replies() {
        let bytes = codec::encode(&reply)?;
        assert_eq!(codec::decode::<Reply>(&bytes, codec::MAX_BYTES)?, reply);
        now.insert(reply_name(&reply).to_owned(), hex(&bytes));
    }
    assert_eq!(now.len(), REPLIES, "a variant is not sampled");
    check("replies.txt", &now)
}
