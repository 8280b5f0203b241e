//! The embedded init, put where a container can bind it. Must not know what init does.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/troupe-init"));

/// Installs init as `DATA/bin/troupe-init-<hash>`, mode 0755, and answers its path. Blocking; atomic; repeatable.
///
/// # Errors
/// When the directory cannot be written.
pub fn install(data_dir: &Path) -> io::Result<PathBuf> {
    let dir = data_dir.join("bin");
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("troupe-init-{}", hex::encode(&Sha256::digest(BYTES)[..8])));
    if fs::read(&path).is_ok_and(|there| there == BYTES) {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(&dir)?;
    file.write_all(BYTES)?;
    file.as_file().set_permissions(Permissions::from_mode(0o755))?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(path)
}
