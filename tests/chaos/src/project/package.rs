//! The source of lz4 as Debian packages it, from where apt gets packages on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::text;

const PACKAGE: &str = "lz4";

/// Its files, with Debian's patches, in a folder below `dir`.
///
/// # Panics
/// When this is no Debian, or its source of packages does not answer.
pub(super) fn source(dir: &Path) -> PathBuf {
    // Packages of this machine come from the first of these, and sources are beside them.
    let line = "deb-src $(SITE) $(RELEASE) $(COMPONENT)";
    let known = said(dir, "apt-get", &["indextargets", "--format", line, "Created-By: Packages"]);
    let first = known.lines().next().expect("apt has a source of packages (see /etc/apt)");
    let (list, lists) = (dir.join("sources.list"), dir.join("lists"));
    fs::write(&list, format!("{first}\n")).unwrap();
    fs::create_dir_all(lists.join("partial")).unwrap();
    let list = format!("Dir::Etc::SourceList={}", text(&list));
    let lists = format!("Dir::State::Lists={}", text(&lists));
    let own = ["-q", "-o", &list, "-o", &lists, "-o", "Dir::Etc::SourceParts=/dev/null"];
    said(dir, "apt-get", &[&own[..], &["update"]].concat());
    said(dir, "apt-get", &[&own[..], &["source", "--download-only", PACKAGE]].concat());
    let mut files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let described = files.find(|path| path.extension().is_some_and(|end| end == "dsc"));
    said(dir, "dpkg-source", &["-x", text(&described.expect("a source package")), "source"]);
    dir.join("source")
}

/// Runs a program to its end; what it wrote.
pub(super) fn said(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
