//! A `troupe` into which faults can be injected (`scripts/faulty-binary.sh`): by a file of each node, at any time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/faulty-binary.sh");
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
