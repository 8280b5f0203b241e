//! Disks that take their time: a library in front of a node's C library makes each sync wait as long as it is told, from one
//! moment to the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a node's process is started with.
#[derive(Debug, Clone)]
pub struct SlowDisk {
    library: PathBuf,
    /// Holds the milliseconds that each sync waits.
    told: PathBuf,
}

impl SlowDisk {
    /// Compiles the library into a directory.
    ///
    /// # Panics
    /// When there is no C compiler; Rust's linker is one.
    #[must_use]
    pub fn library(dir: &Path) -> PathBuf {
        let library = dir.join("slow_disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/slow_disk.c");
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

    /// The disk of the node in this directory.
    #[must_use]
    pub fn new(library: &Path, node: &Path) -> Self {
        Self { library: library.to_owned(), told: node.join("slow-disk") }
    }

    /// The environment of the node's process.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("TROUPE_TEST_SLOW_DISK", &self.told)]
    }

    /// Each sync that begins from now on takes so much longer.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn takes(&self, longer: Duration) {
        // Read while it is written, it would be half of it.
        let new = self.told.with_extension("new");
        fs::write(&new, longer.as_millis().to_string()).unwrap();
        fs::rename(new, &self.told).unwrap();
    }
}
