//! Archives there and back, and archives that no node has made (bad-input rows 26 and 27).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::archive::Archive;
use super::*;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const LIMITS: Limits = Limits { entries: 100, bytes: 1 << 30, ratio: 100 };

fn paths(text: &str) -> Result<Paths> {
    Ok(Paths::parse(text, "/workspace")?)
}

fn restore(
    archive: &[u8],
    limits: Limits,
    text: &str,
    into: &Path,
) -> std::result::Result<(Unpacked, Vec<u8>), Error> {
    let mut container = Vec::new();
    let places = Places { workspace: into, owner: None, home: "/home/me", container: &mut container };
    let done = unpack(archive, archive.len() as u64, &Paths::parse(text, "/workspace")?, limits, places)?;
    Ok((done, container))
}

#[test]
fn what_was_kept_of_a_workspace_is_restored_as_it_was() -> Result {
    let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let long = "d".repeat(200);
    fs::create_dir_all(from.path().join("target/empty"))?;
    fs::create_dir_all(from.path().join("target").join(&long))?;
    fs::write(from.path().join("target").join(&long).join(&long), "deep")?;
    fs::write(from.path().join("target/run"), "#!/bin/sh")?;
    fs::set_permissions(from.path().join("target/run"), fs::Permissions::from_mode(0o4755))?;
    fs::File::open(from.path().join("target/run"))?
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000))?;
    fs::write(from.path().join("target/skip.map"), "x")?;
    fs::write(from.path().join("other"), "x")?;
    symlink("run", from.path().join("target/link"))?;
    symlink("/etc/passwd", from.path().join("target/out"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        from.path().join("target/fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )?;
    let text = "target\n!**/*.map";
    let mut archive = Archive::new(Vec::new(), LIMITS)?;
    archive.add_workspace(from.path(), &paths(text)?)?;
    let (kept, bytes) = archive.finish()?;
    assert_eq!((kept.entries, kept.bytes, kept.left_out_count), (6, 13, 2), "{kept:?}");
    assert!(kept.left_out.iter().any(|l| l == "target/out: it is a link out of the workspace"), "{kept:?}");
    // What is in the way goes; what was not kept stays.
    fs::create_dir_all(to.path().join("target/run/was"))?;
    fs::write(to.path().join("target/mine"), "x")?;
    let (done, container) = restore(&bytes, LIMITS, text, to.path())?;
    assert_eq!((done.entries, done.bytes, done.of_container), (6, 13, 0));
    assert!(container.iter().all(|byte| *byte == 0), "a tar of nothing");
    let run = fs::metadata(to.path().join("target/run"))?;
    assert_eq!((run.mode() & 0o7777, run.mtime()), (0o755, 1_000_000));
    assert_eq!(fs::read_link(to.path().join("target/link"))?, Path::new("run"));
    assert_eq!(fs::read_to_string(to.path().join("target").join(&long).join(&long))?, "deep");
    assert!(to.path().join("target/empty").is_dir() && to.path().join("target/mine").exists());
    for absent in ["target/out", "target/fifo", "target/skip.map", "other"] {
        assert!(fs::symlink_metadata(to.path().join(absent)).is_err(), "{absent}");
    }
    Ok(())
}

/// The tar that an engine gives of `/srv/.x`, and what comes of it.
#[test]
fn what_was_kept_of_a_container_goes_to_the_home_of_then() -> Result {
    let mut engines = Builder::new(Vec::new());
    let mut file = Header::new_gnu();
    file.set_mode(0o4755);
    file.set_uid(7);
    file.set_gid(8);
    file.set_mtime(9);
    file.set_size(2);
    engines.append_data(&mut file, ".x/bin/tool", &b"ab"[..])?;
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Link);
    link.set_mode(0o755);
    link.set_mtime(0);
    link.set_uid(0);
    link.set_gid(0);
    link.set_size(0);
    engines.append_link(&mut link, ".x/bin/same", ".x/bin/tool")?;
    engines.append_link(&mut link, ".x/bin/other", ".x/not/kept")?;
    link.set_entry_type(EntryType::Symlink);
    engines.append_link(&mut link, ".x/bin/abs", "/usr/bin/tool")?;
    let engines = engines.into_inner()?;
    let text = "~/.x\n!~/.x/not";
    let mut archive = Archive::new(Vec::new(), LIMITS)?;
    archive.add_container(&engines[..], (Root::Home, ".x"), &paths(text)?)?;
    let (kept, bytes) = archive.finish()?;
    assert_eq!((kept.entries, kept.left_out_count), (3, 1), "{kept:?}");
    let to = tempfile::tempdir()?;
    let (done, container) = restore(&bytes, LIMITS, text, to.path())?;
    assert_eq!((done.entries, done.of_container), (3, 3));
    assert_eq!(fs::read_dir(to.path())?.count(), 0, "nothing on the node");
    let mut tar = tar::Archive::new(&container[..]);
    let mut found = Vec::new();
    for entry in tar.entries()? {
        let entry = entry?;
        let link = entry.link_name()?.map(|link| link.display().to_string()).unwrap_or_default();
        let header = entry.header();
        found.push((
            entry.path()?.display().to_string(),
            link,
            header.mode()?,
            header.uid()?,
            header.mtime()?,
        ));
    }
    let home = |name: &str| format!("home/me/.x/bin/{name}");
    let wanted = [
        (home("tool"), String::new(), 0o755, 7, 9),
        (home("same"), home("tool"), 0o777, 0, 0),
        (home("abs"), "/usr/bin/tool".to_owned(), 0o777, 0, 0),
    ];
    assert_eq!(found, wanted);
    Ok(())
}

/// An archive of one entry, written as it is asked for.
fn made(name: &str, kind: EntryType, link: &str, mode: u32) -> Result<Vec<u8>> {
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1)?);
    let mut header = Header::new_gnu();
    header.as_gnu_mut().ok_or("not gnu")?.name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().ok_or("not gnu")?.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_cksum();
    tar.append(&header, io::empty())?;
    Ok(tar.into_inner()?.finish()?)
}

