//! The files by which a step and its node tell each other something. Must not know what is in them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use init::wire::{FILES, FrameKind, MAX_CHUNK, MAX_FILE};

use crate::spool::Spool;

/// The same on every architecture that Troupe runs on. What a job puts in a file's place must not hold init up.
const O_NONBLOCK: i32 = 0o4000;

/// The FIFO by which the node hears that there is something to read; none where the node has made none.
pub fn open_bell(control: &Path) -> Option<File> {
    let path = control.join("bell");
    path.exists()
        .then(|| OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path).ok())?
}

/// The files of one order.
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Makes them, empty; whatever user a step becomes may write them.
    pub fn make(control: &Path, order: u32) -> io::Result<Self> {
        let directory = control.join(format!("files-{order}"));
        fs::create_dir_all(&directory)?;
        for (name, _) in FILES {
            let path = directory.join(name);
            File::create(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        }
        Ok(Self { directory })
    }

    /// The variables that name them.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, PathBuf)> + '_ {
        FILES.iter().map(|(name, variable)| (*variable, self.directory.join(name)))
    }

    /// Tells what is in them, and removes them; a bit for each that could not be read, or has too much.
    pub fn tell(self, spool: &Spool, step: u16) -> io::Result<u8> {
        let mut bad = 0;
        for (file, (name, _)) in FILES.iter().enumerate() {
            match read(&self.directory.join(name)) {
                Some(bytes) => {
                    for piece in bytes.chunks(MAX_CHUNK) {
                        spool.append(step, FrameKind::File { file: file as u8, bytes: piece.to_vec() })?;
                    }
                }
                None => bad |= 1 << file,
            }
        }
        // What cannot be removed goes with the container.
        let _kept = fs::remove_dir_all(&self.directory);
        Ok(bad)
    }
}

/// One that a step has removed says nothing.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Vec::new()),
        opened => opened.ok()?,
    };
    let mut bytes = Vec::new();
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MAX_FILE).then_some(bytes)
}
