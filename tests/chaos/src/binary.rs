//! The `troupe` binary that is tested: the one of the build that this test is part of.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `TROUPE_BIN`, or the binary beside this test's own, when it is as new as its sources.
///
/// # Panics
/// When there is none, or an old one: a test of what was built yesterday says nothing.
#[must_use]
pub fn troupe() -> PathBuf {
    if let Some(given) = std::env::var_os("TROUPE_BIN") {
        return given.into();
    }
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("a test is in target/PROFILE/deps");
    let binary = profile.join("troupe");
    let built = modified(&binary)
        .unwrap_or_else(|| panic!("{} is not there; to do: cargo build -p node", binary.display()));
    let newer = sources(&binary).into_iter().find(|source| modified(source).is_none_or(|at| at > built));
    if let Some(source) = newer {
        panic!("{} is newer than {}; to do: cargo build -p node", source.display(), binary.display());
    }
    binary
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// What cargo says that the binary is made from: `BINARY: SOURCE SOURCE...`, with blanks escaped. Directories are left out:
/// they change when an editor writes beside a file.
fn sources(binary: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string(binary.with_extension("d")).expect("cargo writes troupe.d beside troupe");
    let (_, sources) = list.split_once(": ").expect("a rule of make");
    let marked = sources.trim().replace("\\ ", "\0");
    let sources = marked.split(' ').map(|source| PathBuf::from(source.replace('\0', " ")));
    sources.filter(|source| !source.is_dir()).collect()
}
