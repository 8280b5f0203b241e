//! A library in front of a node's C library: it makes each sync wait, and sets the wall clock of this one process ahead or
//! back, from one moment to the next. Knobs are files that library and test both map or write; see `shim.c`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What can be turned; the names are those of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knob {
    Sync,
    Clock,
}

impl Knob {
    fn file(self) -> &'static str {
        match self {
            Self::Sync => "sync_ms",
            Self::Clock => "clock_ms",
        }
    }
}

/// What a node's process is started with.
#[derive(Debug, Clone)]
pub struct Shim {
    library: PathBuf,
    knobs: PathBuf,
}

impl Shim {
    /// Compiles the library into a directory.
    ///
    /// # Panics
    /// When there is no C compiler; Rust's linker is one.
    #[must_use]
    pub fn library(dir: &Path) -> PathBuf {
        let library = dir.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shim.c");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
        library
    }

    /// For the node in this directory; nothing is turned yet.
    ///
    /// # Panics
    /// When the knobs cannot be written.
    #[must_use]
    pub fn new(library: &Path, node: &Path) -> Self {
        let knobs = node.join("knobs");
        fs::create_dir_all(&knobs).unwrap();
        for knob in [Knob::Sync, Knob::Clock] {
            fs::write(knobs.join(knob.file()), [0; 16]).unwrap();
        }
        Self { library: library.to_owned(), knobs }
    }

    /// The environment of the node's process.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("TROUPE_TEST_KNOBS", &self.knobs)]
    }

    /// Each sync that begins from now on takes so much longer.
    pub fn sync_takes(&self, longer: Duration) {
        self.turn(Knob::Sync, longer.as_millis() as i64);
    }

    /// From now on the wall clock is so many milliseconds ahead, or behind where that is negative.
    pub fn clock_is_ahead(&self, millis: i64) {
        self.turn(Knob::Clock, millis);
    }

    /// How many syncs waited so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.count(Knob::Sync)
    }

    /// How often the wall clock was read while it was wrong.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.count(Knob::Clock)
    }

    fn open(&self, knob: Knob) -> File {
        File::options().read(true).write(true).open(self.knobs.join(knob.file())).unwrap()
    }

    fn turn(&self, knob: Knob, value: i64) {
        self.open(knob).write_all_at(&value.to_ne_bytes(), 0).unwrap();
    }

    fn count(&self, knob: Knob) -> u64 {
        let mut bytes = [0; 8];
        self.open(knob).read_exact_at(&mut bytes, 8).unwrap();
        u64::from_ne_bytes(bytes)
    }
}
