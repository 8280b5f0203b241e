//! Attempts as plain processes of this machine, without any isolation or limits: for tests and machines without an
//! engine. Must not be offered to code that is not trusted.
//!
//! A process ends with the node that started it, so nothing is ever adopted.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{AttemptId, Fence};
use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{ContainerId, ContainerSpec, Error, Executor, Exit, Found, FoundState, Part};
use crate::tree;

/// Where a container has its control directory.
const CONTROL: &str = "/troupe/";

/// Runs attempts as processes.
#[derive(Debug)]
pub struct FakeExecutor {
    init: PathBuf,
    processes: Mutex<HashMap<String, Process>>,
    reapers: TaskTracker,
}

#[derive(Debug)]
struct Process {
    attempt: AttemptId,
    fence: Fence,
    pid: Option<Pid>,
    exit: watch::Receiver<Option<Exit>>,
}

impl FakeExecutor {
    /// `init` is the installed init.
    #[must_use]
    pub fn new(init: PathBuf) -> Self {
        Self { init, processes: Mutex::default(), reapers: TaskTracker::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, spec: &ContainerSpec) -> Result<ContainerId, Error> {
        let id = format!("{}-{}", spec.attempt, spec.fence);
        if self.lock().contains_key(&id) {
            return Ok(ContainerId(id));
        }
        if !spec.lease.holds() {
            return Err(Error::NoLease);
        }
        link(spec).map_err(|error| Error::Machine { action: "link a file", why: error.to_string() })?;
        let mut child = Command::new(&self.init)
            .arg("run")
            .arg(&spec.control_dir)
            .current_dir(&spec.workspace)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&spec.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::Refused { action: "start a process", why: error.to_string() })?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
        let (told, exit) = watch::channel(None);
        self.reapers.spawn(async move {
            use std::os::unix::process::ExitStatusExt;
            let ended = child.wait().await;
            let code = ended.map_or(-1, |s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or_default()));
            told.send_replace(Some(Exit { code: i64::from(code), oom_killed: false, error: None }));
        });
        let process = Process { attempt: spec.attempt, fence: spec.fence, pid, exit };
        self.lock().insert(id.clone(), process);
        Ok(ContainerId(id))
    }

    fn exit(&self, id: &ContainerId) -> Option<watch::Receiver<Option<Exit>>> {
        self.lock().get(&id.0).map(|process| process.exit.clone())
    }

    /// To it and all that it has started, parents first: who stands still starts nothing more.
    fn signal_all(&self, id: &ContainerId, signal: Signal) {
        let processes = self.lock();
        let running = processes.get(&id.0).filter(|process| process.exit.borrow().is_none());
        let mut found: Vec<Pid> = running.and_then(|process| process.pid).into_iter().collect();
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            if let Err(error) = kill_process(pid, signal) {
                tracing::debug!(%error, id = id.0, "a process cannot be signalled");
            }
            found.extend(children(pid));
            next += 1;
        }
    }

    /// Not to one that is reaped: its number may be another's by now.
    fn signal(&self, id: &ContainerId, signal: Signal) {
        let processes = self.lock();
        let running = processes.get(&id.0).filter(|process| process.exit.borrow().is_none());
        if let Some(pid) = running.and_then(|process| process.pid)
            && let Err(error) = kill_process_group(pid, signal)
        {
            tracing::debug!(%error, id = id.0, "a process cannot be signalled");
        }
    }
}

/// A process has no mounts of its own: what a container has in its control directory is a link there.
fn link(spec: &ContainerSpec) -> io::Result<()> {
    for mount in &spec.mounts {
        let Some(place) = mount.to.strip_prefix(CONTROL).map(|name| spec.control_dir.join(name)) else {
            continue;
        };
        tree::remove_tree(&place)?;
        std::os::unix::fs::symlink(&mount.from, place)?;
    }
    Ok(())
}

/// The processes that a process has started and that are not reaped, as the kernel says.
fn children(of: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero()));
    let lists = tasks
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("children")));
    let lists: Vec<String> = lists.map(Result::unwrap_or_default).collect();
    let words = lists.iter().flat_map(|list| list.split_whitespace());
    words.filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}

impl Executor for FakeExecutor {
    fn seen(&self, directory: &Path, _: &str) -> PathBuf {
        directory.to_owned()
    }

    fn ensure_image(&self, _: &str) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<ContainerId, Error>> {
        async move { self.spawn(&spec) }.boxed()
    }

    fn wait(&self, id: &ContainerId) -> BoxFuture<'_, Result<Exit, Error>> {
        let (exit, id) = (self.exit(id), id.clone());
        async move {
            let mut exit = exit.ok_or_else(|| Error::Gone(id.0.clone()))?;
            let ended = exit.wait_for(Option::is_some).await.map_err(|_| Error::Gone(id.0.clone()))?;
            ended.clone().ok_or(Error::Gone(id.0))
        }
        .boxed()
    }

    fn pause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.signal_all(id, Signal::STOP);
        futures::future::ready(Ok(())).boxed()
    }

    fn unpause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.signal_all(id, Signal::CONT);
        futures::future::ready(Ok(())).boxed()
    }

    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let id = id.clone();
        async move {
            let Some(mut exit) = self.exit(&id) else { return Ok(()) };
            self.signal(&id, Signal::TERM);
            if tokio::time::timeout(grace, exit.wait_for(Option::is_some)).await.is_err() {
                self.signal(&id, Signal::KILL);
            }
            Ok(())
        }
        .boxed()
    }

    fn remove(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.signal(id, Signal::KILL);
        self.lock().remove(&id.0);
        futures::future::ready(Ok(())).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, Error>> {
        let state = |process: &Process| match *process.exit.borrow() {
            Some(_) => FoundState::Ended,
            None => FoundState::Running,
        };
        let processes = self.lock();
        let found = processes.iter().map(|(id, process)| Found {
            id: ContainerId(id.clone()),
            attempt: process.attempt,
            fence: process.fence,
            part: Part::Job,
            slot: None,
            state: state(process),
        });
        let found = found.collect();
        futures::future::ready(Ok(found)).boxed()
    }

    fn forget_slots(&self, _: u16) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }
}
