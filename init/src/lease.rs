//! The dead man's switch: a job whose node says nothing more ends by itself when its permit has run out, before it may run
//! elsewhere. Whether the node's process is dead, stands still, or waits for an engine that hangs makes no difference.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use init::permit::{self, Permit};

use crate::shared::{self, Shared};
use crate::sys;

/// Between two looks, at most: a machine that slept wakes with sleeps that are not over, and a permit that is.
pub const LOOK: Duration = Duration::from_secs(1);
/// Looks at a permit that is just being written.
const TRIES: usize = 100;

/// The permit's file, which the node writes and init reads.
#[derive(Debug)]
pub struct Lease(File, Mutex<Option<Permit>>);

impl Lease {
    /// Opens it in the control directory; none where the node keeps none.
    pub fn open(control: &Path) -> io::Result<Option<Self>> {
        match File::open(control.join(permit::FILE)) {
            Ok(file) => Ok(Some(Self(file, Mutex::default()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it says now, or said before it made no sense.
    pub fn read(&self) -> Option<Permit> {
        let now = (0..TRIES).find_map(|_| {
            let mut bytes = [0; permit::BYTES];
            self.0.read_exact_at(&mut bytes, 0).ok()?;
            Permit::decode(&bytes)
        });
        let mut last = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        *last = now.or(*last);
        *last
    }
}

/// Ends the job when its permit has run out; at once when it had before it began.
pub fn watch(shared: Arc<Shared>) {
    if let Some(left) = left_or_end(&shared, permit::TOO_LATE) {
        thread::spawn(move || {
            let mut left = left;
            loop {
                thread::park_timeout(left.min(LOOK));
                match left_or_end(&shared, permit::RAN_OUT) {
                    Some(still) => left = still,
                    None => return,
                }
            }
        });
    }
}

/// How long the job may go on; none when there is no permit or no clock, for then nobody can tell.
fn left_or_end(shared: &Shared, code: i32) -> Option<Duration> {
    let left = Duration::from_millis(shared.permit()?.until_ms.saturating_sub(sys::since_boot_ms()?));
    if left.is_zero() {
        shared::end(shared, code);
    }
    Some(left)
}
