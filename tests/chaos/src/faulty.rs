//! A `troupe` into which faults can be injected (`scripts/faulty-binary.sh`): by a file of each node, at any time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::binary::script;
use crate::node::Node;
use crate::until;

/// The faults of a node, beside its configuration.
const FILE: &str = "faults";

/// Builds the binary where that was not done, and writes a script into `dir` that starts it with the faults of whichever node it
/// is started for: the path is a node's [`Node::binary`].
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn binary(dir: &Path) -> PathBuf {
    let script = dir.join("troupe");
    let text = format!(
        "#!/bin/sh\n\
         # troupe node --config DIR/config.toml\n\
         case $1 in node) export TROUPE_TEST_FAULT=@$(dirname \"$3\")/{FILE} ;; esac\n\
         exec '{}' \"$@\"\n",
        build().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

fn build() -> PathBuf {
    let output = script("faulty-binary.sh");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/faulty-binary.sh ended with {}: {words}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(text.lines().last().expect("a path"))
}

/// Injects faults into a node, from now on and instead of those before.
///
/// # Panics
/// When the file cannot be written.
pub fn inject(node: &Node, faults: &str) {
    // Renamed, so that no half of it is read.
    let aside = node.dir.join("faults.new");
    fs::write(&aside, faults).unwrap();
    fs::rename(aside, node.dir.join(FILE)).unwrap();
}

/// Waits until a node's process has died of a fault, and takes the faults away.
///
/// # Panics
/// When it does not run, or does not die.
pub async fn dies(node: &mut Node) {
    let stat = format!("/proc/{}/stat", node.process().expect("runs"));
    // Dead, and not waited for yet.
    let is_dead = || {
        fs::read_to_string(&stat).unwrap().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    until(format!("{} dies of its fault", node.name), async || is_dead().then_some(())).await;
    node.kill();
    inject(node, "");
}
