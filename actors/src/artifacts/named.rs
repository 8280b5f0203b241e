//! Artifacts with a name, as `actions/upload-artifact` makes them: which files of a workspace, under which paths.
//!
//! GitHub's rules for names and paths hold, so that what can be kept here can be unpacked on any system. Blocking.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use domain::Artifact;
use rustix::fs::FileType;

use super::globs::{Globs, lines};
use super::{Blobs, Error, Room, io_error, refused};
use crate::tree;

/// Most bytes of a name.
const MAX_NAME_BYTES: usize = 255;
/// What some file systems do not allow in a name.
const NOT_ALLOWED: [char; 7] = ['"', ':', '<', '>', '|', '*', '?'];

/// The artifact that summaries of steps are kept in; nobody can upload or download one of this name.
pub(crate) const SUMMARY: &str = ".summary";

/// Checks the name of an artifact.
///
/// # Errors
/// [`Error::BadName`].
pub fn check_name(name: &str) -> Result<(), Error> {
    let bad =
        |why| Err(Error::BadName { name: name.chars().filter(|c| !c.is_control()).take(100).collect(), why });
    if name.is_empty() {
        return bad("its name is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return bad("its name has more than 255 bytes");
    }
    if name.contains(NOT_ALLOWED) || name.contains(['/', '\\']) {
        return bad("a name has none of \" : < > | * ? / \\");
    }
    if name.eq_ignore_ascii_case(SUMMARY) {
        return bad("it is the name under which summaries of steps are kept");
    }
    match refused(name) {
        Some(why) => bad(why),
        None => Ok(()),
    }
}

/// What is to be kept of a workspace.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Lines of globs, `!` before those that take away.
    pub paths: &'a str,
    /// Where the job sees its workspace.
    pub seen_at: &'a str,
    /// With what has a dot at the beginning of its name.
    pub hidden: bool,
}

/// Stores what is wanted. Paths are from the least directory that has all that was searched, as GitHub has it.
///
/// # Errors
/// [`Error`]; nothing is listed when one file fails.
pub fn collect(
    workspace: &Path,
    wanted: &Wanted<'_>,
    mut room: Room,
    blobs: &Blobs,
) -> Result<Vec<Artifact>, Error> {
    let globs = globs(wanted)?;
    let root = tree::open_root(workspace).map_err(|source| io_error("the workspace", "open", source))?;
    let mut files = Vec::new();
    tree::walk(root.as_fd(), |entry| {
        match entry.kind {
            FileType::Directory => return Ok(globs.may_be_below(entry.path)),
            FileType::RegularFile if globs.matches(entry.path) => {}
            _ => return Ok(false),
        }
        if wanted.hidden || !globs.is_hidden(entry.path) {
            files.push(entry.path.to_owned());
            if files.len() as u64 > room.files {
                return Err(Error::TooMuch { what: "number of files", limit: room.limits.files });
            }
        }
        Ok(false)
    })?;
    files.sort();
    let top = top(&globs.heads(), &files);
    let mut kept = Vec::with_capacity(files.len());
    for file in files {
        let bad = |why| Error::BadName { name: file.to_string_lossy().chars().take(100).collect(), why };
        let text = file.to_str().ok_or_else(|| bad("its path is not UTF-8"))?;
        if text.contains(NOT_ALLOWED) {
            return Err(bad("a path has none of \" : < > | * ?"));
        }
        let path = file.strip_prefix(&top).unwrap_or(&file).to_string_lossy().into_owned();
        if let Some(why) = refused(&path) {
            return Err(bad(why));
        }
        room.enter(wanted.name, &path)?;
        let (size, digest) = room.store(root.as_fd(), text, blobs)?;
        kept.push(Artifact { name: wanted.name.to_owned(), path, size, digest });
    }
    Ok(kept)
}

fn globs(wanted: &Wanted<'_>) -> Result<Globs, Error> {
    let seen_at = wanted.seen_at.trim_end_matches('/');
    let relative = |(chooses, line): (bool, _)| {
        let line: &str = line;
        let outside =
            |why: &str| Error::BadPattern { pattern: line.chars().take(200).collect(), why: why.to_owned() };
        if line.split('/').any(|part| part == "..") {
            return Err(outside("`..` leads out of the workspace"));
        }
        let rest = match line.strip_prefix(seen_at) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ if line.starts_with(['/', '~']) => {
                return Err(outside(
                    "only files of the workspace are kept as artifacts: copy it there first",
                ));
            }
            _ => line,
        };
        Ok((chooses, rest))
    };
    let all: Vec<(bool, &str)> = lines(wanted.paths).map(relative).collect::<Result<_, _>>()?;
    if !all.iter().any(|(chooses, _)| *chooses) {
        return Err(Error::BadPattern { pattern: String::new(), why: "no path is named".to_owned() });
    }
    Globs::new(all)
}

