//! Carries out the node's orders one by one, with their limits. Must not know how frames look as bytes, what a step is for.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use init::wire::{FrameKind, Order, Outcome, Plan, Run, Work};

use crate::files::Files;
use crate::shared::{Limit, Shared, State};
use crate::spool::Spool;
use crate::sys;

/// A job on its way.
pub struct Job {
    /// What is the same for all of it.
    pub plan: Plan,
    /// Where orders are, and scripts are written.
    pub control: PathBuf,
    /// Where frames go.
    pub spool: Arc<Spool>,
    /// What the threads tell each other.
    pub shared: Arc<Shared>,
}

type Ended = (Option<i32>, Option<i32>, Outcome);

/// Until when, and what for.
struct Course {
    deadline: Option<Limit>,
    /// Cancelled or out of time: only what is ordered knowing that is done now, until the deadline.
    stopping: bool,
}

impl Job {
    /// Carries out all orders; answers whether the job succeeded. An error means that the spool or the control directory
    /// failed, or an order makes no sense.
    pub fn run(&self) -> io::Result<bool> {
        let mut course = Course { deadline: self.shared.after(self.plan.timeout_ms), stopping: false };
        for number in 1.. {
            let order = self.next(number, &mut course)?;
            match order.work {
                Work::Finish { success } => return Ok(success),
                Work::Host => self.obey(number, &order, None, &mut course)?,
                Work::Run(ref run) => {
                    let outcome = self.obey(number, &order, Some(run), &mut course)?;
                    if run.last && outcome != Outcome::Skipped {
                        return Ok(outcome == Outcome::Succeeded);
                    }
                    outcome
                }
            };
        }
        Ok(false)
    }

    /// Waits for an order.
    fn next(&self, number: u32, course: &mut Course) -> io::Result<Order> {
        loop {
            self.notice(course)?;
            let (until, heed) = (course.deadline.filter(|_| !course.stopping), !course.stopping);
            let told = |s: &State| s.told >= number;
            self.shared.wait(until, |s| told(s) || (heed && s.cancelled));
            if told(&self.shared.lock()) {
                break;
            }
        }
        let path = self.control.join(Order::file(number));
        let order = Order::decode(&std::fs::read(&path)?).map_err(io::Error::other)?;
        // It may hold secrets, which later steps need not find.
        std::fs::remove_file(&path)?;
        Ok(order)
    }

    /// Turns to stopping, and says so, when the job is cancelled or out of time.
    fn notice(&self, course: &mut Course) -> io::Result<()> {
        if course.stopping {
            return Ok(());
        }
        let outcome = if self.shared.lock().cancelled {
            Outcome::Cancelled
        } else if self.shared.is_over(course.deadline) {
            Outcome::TimedOut
        } else {
            return Ok(());
        };
        *course = Course { deadline: self.shared.after(self.plan.grace_ms.max(1)), stopping: true };
        self.spool.append(0, FrameKind::Stopping { outcome })
    }

    fn obey(
        &self,
        number: u32,
        order: &Order,
        run: Option<&Run>,
        course: &mut Course,
    ) -> io::Result<Outcome> {
        self.notice(course)?;
        let step = order.step;
        let late = course.stopping && (!order.stopping || self.shared.is_over(course.deadline));
        if late {
            let outcome = Outcome::Skipped;
            let over =
                FrameKind::OrderOver { order: number, exit_code: None, signal: None, outcome, bad_files: 0 };
            self.spool.append(step, over)?;
            return Ok(outcome);
        }
        self.spool.append(step, FrameKind::OrderStarted { order: number })?;
        let until = self.shared.earlier(self.shared.after(order.timeout_ms), course.deadline);
        let mut bad_files = 0;
        let (exit_code, signal, outcome) = match run {
            None => self.host(number, until, course),
            Some(run) => {
                let files = run.files.then(|| Files::make(&self.control, number)).transpose()?;
                let ended = self.process((number, step), run, files.as_ref(), until, course)?;
                if let Some(files) = files {
                    bad_files = files.tell(&self.spool, step)?;
                }
                ended
            }
        };
        self.notice(course)?;
        self.spool
            .append(step, FrameKind::OrderOver { order: number, exit_code, signal, outcome, bad_files })?;
        Ok(outcome)
    }

    fn host(&self, number: u32, until: Option<Limit>, course: &Course) -> Ended {
        let heed = !course.stopping;
        let answer = |s: &State| s.host.filter(|(order, _)| *order == number);
        self.shared.wait(until, |s| answer(s).is_some() || (heed && s.cancelled));
        let state = self.shared.lock();
        match answer(&state) {
            Some((_, 0)) => (Some(0), None, Outcome::Succeeded),
            Some((_, code)) => (Some(code), None, Outcome::Failed),
            None if heed && state.cancelled => (None, None, Outcome::Cancelled),
            None => (None, None, Outcome::TimedOut),
        }
    }

