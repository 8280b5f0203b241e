//! The first process of a job's container: runs the plan's steps and appends what happens to the spool.
//!
//! `troupe-init run [CONTROL]`; the control directory is `/troupe` unless it is named.
//! Must not know: Docker, the network, the node beyond the files of the control directory.

mod lease;
mod shared;
mod spool;
mod steps;
mod sys;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{io, thread};

use init::wire::{Outcome, Plan};

fn run(control: PathBuf) -> io::Result<Outcome> {
    let plan = Plan::decode(&std::fs::read(control.join("plan"))?).map_err(io::Error::other)?;
    // Opened for reading and writing, so that it is never at its end while no node is there.
    let fifo = OpenOptions::new().read(true).write(true).open(control.join("control"))?;
    let spool: File = OpenOptions::new().append(true).create(true).open(control.join("spool"))?;
    sys::term_cancels(fifo.as_raw_fd());
    let state = Arc::new(shared::Shared::new(lease::Lease::open(&control)?));

    lease::watch(Arc::clone(&state));
    let told = Arc::clone(&state);
    thread::spawn(move || shared::obey(fifo, told));
    steps::Job { plan, control, spool: Arc::new(spool::Spool::new(spool)), shared: state }.run()
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|a| a != "run") {
        eprintln!("troupe-init: usage: troupe-init run [CONTROL]");
        return ExitCode::from(2);
    }
    let control = args.next().map_or_else(|| PathBuf::from("/troupe"), PathBuf::from);
    match run(control.clone()) {
        Ok(Outcome::Succeeded) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("troupe-init: cannot run the plan in {}: {error}", control.display());
            ExitCode::from(2)
        }
    }
}
