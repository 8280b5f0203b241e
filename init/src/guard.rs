//! What runs beside a job, in a container of its own: one command, which ends when it ends itself, or when the job's permit has
//! run out. Steps have more than that ([`crate::orders`]).

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use init::permit;

use crate::lease::{LOOK, Lease};
use crate::sys;

/// A shell's exit codes for a command that is not there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// Runs it; its exit code, or 128 + n after signal n.
///
/// # Errors
/// The permit cannot be opened, or there is none.
pub fn run(control: &Path, mut argv: impl Iterator<Item = OsString>) -> io::Result<i32> {
    let missing = |what| io::Error::new(io::ErrorKind::NotFound, what);
    let lease = Lease::open(control)?.ok_or_else(|| missing("there is no permit"))?;
    let program = argv.next().ok_or_else(|| missing("no command was given"))?;
    if lease.left().is_none_or(|left| left.is_zero()) {
        return Ok(permit::TOO_LATE);
    }
    let mut child = match Command::new(&program).args(argv).process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("troupe-init: cannot run {}: {error}", program.display());
            return Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN });
        }
    };
    let group = child.id();
    sys::term_goes_to(group);
    let (ended, end) = mpsc::channel::<io::Result<ExitStatus>>();
    thread::spawn(move || ended.send(child.wait()));
    loop {
        // A permit that cannot be read says nothing of its end: the one before holds.
        let left = lease.left().unwrap_or(LOOK);
        if left.is_zero() {
            sys::signal_group(group, sys::KILL);
            return Ok(permit::RAN_OUT);
        }
        match end.recv_timeout(left.min(LOOK)) {
            Ok(status) => {
                let status = status?;
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("nobody waits for the command"));
            }
        }
    }
}

impl Lease {
    /// How long it still holds; none when nobody can tell.
    fn left(&self) -> Option<Duration> {
        let until = self.read()?.until_ms;
        Some(Duration::from_millis(until.saturating_sub(sys::since_boot_ms()?)))
    }
}
