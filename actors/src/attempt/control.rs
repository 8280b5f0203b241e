//! The directory of an attempt on disk, and the FIFO by which its init is told something.
//!
//! The job may write into `control/`, `temp/` and `workspace/` as it likes, so nothing below them is opened through a link, and nothing
//! below them is mounted anywhere: the engine follows links. What a container is given of `control/` beside that lies outside of it
//! ([`Directories::given`]), and in `control/` there are only places for it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{AttemptId, Fence};
use init::permit::{self, Permit};
use init::wire::Order;
use rustix::fs::{FileType, Mode, OFlags};
use tokio::net::unix::pipe;

use super::pausing::Note;
use crate::artifacts::REMEMBERED;
use crate::executor::Mount;
use crate::logs::LogStore;
use crate::tree;

/// Where a container has what its node gives it.
const INSIDE: &str = "/troupe";
/// The event's payload, as its steps find it.
const EVENT: &str = "event.json";
/// A directory for what steps need only for a while.
const TEMP: &str = "temp";
const BELL: &str = "bell";
const FENCE: &str = "fence";
const PAUSED: &str = "paused";

/// Where things of an attempt are.
#[derive(Debug, Clone)]
pub(super) struct Directories {
    pub(super) root: PathBuf,
    pub(super) control: PathBuf,
    /// A file of its own; init finds it in its control directory.
    pub(super) permit: PathBuf,
    pub(super) event: PathBuf,
    pub(super) temp: PathBuf,
    pub(super) workspace: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) spool: PathBuf,
}

impl Directories {
    pub(super) fn of(root: PathBuf) -> Self {
        let control = root.join("control");
        Self {
            workspace: root.join("workspace"),
            staging: root.join("staging"),
            spool: control.join("spool"),
            permit: root.join(permit::FILE),
            event: root.join(EVENT),
            temp: root.join(TEMP),
            control,
            root,
        }
    }

    /// What a container of the attempt is given that is no directory of its own: the event and a place for a while.
    pub(super) fn given(&self) -> [Mount; 2] {
        [(&self.event, EVENT), (&self.temp, TEMP)]
            .map(|(from, name)| Mount::writable(from.clone(), format!("{INSIDE}/{name}")))
    }

    /// The permit, as its container's init finds it.
    pub(super) fn given_permit(&self) -> Mount {
        Mount::readable(self.permit.clone(), format!("{INSIDE}/{}", permit::FILE))
    }

    /// Makes the attempt's directory, into which nobody else on this machine has a way. Blocking.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
        fs::set_permissions(&self.root, Permissions::from_mode(0o700))
    }

    /// Makes everything that a container that never ran needs. What an earlier try left is removed first. Blocking.
    pub(super) fn prepare(
        &self,
        attempt: AttemptId,
        fence: Fence,
        (plan, permit, payload): (&[u8], Permit, &str),
    ) -> io::Result<()> {
        for directory in [&self.control, &self.workspace, &self.staging, &self.temp] {
            tree::remove_tree(directory)?;
        }
        for file in [REMEMBERED, PAUSED, permit::FILE, EVENT] {
            remove_file(&self.root.join(file))?;
        }
        // The container has a way in, whatever user its image runs as; others on this machine have none: see `make`.
        self.make()?;
        fs::write(self.root.join(FENCE), format!("{attempt} {fence}"))?;
        for directory in [&self.control, &self.workspace, &self.temp] {
            fs::create_dir(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o777))?;
        }
        fs::write(self.control.join("plan"), plan)?;
        fs::write(&self.permit, permit.encode())?;
        fs::write(&self.event, payload)?;
        // What is mounted there covers them.
        for name in [permit::FILE, EVENT] {
            File::create(self.control.join(name))?;
        }
        fs::create_dir(self.control.join(TEMP))?;
        for name in ["control", BELL] {
            let fifo = self.control.join(name);
            rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from(0o666), 0)?;
            fs::set_permissions(&fifo, Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    /// Writes an order where init finds it. Blocking.
    pub(super) fn order(&self, number: u32, order: &Order) -> io::Result<()> {
        let path = self.control.join(Order::file(number));
        remove_file(&path)?;
        // New, so that nothing is written through what the job has put there.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
        file.write_all(&order.encode())
    }

    /// The FIFO that init rings when there is more than output. Within a runtime.
    pub(super) fn bell(&self) -> io::Result<pipe::Receiver> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = File::from(rustix::fs::open(self.control.join(BELL), flags, Mode::empty())?);
        pipe::Receiver::from_file(fifo)
    }

    /// True when init has begun.
    pub(super) fn begun(&self) -> bool {
        fs::symlink_metadata(&self.spool).is_ok()
    }

    /// Writes until when the job may run over what stands there. Blocking.
    pub(super) fn permit(&self, permit: Permit) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&self.permit, flags, Mode::empty())?);
        file.write_all_at(&permit.encode(), 0)
    }

    /// Writes down where pauses stand, for a later life of this node. Blocking.
    pub(super) fn note_pause(&self, note: Note) -> io::Result<()> {
        let Note { since, total } = note;
        fs::write(self.root.join(PAUSED), format!("{} {}", since.as_millis(), total.as_millis()))
    }

    /// What an earlier life wrote down; nothing when there is none, or it makes no sense. Blocking.
    pub(super) fn noted_pause(&self) -> Note {
        let text = fs::read_to_string(self.root.join(PAUSED)).unwrap_or_default();
        let mut millis = text.split(' ').map(|word| word.parse().map(Duration::from_millis));
        match (millis.next(), millis.next()) {
            (Some(Ok(since)), Some(Ok(total))) => Note { since, total },
            _ => Note::default(),
        }
    }

    /// Tells init a line. Blocking only as long as opening takes.
    pub(super) fn tell(&self, line: &str) -> io::Result<()> {
        // For reading too, so that opening succeeds before init has opened its side.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut fifo = File::from(rustix::fs::open(self.control.join("control"), flags, Mode::empty())?);
        if !fifo.metadata()?.file_type().is_fifo() {
            return Err(io::Error::other("the job has put something else in the place of its control FIFO"));
        }
        fifo.write_all(format!("{line}\n").as_bytes())
    }
}

