//! The binary of an earlier commit that must work together with this one.

use std::path::PathBuf;

use crate::binary::script;

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
    let output = script("previous-binary.sh");
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
