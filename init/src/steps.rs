//! Runs the steps in order, with their conditions and limits. Must not know how frames look as bytes.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use init::wire::{Condition, FrameKind, Outcome, Plan, Shell, Step, StepKind};

use crate::shared::{Limit, Shared};
use crate::spool::Spool;
use crate::sys;

/// A job on its way.
pub struct Job {
    /// What to do.
    pub plan: Plan,
    /// Where scripts are written.
    pub control: PathBuf,
    /// Where frames go.
    pub spool: Arc<Spool>,
    /// What the threads tell each other.
    pub shared: Arc<Shared>,
}

type Ended = (Option<i32>, Option<i32>, Outcome);

/// What the steps so far amount to, and until when.
struct Course {
    outcome: Outcome,
    reason: String,
    deadline: Option<Limit>,
    /// Cancelled or out of time: only `always` steps run now, until the deadline.
    stopping: bool,
}

impl Job {
    /// Runs all steps; answers how the job ended. An error means that the spool or the control directory failed.
    pub fn run(&self) -> io::Result<Outcome> {
        let deadline = self.shared.after(self.plan.timeout_ms);
        let mut course =
            Course { outcome: Outcome::Succeeded, reason: String::new(), deadline, stopping: false };
        for (index, step) in self.plan.steps.iter().enumerate() {
            self.notice(&mut course);
            self.step(index as u16, step, &mut course)?;
        }
        let (outcome, reason) = (course.outcome, course.reason);
        self.spool.finish(0, FrameKind::JobFinished { outcome, reason })?;
        Ok(outcome)
    }

    /// Turns to stopping when the job is cancelled or out of time.
    fn notice(&self, course: &mut Course) {
        if course.stopping {
            return;
        }
        let (outcome, reason) = if self.shared.lock().cancelled {
            (Outcome::Cancelled, "cancelled".to_owned())
        } else if self.shared.is_over(course.deadline) {
            (Outcome::TimedOut, format!("the job's limit of {} ms passed", self.plan.timeout_ms))
        } else {
            return;
        };
        let deadline = self.shared.after(self.plan.grace_ms.max(1));
        *course = Course { outcome, reason, deadline, stopping: true };
    }

    fn step(&self, index: u16, step: &Step, course: &mut Course) -> io::Result<()> {
        let wanted = match step.condition {
            Condition::Success => course.outcome == Outcome::Succeeded,
            Condition::Failure => !course.stopping && course.outcome != Outcome::Succeeded,
            Condition::Always => true,
        };
        let late = course.stopping && self.shared.is_over(course.deadline);
        if !wanted || late {
            let skipped =
                FrameKind::StepFinished { exit_code: None, signal: None, outcome: Outcome::Skipped };
            return self.spool.finish(index, skipped);
        }
        self.spool.append(index, FrameKind::StepStarted)?;
        let (exit_code, signal, outcome) = match &step.kind {
            StepKind::Host => self.host(index, step, course)?,
            StepKind::Run { shell, script, cwd } => {
                self.script(index, step, (*shell, script, cwd), course)?
            }
        };
        self.spool.finish(index, FrameKind::StepFinished { exit_code, signal, outcome })?;
        self.notice(course);
        if !course.stopping
            && outcome != Outcome::Succeeded
            && !step.continue_on_error
            && course.outcome == Outcome::Succeeded
        {
            course.outcome = outcome;
            course.reason = describe(index, exit_code, signal, outcome);
        }
        Ok(())
    }

    /// Until when a step may take.
    fn until(&self, step: &Step, course: &Course) -> Option<Limit> {
        self.shared.earlier(self.shared.after(step.timeout_ms), course.deadline)
    }