/// Row 26.
#[test]
fn what_no_node_would_have_kept_is_refused_by_name_and_nothing_is_written() -> Result {
    let dir = tempfile::tempdir()?;
    for (name, kind, link, mode, words) in [
        ("workspace/../x", EntryType::Regular, "", 0o644, "not below"),
        ("/etc/passwd", EntryType::Regular, "", 0o644, "not below"),
        ("workspace", EntryType::Directory, "", 0o755, "not below"),
        ("elsewhere/x", EntryType::Regular, "", 0o644, "not below"),
        ("workspace/other", EntryType::Regular, "", 0o644, "not among its paths"),
        ("home/.ssh/id", EntryType::Regular, "", 0o644, "not among its paths"),
        ("workspace/kept/x", EntryType::Symlink, "/etc/passwd", 0o777, "link out"),
        ("workspace/kept/x", EntryType::Symlink, "../../x", 0o777, "link out"),
        ("workspace/kept/x", EntryType::Link, "workspace/kept/y", 0o644, "hard link"),
        ("home/kept/x", EntryType::Link, "container/etc/shadow", 0o644, "hard link to another place"),
        ("home/kept/x", EntryType::Link, "home/../etc/shadow", 0o644, "hard link to another place"),
        ("workspace/kept/x", EntryType::Char, "", 0o644, "neither file"),
        ("workspace/kept/x", EntryType::Block, "", 0o644, "neither file"),
        ("container/opt/x", EntryType::Fifo, "", 0o644, "neither file"),
        ("workspace/kept/x", EntryType::Regular, "", 0o4755, "privileges"),
        ("container/opt/x", EntryType::Regular, "", 0o2755, "privileges"),
    ] {
        let archive = made(name, kind, link, mode)?;
        let error = restore(&archive, LIMITS, "kept\n~/kept\n/opt", dir.path());
        let error = error.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            error.contains(words) && error.contains(name.rsplit('/').next().unwrap_or(name)),
            "{name}: {error}"
        );
    }
    let left: Vec<_> = fs::read_dir(dir.path().join("kept")).map(Iterator::collect).unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// Row 26: a link that was there, or was restored a moment ago.
#[test]
fn nothing_is_written_through_a_link() -> Result {
    let (dir, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
    symlink(outside.path(), dir.path().join("kept"))?;
    let archive = made("workspace/kept/x", EntryType::Regular, "", 0o644)?;
    assert!(matches!(restore(&archive, LIMITS, "kept", dir.path()), Err(Error::Io { .. })));
    assert_eq!(fs::read_dir(outside.path())?.count(), 0);
    Ok(())
}

/// Row 27.
#[test]
fn too_many_entries_bytes_and_bombs_are_refused_and_so_are_extended_headers() -> Result {
    let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for n in 0..5 {
        fs::write(from.path().join(n.to_string()), [0; 100])?;
    }
    let archive = |limits| {
        let mut archive = Archive::new(Vec::new(), limits)?;
        archive.add_workspace(from.path(), &Paths::parse(".", "/workspace")?)?;
        archive.finish()
    };
    let few = Limits { entries: 4, ..LIMITS };
    let small = Limits { bytes: 499, ..LIMITS };
    for limits in [few, small] {
        assert!(matches!(archive(limits), Err(Error::TooMuch { .. })));
        let bytes = archive(LIMITS)?.1;
        assert!(matches!(restore(&bytes, limits, ".", to.path()), Err(Error::TooMuch { .. })));
    }
    // A few kilobytes that say to be more than the first 256 MiB.
    fs::File::create(from.path().join("zeros"))?.set_len(300 << 20)?;
    let (kept, bytes) = archive(LIMITS)?;
    assert!(kept.bytes > 300 << 20 && bytes.len() < 1 << 20);
    let refused = restore(&bytes, Limits { ratio: 1, ..LIMITS }, "zeros\n[0-4]", to.path());
    assert!(matches!(refused, Err(Error::TooMuch { .. })), "{refused:?}");
    // One name for those who read extended headers, and another for the rest.
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 1)?);
    tar.append_pax_extensions([("path", &b"workspace/a"[..])])?;
    let mut header = Header::new_ustar();
    header.set_path("workspace/b")?;
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, io::empty())?;
    let bytes = tar.into_inner()?.finish()?;
    let error = restore(&bytes, LIMITS, ".", to.path()).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("extended headers"), "{error}");
    // Cut off, or no archive at all.
    fs::remove_file(from.path().join("zeros"))?;
    let whole = archive(LIMITS)?.1;
    assert!(matches!(restore(&whole[..whole.len() / 2], LIMITS, ".", to.path()), Err(Error::Io { .. })));
    assert!(matches!(restore(b"garbage", LIMITS, ".", to.path()), Err(Error::Io { .. })));
    Ok(())
}
