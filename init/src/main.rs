//! The first process of a job's container: carries out the node's orders and appends what happens to the spool.
//!
//! `troupe-init run [CONTROL]`; the control directory is `/troupe` unless it is named.
//! `troupe-init guard CONTROL COMMAND...` is the first process of what runs beside a job.
//! Must not know: Docker, the network, the node beyond the files of the control directory.

mod files;
mod guard;
mod lease;
mod orders;
mod shared;
mod spool;
mod sys;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{io, thread};

use init::disk;
use init::wire::{Order, Plan};

fn run(control: PathBuf) -> io::Result<bool> {
    let plan = Plan::decode(&std::fs::read(control.join("plan"))?).map_err(io::Error::other)?;
    // Opened for reading and writing, so that it is never at its end while no node is there.
    let fifo = OpenOptions::new().read(true).write(true).open(control.join("control"))?;
    let spool: File = OpenOptions::new().append(true).create(true).open(control.join("spool"))?;
    let bell = files::open_bell(&control);
    sys::term_cancels(fifo.as_raw_fd());
    let state = Arc::new(shared::Shared::new(lease::Lease::open(&control)?));

    lease::watch(Arc::clone(&state));
    let told = Arc::clone(&state);
    if control.join(Order::file(1)).exists() {
        // The node gave it before this process was there to be told.
        state.change(|s| s.told = 1);
    }
    thread::spawn(move || shared::obey(fifo, told));
    orders::Job { plan, control, spool: Arc::new(spool::Spool::new(spool, bell)), shared: state }.run()
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let what = args.next();
    if what.as_ref().is_some_and(|what| what == "guard") {
        return guarded(args);
    }
    if what.is_none_or(|what| what != "run") {
        eprintln!("troupe-init: usage: troupe-init run [CONTROL] | guard CONTROL COMMAND...");
        return ExitCode::from(2);
    }
    let control = args.next().map_or_else(|| PathBuf::from("/troupe"), PathBuf::from);
    match run(control.clone()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("troupe-init: cannot carry out the orders in {}: {error}", control.display());
            ExitCode::from(if disk::is_to_blame(&error) { disk::FAILED as u8 } else { 2 })
        }
    }
}

fn guarded(mut args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let control = PathBuf::from(args.next().unwrap_or_default());
    match guard::run(&control, args) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("troupe-init: cannot guard a command by the permit in {}: {error}", control.display());
            ExitCode::from(2)
        }
    }
}
