//! What a cache holds, as its `path` says it: lines of globs, each in the workspace, in the home directory of the job's container,
//! or elsewhere in that container. Pure.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::Error;
use crate::artifacts::globs::{Globs, lines};

/// Most bytes of a list.
const MAX_BYTES: usize = 16 * 1024;
/// Directories of a container that hold nothing to keep, or what is not the job's.
const NOT_KEPT: [&str; 6] = ["proc", "sys", "dev", "troupe", "troupe-init", "troupe-objects"];

/// Where a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// The job's workspace, on the node's disk.
    Workspace,
    /// The home directory in the job's container.
    Home,
    /// Anywhere else there.
    Container,
}

impl Root {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Workspace, Self::Home, Self::Container];

    /// The first part of an entry's name in an archive.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Home => "home",
            Self::Container => "container",
        }
    }
}

/// What a cache holds.
#[derive(Debug)]
pub struct Paths {
    /// As given, line by line.
    lines: Vec<String>,
    globs: [Globs; 3],
}

impl Paths {
    /// Reads the input `path` of a job that sees its workspace at `workspace`.
    ///
    /// # Errors
    /// [`Error::BadPath`].
    pub fn parse(text: &str, workspace: &str) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::BadPath { path: cut(text), why: "the list has more than 16384 bytes" });
        }
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        let mut kept = Vec::new();
        for (chooses, line) in lines(text) {
            let (root, rest) = place(line, workspace)?;
            found[root as usize].push((chooses, rest));
            kept.push(format!("{}{line}", if chooses { "" } else { "!" }));
        }
        if !found.iter().flatten().any(|(chooses, _)| *chooses) {
            return Err(Error::BadPath { path: cut(text), why: "it names nothing to keep" });
        }
        let [workspace, home, container] = found.map(Globs::new);
        let globs =
            [workspace.map_err(Error::from)?, home.map_err(Error::from)?, container.map_err(Error::from)?];
        Ok(Self { lines: kept, globs })
    }

    /// The same paths, kept in the same way, have the same version: a key stands for these alone.
    #[must_use]
    pub fn version(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for line in &self.lines {
            hasher.update(line);
            hasher.update("|");
        }
        hasher.update("tar|zstd|1");
        hasher.finalize().into()
    }

    /// What of a place is kept.
    #[must_use]
    pub(crate) fn globs(&self, root: Root) -> &Globs {
        &self.globs[root as usize]
    }

    /// Where files must be looked for in a place, relative to it; empty is the place itself.
    #[must_use]
    pub fn heads(&self, root: Root) -> Vec<String> {
        self.globs(root).heads().into_iter().map(|head| head.join("/")).collect()
    }

    /// Whether an entry of an archive is one that could have been kept under these paths.
    #[must_use]
    pub fn holds(&self, root: Root, path: &Path) -> bool {
        let globs = self.globs(root);
        // A directory on the way to what was chosen is kept with it.
        globs.matches(path) || globs.may_be_below(path)
    }
}

fn place<'a>(line: &'a str, workspace: &str) -> Result<(Root, &'a str), Error> {
    let bad = |why| Error::BadPath { path: cut(line), why };
    if line.contains(char::is_control) {
        return Err(bad("control characters are not allowed"));
    }
    if line.split('/').any(|part| part == "..") {
        return Err(bad("`..` is not supported: say where it is from the workspace, from ~ or from /"));
    }
    let inside = |root: &str| {
        let rest = line.strip_prefix(root)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
    };
    if let Some(rest) = inside(workspace.trim_end_matches('/')) {
        return Ok((Root::Workspace, rest));
    }
    if let Some(rest) = inside("~") {
        return Ok((Root::Home, rest));
    }
    let Some(rest) = line.strip_prefix('/') else { return Ok((Root::Workspace, line)) };
    let first = rest.split('/').find(|part| !matches!(*part, "" | ".")).unwrap_or_default();
    if first.is_empty() || first.contains(['*', '?', '[', '{', '\\']) {
        return Err(bad("a whole file system is not kept: name a directory of it"));
    }
    if NOT_KEPT.contains(&first) {
        return Err(bad("nothing there is the job's to keep"));
    }
    Ok((Root::Container, rest))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_place() -> Result<(), Error> {
        let paths = Paths::parse(
            "node_modules\n~/.cargo/registry\n/opt/tool/*/x\n/workspace/target\n!~/.cargo/registry/src",
            "/workspace",
        )?;
        assert_eq!(paths.heads(Root::Workspace), ["node_modules", "target"]);
        assert_eq!(paths.heads(Root::Home), [".cargo/registry"]);
        assert_eq!(paths.heads(Root::Container), ["opt/tool"]);
        for (root, path, holds) in [
            (Root::Workspace, "node_modules/a/b", true),
            (Root::Workspace, "target", true),
            (Root::Workspace, "src/x", false),
            (Root::Home, ".cargo", true),
            (Root::Home, ".cargo/registry/index", true),
            (Root::Home, ".cargo/bin", false),
            (Root::Home, ".ssh/id", false),
            (Root::Container, "opt/tool/1/x", true),
            (Root::Container, "etc/passwd", false),
        ] {
            assert_eq!(paths.holds(root, Path::new(path)), holds, "{root:?} {path}");
        }
        assert!(!paths.globs(Root::Home).matches(Path::new(".cargo/registry/src/x")));
        Ok(())
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (text, words) in [
            ("", "names nothing"),
            ("# only\n!this", "names nothing"),
            ("/", "whole file system"),
            ("/*", "whole file system"),
            ("/proc/self", "not"),
            ("/dev", "not"),
            ("/troupe/permit", "not"),
            ("../x", "`..`"),
            ("~/../etc", "`..`"),
            ("a\0b", "control"),
            (&"x\n".repeat(MAX_BYTES), "16384"),
        ] {
            let error = Paths::parse(text, "/workspace").err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{text:.20}: {error}");
        }
    }

    #[test]
    fn a_version_is_of_the_paths_and_their_order() -> Result<(), Error> {
        let version = |text| Ok::<_, Error>(Paths::parse(text, "/workspace")?.version());
        assert_eq!(version("a\nb")?, version(" a \n\n# c\nb\n")?);
        assert_ne!(version("a\nb")?, version("b\na")?);
        assert_ne!(version("a\nb")?, version("ab")?);
        assert_ne!(version("a\n!b")?, version("a\nb")?);
        Ok(())
    }
}