/// Attempts that were prepared here, by what their directories say. Blocking.
pub(super) fn prepared(root: &Path) -> io::Result<Vec<(AttemptId, Fence)>> {
    let entries = match fs::read_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        if let Ok(text) = fs::read_to_string(entry?.path().join(FENCE)) {
            found.extend(parse(&text));
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Option<(AttemptId, Fence)> {
    let (attempt, fence) = text.split_once(' ')?;
    let (job, number) = attempt.split_once('/')?;
    let attempt = AttemptId { job: job.parse().ok()?, number: number.parse().ok()? };
    Some((attempt, Fence(fence.parse().ok()?)))
}

/// Removes all but the log and a kept result. Blocking.
pub(super) fn clear(root: &Path, fence: Fence) -> io::Result<()> {
    let kept = match fs::read_to_string(root.join(FENCE)) {
        Ok(text) => parse(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    // A later holder of the same number has the directory now.
    if kept.is_some_and(|(_, present)| present != fence) {
        return Ok(());
    }
    let all = Directories::of(root.to_owned());
    for directory in [&all.control, &all.workspace, &all.staging, &all.temp] {
        tree::remove_tree(directory)?;
    }
    // The fence last: until it is gone, this is tried again.
    for file in [REMEMBERED, PAUSED, permit::FILE, EVENT, LogStore::JOURNAL] {
        remove_file(&root.join(file))?;
    }
    remove_file(&root.join(FENCE))
}

/// No error when there is none.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{JobId, RunId};
    use std::io::Read;

    const PERMIT: Permit = Permit { until_ms: 5, paused_ms: 0 };
    const ATTEMPT: AttemptId = AttemptId { job: JobId { run: RunId(9), index: 3 }, number: 2 };

    fn entries(path: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    #[test]
    fn what_was_prepared_is_found_and_only_the_log_outlives_it() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        assert!(prepared(&root.path().join("none"))?.is_empty());
        let all = Directories::of(root.path().join("a"));
        all.prepare(ATTEMPT, Fence(7), (b"plan", PERMIT, "{}"))?;
        fs::write(all.root.join("log"), "kept")?;
        fs::write(all.workspace.join("left"), "over")?;
        assert!(!all.begun());
        assert_eq!(all.noted_pause(), Note::default());
        let note = Note { since: Duration::from_millis(7), total: Duration::from_secs(3600) };
        all.note_pause(note)?;
        assert_eq!(all.noted_pause(), note);
        assert_eq!(prepared(root.path())?, [(ATTEMPT, Fence(7))]);
        // Prepared again: nothing of the first try is left.
        all.prepare(ATTEMPT, Fence(7), (b"plan", PERMIT, "{}"))?;
        assert!(entries(&all.workspace)?.is_empty());
        clear(&all.root, Fence(6))?;
        assert!(all.control.exists(), "an older fence must not clear it");
        clear(&all.root, Fence(7))?;
        clear(&all.root, Fence(7))?;
        assert_eq!(entries(&all.root)?, ["log"]);
        Ok(())
    }

    #[test]
    fn init_is_told_and_a_link_in_place_of_the_fifo_is_not_followed() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let all = Directories::of(root.path().join("a"));
        all.prepare(ATTEMPT, Fence(7), (b"plan", PERMIT, "{}"))?;
        let path = all.control.join("control");
        let mut reader = File::options().read(true).write(true).open(&path)?;
        all.tell("host 0 1")?;
        let mut line = [0; 9];
        reader.read_exact(&mut line)?;
        assert_eq!(&line, b"host 0 1\n");
        let victim = root.path().join("victim");
        fs::write(&victim, "untouched")?;
        fs::remove_file(&path)?;
        std::os::unix::fs::symlink(&victim, &path)?;
        assert!(all.tell("cancel").is_err());
        fs::remove_file(&path)?;
        fs::write(&path, "")?;
        assert!(all.tell("cancel").is_err());
        assert_eq!(fs::read_to_string(&victim)?, "untouched");
        Ok(())
    }

    #[test]
    fn an_attempts_directory_is_nobody_elses_whoever_made_it() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("attempt");
        fs::create_dir(&root)?;
        fs::set_permissions(&root, Permissions::from_mode(0o755))?;
        let directories = Directories::of(root.clone());
        directories.make()?;
        assert_eq!(fs::metadata(&root)?.permissions().mode() & 0o777, 0o700);
        Ok(())
    }
}
