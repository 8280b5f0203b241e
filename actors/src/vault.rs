//! Seals what must not be read in the log, in snapshots and in backups: secrets are encrypted before they are proposed, and
//! opened where they are used.
//!
//! The key is in a file that all nodes have and the state has not. Must not know what a secret is used for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

const KEY_BYTES: usize = 32;
/// AES-256-GCM under the first key of the file: 1, the key's id (4 bytes), nonce (12 bytes), ciphertext, tag (16 bytes).
const VERSION: u8 = 1;
const ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
const HEAD_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;
/// Keys of one file: the present one, and those of before.
const MAX_KEYS: usize = 16;

/// What a secret is for: it opens for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// The key of webhooks.
    Webhooks,
    /// Fetching the repository.
    Fetching,
    /// Telling the forge.
    Statuses,
    /// A secret of jobs, by its name.
    Jobs(&'a str),
}

/// Why a file holds no keys.
#[derive(Debug, thiserror::Error)]
pub enum BadKeyFile {
    /// It cannot be read.
    #[error("cannot read the key file {}: {source} (see secrets.key_file)", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A line that is no key. It is not shown.
    #[error(
        "line {line} of the key file {} is no key: 32 bytes in base64 or hexadecimal are expected (openssl rand -base64 32)",
        path.display()
    )]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// None, or very many.
    #[error("the key file {} holds {found} keys, 1 to {MAX_KEYS} are expected", path.display())]
    Number {
        /// Which file.
        path: PathBuf,
        /// So many.
        found: usize,
    },
}

/// There is no key to seal with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node has no key for secrets, so none can be stored: give all nodes the same key file (openssl rand -base64 32 > FILE; \
     secrets.key_file = \"FILE\")"
)]
pub struct NoKey;

/// Why a secret cannot be opened. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// No key of this node's has sealed it.
    #[error(
        "it was sealed with a key that this node does not have (see secrets.key_file: all nodes need the same keys)"
    )]
    UnknownKey,
    /// It was sealed for something else, or changed.
    #[error("it is damaged, or was sealed for something else: store it again")]
    Damaged,
}

/// The keys of this node; none by default. Cheap to clone.
#[derive(Clone, Default)]
pub struct Vault {
    // The first one seals, all open.
    keys: Arc<[Key]>,
}

struct Key {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

// By hand: keys are shown nowhere.
impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({} keys)", self.keys.len())
    }
}

impl Vault {
    /// Reads a key file: a key in each line, 32 bytes in base64 or hexadecimal; empty lines and those that begin with `#` are
    /// left out.
    ///
    /// # Errors
    /// [`BadKeyFile`].
    pub fn read(path: &Path) -> Result<Self, BadKeyFile> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| BadKeyFile::Unreadable { path: path.to_owned(), source })?;
        let lines = text.lines().map(str::trim).enumerate();
        let keys: Vec<Key> = lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(at, line)| {
                key_of(line).ok_or_else(|| BadKeyFile::NotAKey { path: path.to_owned(), line: at + 1 })
            })
            .collect::<Result<_, _>>()?;
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(BadKeyFile::Number { path: path.to_owned(), found: keys.len() });
        }
        Ok(Self { keys: keys.into() })
    }

    /// Whether anything can be sealed.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Seals a text for one purpose of one repository. The repository is told by its name, which is its own as long as it is
    /// registered: its id may be another's when two are registered at one time.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn seal(&self, repo: &str, purpose: Purpose<'_>, text: &str) -> Result<Vec<u8>, NoKey> {
        let key = self.keys.first().ok_or(NoKey)?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut bytes = text.as_bytes().to_vec();
        let bound = Aad::from(bound_to(repo, purpose));
        // The only error is a text of more than 64 GiB.
        let tag = key
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), bound, &mut bytes)
            .map_err(|_| NoKey)?;
        Ok([&[VERSION][..], &key.id, &nonce, &bytes, tag.as_ref()].concat())
    }

    /// Opens what was sealed for this purpose of this repository.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(&self, repo: &str, purpose: Purpose<'_>, sealed: &[u8]) -> Result<String, Unopened> {
        let (head, rest) = sealed.split_at_checked(HEAD_BYTES).ok_or(Unopened::Damaged)?;
        if head[0] != VERSION {
            return Err(Unopened::Damaged);
        }
        let (id, nonce) = head[1..].split_at(ID_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened::Damaged)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(Unopened::UnknownKey)?;
        let mut bytes = rest.to_vec();
        let bound = Aad::from(bound_to(repo, purpose));
        let opened = key.key.open_in_place(nonce, bound, &mut bytes).map_err(|_| Unopened::Damaged)?;
        String::from_utf8(opened.to_vec()).map_err(|_| Unopened::Damaged)
    }
}