    fn host(&self, index: u16, step: &Step, course: &Course) -> io::Result<Ended> {
        self.spool.append(index, FrameKind::HostWanted)?;
        let until = self.until(step, course);
        let heed = !course.stopping;
        self.shared.wait(until, |s| s.host.contains_key(&index) || (heed && s.cancelled));
        let state = self.shared.lock();
        Ok(match state.host.get(&index) {
            Some(0) => (Some(0), None, Outcome::Succeeded),
            Some(code) => (Some(*code), None, Outcome::Failed),
            None if heed && state.cancelled => (None, None, Outcome::Cancelled),
            None => (None, None, Outcome::TimedOut),
        })
    }

    fn script(
        &self,
        index: u16,
        step: &Step,
        run: (Shell, &[u8], &str),
        course: &Course,
    ) -> io::Result<Ended> {
        let (shell, script, cwd) = run;
        let path = self.control.join(format!("step-{index}.sh"));
        std::fs::write(&path, script)?;
        let mut command = interpreter(shell, &path);
        command.current_dir(Path::new(&self.plan.workspace).join(cwd)).process_group(0);
        command.envs(step.env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = {
            // One who kills this process finds either no step or its group.
            let mut state = self.shared.lock();
            let spawned = command.spawn();
            state.group = spawned.as_ref().ok().map(Child::id);
            spawned
        };
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let words = format!("troupe: cannot start {command:?}: {error}\n");
                self.spool.append(index, FrameKind::Stderr(words.into_bytes()))?;
                return Ok((None, None, Outcome::Failed));
            }
        };
        self.supervise(index, child, self.until(step, course), course)
    }

    fn supervise(
        &self,
        index: u16,
        mut child: Child,
        until: Option<Limit>,
        course: &Course,
    ) -> io::Result<Ended> {
        if let Some(pipe) = child.stdout.take() {
            self.pump(index, pipe, FrameKind::Stdout);
        }
        if let Some(pipe) = child.stderr.take() {
            self.pump(index, pipe, FrameKind::Stderr);
        }
        let (pid, shared) = (child.id(), Arc::clone(&self.shared));
        thread::spawn(move || {
            // An error would mean that there is no such child: it has ended then, too.
            let _ended = sys::wait_unreaped(pid);
            shared.change(|s| {
                s.exited.insert(index);
            });
        });
        let heed = !course.stopping;
        let exited = |s: &crate::shared::State| s.exited.contains(&index);
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
        self.shared.wait(self.shared.after(self.plan.drain_ms.max(1)), |s| s.drained.get(&index) == Some(&2));
        let outcome = match (ended, cancelled) {
            (true, _) if status.success() => Outcome::Succeeded,
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Cancelled,
            (false, false) => Outcome::TimedOut,
        };
        Ok((status.code(), status.signal(), outcome))
    }

    fn pump(&self, index: u16, pipe: impl io::Read + Send + 'static, kind: fn(Vec<u8>) -> FrameKind) {
        let (spool, shared) = (Arc::clone(&self.spool), Arc::clone(&self.shared));
        thread::spawn(move || {
            if let Err(error) = spool.pump(index, pipe, kind) {
                eprintln!("troupe-init: cannot copy the output of step {index}: {error}");
            }
            shared.change(|s| *s.drained.entry(index).or_default() += 1);
        });
    }
}

fn interpreter(shell: Shell, script: &Path) -> Command {
    let on_path = |name| {
        std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(name).is_file()))
    };
    let (name, args): (_, &[&str]) = match shell {
        Shell::Bash => ("bash", &["--noprofile", "--norc", "-eo", "pipefail"]),
        Shell::Default if on_path("bash") => ("bash", &["-e"]),
        Shell::Default | Shell::Sh => ("sh", &["-e"]),
    };
    let mut command = Command::new(name);
    command.args(args).arg(script);
    command
}

fn describe(index: u16, exit_code: Option<i32>, signal: Option<i32>, outcome: Outcome) -> String {
    let step = index + 1;
    match (outcome, exit_code, signal) {
        (Outcome::TimedOut, ..) => format!("step {step} passed its limit of time"),
        (_, Some(code), _) => format!("step {step} exited with {code}"),
        (_, _, Some(signal)) => format!("step {step} was ended by signal {signal}"),
        _ => format!("step {step} could not start"),
    }
}
