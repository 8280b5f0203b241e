//! The few calls that std does not have. The only place with unsafe code; must not know steps.
#![allow(unsafe_code)] // A crate for four calls would end the rule that init is compiled by plain rustc.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

/// Asks for an orderly end.
pub const TERM: i32 = 15;
/// Ends at once.
pub const KILL: i32 = 9;

unsafe extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
    fn signal(signal: i32, handler: usize) -> usize;
    fn write(fd: i32, bytes: *const u8, count: usize) -> isize;
    fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    fn waitid(kind: i32, id: u32, info: *mut u64, options: i32) -> i32;
}

static CONTROL: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_term(_: i32) {
    let line = b"cancel\n";
    // SAFETY: write is async-signal-safe, and the line is static.
    unsafe { write(CONTROL.load(Ordering::Relaxed), line.as_ptr(), line.len()) };
}

/// From now on SIGTERM writes `cancel` into this FIFO. exec gives children the default action again.
pub fn term_cancels(control: i32) {
    CONTROL.store(control, Ordering::Relaxed);
    let handler: extern "C" fn(i32) = on_term;
    // SAFETY: the handler does nothing that is not async-signal-safe.
    unsafe { signal(TERM, handler as usize) };
}

static COMMAND: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_term_of_a_guard(which: i32) {
    // SAFETY: kill is async-signal-safe. A command that was reaped a moment ago ends this process, too.
    unsafe { kill(COMMAND.load(Ordering::Relaxed), which) };
}

/// From now on SIGTERM goes to this process.
pub fn term_goes_to(pid: u32) {
    COMMAND.store(pid as i32, Ordering::Relaxed);
    let handler: extern "C" fn(i32) = on_term_of_a_guard;
    // SAFETY: the handler does nothing that is not async-signal-safe.
    unsafe { signal(TERM, handler as usize) };
}

/// Milliseconds since this machine started, the time it slept included; none when the system cannot say.
pub fn since_boot_ms() -> Option<u64> {
    const BOOTTIME: i32 = 7;
    let mut time = [0i64; 2];
    // SAFETY: a timespec of the 64-bit systems that Troupe runs on is two i64, and `time` lives through the call.
    let said = unsafe { clock_gettime(BOOTTIME, &mut time) } == 0;
    said.then(|| time[0] as u64 * 1000 + time[1] as u64 / 1_000_000)
}

/// Signals a process group whose leader is not reaped yet; one that is gone is no error.
pub fn signal_group(leader: u32, which: i32) {
    // SAFETY: kill touches no memory of ours.
    unsafe { kill(-(leader as i32), which) };
}

/// Waits for a child's end without reaping it, so that its group's id stays its own.
pub fn wait_unreaped(pid: u32) -> io::Result<()> {
    const P_PID: i32 = 1;
    const WEXITED_NOWAIT: i32 = 0x4 | 0x0100_0000;
    loop {
        // siginfo_t is 128 bytes, aligned to 8.
        let mut info = [0u64; 16];
        // SAFETY: `info` is as large as siginfo_t and lives through the call.
        if unsafe { waitid(P_PID, pid, info.as_mut_ptr(), WEXITED_NOWAIT) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
