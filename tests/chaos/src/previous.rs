//! The binary of an earlier commit that must work together with this one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One that was built.
#[derive(Debug)]
pub struct Previous {
    /// Of which commit.
    pub commit: String,
    /// Where it is.
    pub binary: PathBuf,
}

/// Finds it, and builds it if that was not done yet (`scripts/previous-binary.sh`); where there is no such commit, why.
///
/// # Errors
/// Why there is none, in words: the test is skipped then, visibly.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> Result<Previous, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/previous-binary.sh");
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
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(3) => return Err(words.trim().to_owned()),
        other => panic!("scripts/previous-binary.sh ended with {other:?}: {words}"),
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let (commit, binary) = text.trim().split_once(' ').expect("a commit and a path");
    Ok(Previous { commit: commit.to_owned(), binary: binary.into() })
}