    fn process(
        &self,
        of: (u32, u16),
        run: &Run,
        files: Option<&Files>,
        until: Option<Limit>,
        course: &Course,
    ) -> io::Result<Ended> {
        let script = self.control.join(format!("script-{}", of.0));
        std::fs::write(&script, &run.script)?;
        let mut command = command(run, &script);
        command.current_dir(Path::new(&self.plan.workspace).join(&run.cwd)).process_group(0);
        if let Some(files) = files {
            command.envs(files.variables());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = {
            // One who kills this process finds either no process or its group.
            let mut state = self.shared.lock();
            let spawned = command.spawn();
            state.group = spawned.as_ref().ok().map(Child::id);
            spawned
        };
        match spawned {
            Ok(child) => self.supervise(of, child, until, course),
            Err(error) => {
                let program = command.get_program().display();
                let words = format!("troupe: cannot start {program} in {:?}: {error}\n", run.cwd);
                self.spool.append(of.1, FrameKind::Stderr(words.into_bytes()))?;
                Ok((None, None, Outcome::Failed))
            }
        }
    }

    fn supervise(
        &self,
        of: (u32, u16),
        mut child: Child,
        until: Option<Limit>,
        course: &Course,
    ) -> io::Result<Ended> {
        let number = of.0;
        if let Some(pipe) = child.stdout.take() {
            self.pump(of, pipe, FrameKind::Stdout);
        }
        if let Some(pipe) = child.stderr.take() {
            self.pump(of, pipe, FrameKind::Stderr);
        }
        let (pid, shared) = (child.id(), Arc::clone(&self.shared));
        thread::spawn(move || {
            // An error would mean that there is no such child: it has ended then, too.
            let _ended = sys::wait_unreaped(pid);
            shared.change(|s| s.exited = number);
        });
        let heed = !course.stopping;
        let exited = |s: &State| s.exited == number;
        self.shared.wait(until, |s| exited(s) || (heed && s.cancelled));
        let (ended, cancelled) = {
            let state = self.shared.lock();
            (exited(&state), heed && state.cancelled)
        };
        if !ended {
            sys::signal_group(pid, sys::TERM);
            self.shared.wait(self.shared.after(self.plan.grace_ms.max(1)), exited);
            // Also when the leader obeyed: others of its group may not have. It is not reaped, so the group is its own.
            sys::signal_group(pid, sys::KILL);
        }
        // Once it is reaped, its group's id may be another's.
        self.shared.change(|s| s.group = None);
        let status = child.wait()?;
        let drained = |s: &State| s.drained.get(&number) == Some(&2);
        self.shared.wait(self.shared.after(self.plan.drain_ms.max(1)), drained);
        let outcome = match (ended, cancelled) {
            (true, _) if status.success() => Outcome::Succeeded,
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Cancelled,
            (false, false) => Outcome::TimedOut,
        };
        Ok((status.code(), status.signal(), outcome))
    }

    fn pump(&self, of: (u32, u16), pipe: impl io::Read + Send + 'static, kind: fn(Vec<u8>) -> FrameKind) {
        let (spool, shared) = (Arc::clone(&self.spool), Arc::clone(&self.shared));
        thread::spawn(move || {
            if let Err(error) = spool.pump(of, pipe, kind) {
                eprintln!("troupe-init: cannot copy the output of order {}: {error}", of.0);
            }
            shared.change(|s| *s.drained.entry(of.0).or_default() += 1);
        });
    }
}

/// The process of an order, with its environment.
fn command(run: &Run, script: &Path) -> Command {
    let own = run.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| path.into());
    let mut path: OsString = own.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    for added in &run.path {
        let after = std::mem::replace(&mut path, added.into());
        path.push(if after.is_empty() { "" } else { ":" });
        path.push(after);
    }
    let has_bash = || std::env::split_paths(&path).any(|directory| directory.join("bash").is_file());
    let default = || [if has_bash() { "bash" } else { "sh" }, "-e", "{0}"].map(str::to_owned).to_vec();
    let argv = if run.argv.is_empty() { default() } else { run.argv.clone() };
    let script = script.to_string_lossy();
    let mut words = argv.iter().map(|word| word.replace("{0}", &script));
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).envs(run.env.iter().map(|(name, value)| (name, value)));
    if !path.is_empty() {
        command.env("PATH", path);
    }
    command
}
