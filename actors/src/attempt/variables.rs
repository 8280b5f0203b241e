//! The variables that an attempt began with: a node that starts again goes on with those, for its steps' course depends on them.
//! Blocking.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use domain::Variables;

/// The file's name in an attempt's directory, where the job cannot write.
const FILE: &str = "variables.json";

/// Those of the attempt with this directory; `now` where it has none yet, from then on.
pub(super) fn kept(attempt: &Path, now: Variables) -> io::Result<Variables> {
    let path = attempt.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => return serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let mut file = tempfile::NamedTempFile::new_in(attempt)?;
    file.write_all(&serde_json::to_vec(&now)?)?;
    file.as_file().sync_data()?;
    file.persist(&path)?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_goes_on_with_the_variables_that_it_began_with() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let of = |value: &str| vec![("DEPLOY".to_owned(), value.to_owned())];
        assert_eq!(kept(dir.path(), of("yes"))?, of("yes"));
        assert_eq!(kept(dir.path(), of("no"))?, of("yes"));
        fs::write(dir.path().join(FILE), "{")?;
        assert!(kept(dir.path(), of("no")).is_err());
        Ok(())
    }
}