/// Where paths begin.
fn top(heads: &[&[String]], files: &[PathBuf]) -> PathBuf {
    let common = heads.iter().copied().reduce(|a, b| {
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        &a[..same]
    });
    let mut top: PathBuf = common.unwrap_or_default().iter().collect();
    // One file by its whole name.
    if files.len() == 1 && files[0] == top {
        top.pop();
    }
    top
}

/// Where the files of an artifact go: a relative path in the workspace.
///
/// # Errors
/// [`Error::BadName`]: it leads elsewhere.
pub fn destination(path: &str, seen_at: &str) -> Result<PathBuf, Error> {
    let bad =
        |why| Error::BadName { name: path.chars().filter(|c| !c.is_control()).take(100).collect(), why };
    let rest = match path.strip_prefix(seen_at.trim_end_matches('/')) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => path,
    };
    if rest.starts_with(['/', '~']) {
        return Err(bad("artifacts are downloaded into the workspace alone"));
    }
    let mut plain = PathBuf::new();
    for part in Path::new(rest).components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            _ => return Err(bad("`..` leads out of the workspace")),
        }
    }
    match rest.contains(char::is_control) {
        true => Err(bad("control characters are not allowed")),
        false => Ok(plain),
    }
}

/// The names that a pattern of names chooses.
///
/// # Errors
/// [`Error::BadPattern`].
pub fn names<'a>(all: impl Iterator<Item = &'a str>, pattern: &str) -> Result<BTreeSet<&'a str>, Error> {
    if pattern.is_empty() {
        return Ok(all.collect());
    }
    let globs = Globs::new([(true, pattern)])?;
    Ok(all.filter(|name| globs.matches(Path::new(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, MAX_LIST_BYTES};
    use super::*;
    use std::fs;

    const LIMITS: Limits = Limits { files: 20, bytes: 100 };

    #[test]
    fn what_was_kept_before_counts_and_errors_are_about_all_of_it() -> Result {
        let dir = workspace()?;
        let blobs = Blobs::new(dir.path().join("b"));
        let wanted = Wanted { name: "n", paths: "dist", seen_at: "/workspace", hidden: false };
        let before = |path: &str, size| Artifact {
            name: "old".to_owned(),
            path: path.to_owned(),
            size,
            digest: [0; 32],
        };
        let collect = |before: &[Artifact]| {
            let kept = collect(&dir.path().join("w"), &wanted, LIMITS.beside(before), &blobs);
            kept.map(|kept| kept.len()).map_err(|error| error.to_string())
        };
        // Three files of one byte.
        assert_eq!(collect(&[before("x", 97)]), Ok(3));
        let too_much = |what: &str| Err(format!("artifacts: {what}"));
        assert_eq!(collect(&[before("x", 98)]), too_much("bytes is over the limit of 100"));
        let files: Vec<_> = (0..18).map(|_| before("x", 1)).collect();
        assert_eq!(collect(&files), too_much("number of files is over the limit of 20"));
        let list = [before(&"x".repeat(MAX_LIST_BYTES - 200), 1)];
        assert_eq!(
            collect(&list),
            too_much(&format!("bytes of names is over the limit of {MAX_LIST_BYTES}"))
        );
        Ok(())
    }

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    fn workspace() -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        for file in
            ["dist/a.js", "dist/sub/b.js", "dist/sub/b.map", "dist/.env", "docs/x.md", ".next/y", "z.txt"]
        {
            let path = dir.path().join("w").join(file);
            fs::create_dir_all(path.parent().ok_or("no parent")?)?;
            fs::write(path, "1")?;
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("w/dist/link"))?;
        Ok(dir)
    }

    fn kept(dir: &Path, paths: &str, hidden: bool) -> std::result::Result<Vec<String>, Error> {
        let wanted = Wanted { name: "n", paths, seen_at: "/workspace", hidden };
        let kept = collect(&dir.join("w"), &wanted, LIMITS.beside([]), &Blobs::new(dir.join("b")))?;
        assert!(kept.iter().all(|artifact| artifact.name == "n"));
        Ok(kept.into_iter().map(|artifact| artifact.path).collect())
    }

    #[test]
    fn paths_begin_where_github_lets_them_begin() -> Result {
        let dir = workspace()?;
        for (paths, wanted) in [
            ("dist", &["a.js", "sub/b.js", "sub/b.map"][..]),
            ("dist/", &["a.js", "sub/b.js", "sub/b.map"]),
            ("dist/**/*.js", &["a.js", "sub/b.js"]),
            ("dist\n!dist/**/*.map", &["a.js", "sub/b.js"]),
            ("dist/a.js", &["a.js"]),
            ("dist/a.js\ndist/sub", &["a.js", "sub/b.js", "sub/b.map"]),
            ("dist/sub\ndocs", &["dist/sub/b.js", "dist/sub/b.map", "docs/x.md"]),
            ("/workspace/docs", &["x.md"]),
            ("*.txt", &["z.txt"]),
            (".", &["dist/a.js", "dist/sub/b.js", "dist/sub/b.map", "docs/x.md", "z.txt"]),
            ("absent", &[]),
            (".next", &[]),
        ] {
            assert_eq!(kept(dir.path(), paths, false)?, wanted, "{paths}");
        }
        assert_eq!(kept(dir.path(), ".next", true)?, ["y"]);
        assert_eq!(kept(dir.path(), "dist/.*", true)?, [".env"]);
        Ok(())
    }

    #[test]
    fn what_is_not_the_workspaces_and_what_is_too_much_is_refused() -> Result {
        let dir = workspace()?;
        for (paths, words) in [
            ("../x", "leads out"),
            ("dist/../../x", "leads out"),
            ("/etc/passwd", "only files of the workspace"),
            ("~/x", "only files of the workspace"),
            ("/workspace-2/x", "only files of the workspace"),
            ("!dist", "no path is named"),
            ("\n# only\n", "no path is named"),
            ("a[", "not a valid glob"),
        ] {
            let error = kept(dir.path(), paths, false).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{paths}: {error}");
        }
        fs::write(dir.path().join("w/dist/a:b"), "")?;
        let error = kept(dir.path(), "dist", false).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("dist/a:b") && error.contains("none of"), "{error}");
        fs::write(dir.path().join("w/docs/big"), [0; 101])?;
        assert!(matches!(kept(dir.path(), "docs", false), Err(Error::TooMuch { what: "bytes", .. })));
        for n in 0..21 {
            fs::write(dir.path().join(format!("w/docs/{n}")), "")?;
        }
        assert!(matches!(
            kept(dir.path(), "docs", false),
            Err(Error::TooMuch { what: "number of files", .. })
        ));
        Ok(())
    }

    /// Row 20.
    #[test]
    fn names_are_those_that_every_file_system_has() {
        for name in ["artifact", "my build 1.0", "ü漢", "100%", "...", "linux-x64"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for (name, words) in [
            ("", "empty"),
            ("../x", "none of"),
            ("..", ". or .."),
            (".Summary", "summaries of steps"),
            ("%2e%2E", ". or .."),
            ("%2e%2e%2fx", ". or .."),
            ("..%5cx", ". or .."),
            ("a/b", "none of"),
            ("a\\b", "none of"),
            ("a\0b", "control"),
            ("a\r\nb", "control"),
            ("a\"b", "none of"),
            ("a:b", "none of"),
            ("a<b", "none of"),
            ("a>b", "none of"),
            ("a|b", "none of"),
            ("a*b", "none of"),
            ("a?b", "none of"),
            (&"x".repeat(4096), "255 bytes"),
        ] {
            let error = check_name(name).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{name:.20}: {error}");
        }
    }

    #[test]
    fn a_destination_is_in_the_workspace() -> Result {
        for (path, wanted) in
            [("", ""), (".", ""), ("a/./b/", "a/b"), ("/workspace", ""), ("/workspace/x", "x")]
        {
            assert_eq!(destination(path, "/workspace")?, Path::new(wanted), "{path}");
        }
        for bad in ["/etc", "~/x", "../x", "a/../../b", "/workspace/../x", "/workspace2", "a\nb"] {
            assert!(destination(bad, "/workspace").is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn names_are_chosen_by_a_pattern() -> Result {
        let all = ["build-linux", "build-mac", "docs"];
        assert_eq!(names(all.into_iter(), "build-*")?.len(), 2);
        assert_eq!(names(all.into_iter(), "")?.len(), 3);
        assert_eq!(names(all.into_iter(), "x")?.len(), 0);
        Ok(())
    }
}
