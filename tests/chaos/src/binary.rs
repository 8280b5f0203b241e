//! The `troupe` binary that is tested: the one of the build that this test is part of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

/// The crates that the binary is made from.
const CRATES: [&str; 8] = ["domain", "workflow", "forge", "links", "init", "raft-store", "actors", "node"];

/// `TROUPE_BIN`, or the binary beside this test's own, when it is as new as its sources.
///
/// # Panics
/// When there is none, or an old one: a test of what was built yesterday says nothing.
#[must_use]
pub fn troupe() -> PathBuf {
    if let Some(given) = std::env::var_os("TROUPE_BIN") {
        return given.into();
    }
    let this = std::env::current_exe().unwrap();
    let dir = this.parent().expect("a program is in a directory");
    // A test is in target/PROFILE/deps, a program in target/PROFILE.
    let profile = if dir.ends_with("deps") { dir.parent().expect("target/PROFILE") } else { dir };
    let binary = profile.join("troupe");
    let built = modified(&binary)
        .unwrap_or_else(|| panic!("{} is not there; to do: cargo build -p node", binary.display()));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let newer = CRATES.iter().find_map(|name| newer(&repository.join(name).join("src"), built));
    if let Some(source) = newer {
        panic!("{} is newer than {}; to do: cargo build -p node", source.display(), binary.display());
    }
    binary
}

/// Runs a script that builds another binary, with the libraries that were built for this test.
pub(crate) fn script(name: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name);
    let mut command = Command::new(script);
    // A test is in TARGET/PROFILE/deps.
    let test = std::env::current_exe().unwrap();
    command.env("CARGO_TARGET_DIR", test.ancestors().nth(3).expect("a test is in target/PROFILE/deps"));
    // What nextest and cargo say to tests is not meant for another build.
    for (name, _) in std::env::vars() {
        if (name.starts_with("CARGO_") && name != "CARGO_HOME" && name != "CARGO_TARGET_DIR")
            || name.starts_with("NEXTEST")
        {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).output().unwrap()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// A file below a directory that was changed after the binary was built.
fn newer(dir: &Path, built: SystemTime) -> Option<PathBuf> {
    fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            newer(&path, built)
        } else {
            modified(&path).filter(|at| *at > built).map(|_| path)
        }
    })
}