fn key_of(text: &str) -> Option<Key> {
    let bytes = hex::decode(text).or_else(|_| STANDARD.decode(text)).ok()?;
    let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
    let digest = Sha256::new().chain_update(b"troupe key id\0").chain_update(bytes).finalize();
    let id = digest.first_chunk().copied()?;
    Some(Key { id, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?) })
}

/// What is not encrypted and must be the same when it is opened. Names have no NUL, so that no two purposes give the same.
fn bound_to(repo: &str, purpose: Purpose<'_>) -> Vec<u8> {
    let (kind, name) = match purpose {
        Purpose::Webhooks => ("webhooks", ""),
        Purpose::Fetching => ("fetching", ""),
        Purpose::Statuses => ("statuses", ""),
        Purpose::Jobs(name) => ("jobs", name),
    };
    format!("troupe secret\0{repo}\0{kind}\0{name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const B: &str = "//////////////////////////////////////////8=";

    fn vault(text: &str) -> Result<Vault> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        Ok(Vault::read(file.path())?)
    }

    #[test]
    fn what_was_sealed_opens_for_its_purpose_alone() -> Result {
        let vault = vault(A)?;
        let sealed = vault.seal("team/app", Purpose::Jobs("TOKEN"), "s3cret \u{e9}\n")?;
        assert_eq!(vault.open("team/app", Purpose::Jobs("TOKEN"), &sealed)?, "s3cret \u{e9}\n");
        assert!(!String::from_utf8_lossy(&sealed).contains("s3cret"));
        for (repo, purpose) in [
            ("team/apq", Purpose::Jobs("TOKEN")),
            ("team/app", Purpose::Jobs("TOKEM")),
            ("team/app", Purpose::Webhooks),
            ("team/app", Purpose::Fetching),
            ("team/app", Purpose::Statuses),
        ] {
            assert_eq!(vault.open(repo, purpose, &sealed), Err(Unopened::Damaged), "{repo} {purpose:?}");
        }
        // The same text twice is not the same bytes.
        assert_ne!(vault.seal("team/app", Purpose::Jobs("TOKEN"), "s3cret \u{e9}\n")?, sealed);
        assert_eq!(vault.open("r", Purpose::Webhooks, &vault.seal("r", Purpose::Webhooks, "")?)?, "");
        Ok(())
    }

    #[test]
    fn no_bit_of_it_can_change_and_nothing_short_of_it_opens() -> Result {
        let vault = vault(A)?;
        let sealed = vault.seal("r", Purpose::Webhooks, "x")?;
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(vault.open("r", Purpose::Webhooks, &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(vault.open("r", Purpose::Webhooks, &sealed[..length]).is_err(), "{length} bytes");
        }
        Ok(())
    }

    #[test]
    fn keys_are_changed_by_putting_the_new_one_first() -> Result {
        let (old, both, new) = (vault(A)?, vault(&format!("# of today\n{B}\n\n{A}\n"))?, vault(B)?);
        let first = old.seal("r", Purpose::Statuses, "x")?;
        assert_eq!(both.open("r", Purpose::Statuses, &first)?, "x");
        assert_eq!(new.open("r", Purpose::Statuses, &first), Err(Unopened::UnknownKey));
        let second = both.seal("r", Purpose::Statuses, "y")?;
        assert_eq!(new.open("r", Purpose::Statuses, &second)?, "y");
        assert_eq!(old.open("r", Purpose::Statuses, &second), Err(Unopened::UnknownKey));
        Ok(())
    }

    #[test]
    fn without_a_key_nothing_is_sealed_and_a_bad_file_is_named_and_not_shown() -> Result {
        assert_eq!(Vault::default().seal("r", Purpose::Webhooks, "x"), Err(NoKey));
        assert_eq!(Vault::default().open("r", Purpose::Webhooks, &[1; 64]), Err(Unopened::UnknownKey));
        for (text, words) in [
            ("", "holds 0 keys"),
            ("# none\n", "holds 0 keys"),
            (&format!("{A}\nnot-a-key"), "line 2"),
            (&A[..62], "line 1"),
            (&format!("{A}\n").repeat(17), "holds 17 keys"),
        ] {
            let error = vault(text).map(drop).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("not-a-key"), "{error}");
        }
        assert!(Vault::read(Path::new("/nonexistent/keys")).is_err());
        assert_eq!(format!("{:?}", vault(A)?), "Vault(1 keys)");
        Ok(())
    }
}
