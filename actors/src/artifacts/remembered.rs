//! Which blobs an attempt has kept that nothing else names yet: written down in its directory until its end is reported, so that
//! the reaper leaves them alone, however long the attempt takes. Blocking.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use domain::Artifact;

use super::Error;

/// The file's name in an attempt's directory, where the job cannot write.
pub(crate) const FILE: &str = "uploaded";

/// Adds these.
pub(crate) fn remember(attempt: &Path, kept: &[Artifact]) -> Result<(), Error> {
    let path = attempt.join(FILE);
    let io = |source| Error::Io { path: path.display().to_string(), action: "write", source };
    let lines: String = kept.iter().map(|artifact| hex::encode(artifact.digest) + "\n").collect();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).map_err(io)?;
    file.write_all(lines.as_bytes()).map_err(io)?;
    file.sync_data().map_err(io)
}

/// Those of all attempts below `attempts`.
pub(crate) fn remembered(attempts: &Path) -> io::Result<BTreeSet<[u8; 32]>> {
    let entries = match fs::read_dir(attempts) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        let text = match fs::read_to_string(entry?.path().join(FILE)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            text => text?,
        };
        let mut digest = [0; 32];
        // A last line that was cut off by a crash is of an upload that did not happen.
        found.extend(
            text.lines().filter_map(|line| hex::decode_to_slice(line, &mut digest).ok().map(|()| digest)),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_attempts_have_kept_is_known_until_they_are_cleared() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        assert!(remembered(&dir.path().join("none"))?.is_empty());
        fs::create_dir_all(dir.path().join("a"))?;
        fs::create_dir_all(dir.path().join("b"))?;
        fs::write(dir.path().join("stray"), "")?;
        let kept = |n| Artifact { name: "x".to_owned(), path: "y".to_owned(), size: 1, digest: [n; 32] };
        remember(&dir.path().join("a"), &[kept(1), kept(2)])?;
        remember(&dir.path().join("a"), &[kept(3)])?;
        fs::OpenOptions::new().append(true).open(dir.path().join("a").join(FILE))?.write_all(b"0404")?;
        assert_eq!(remembered(dir.path())?, BTreeSet::from([[1; 32], [2; 32], [3; 32]]));
        Ok(())
    }
}
