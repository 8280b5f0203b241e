//! Pointers: the small files that stand in a commit for large ones. Rules: git-lfs, "docs/spec.md".
//!
//! Pure.

/// Largest pointer, in bytes.
pub(super) const MAX_BYTES: u64 = 1024;
const FIRST_LINE: &str = "version https://git-lfs.github.com/spec/v1";

/// A large file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    /// SHA-256 of its content, in hexadecimal.
    pub(super) oid: String,
    /// Its bytes.
    pub(super) size: u64,
}

impl Object {
    /// What a file stands for; none when it is no pointer, and stands for itself.
    ///
    /// # Errors
    /// In words: a pointer that cannot be understood.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(rest) = bytes.strip_prefix(FIRST_LINE.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"))
        else {
            return Ok(None);
        };
        let (mut oid, mut size) = (None, None);
        for line in String::from_utf8_lossy(rest).lines() {
            match line.split_once(' ') {
                Some(("oid", value)) => {
                    oid = value.strip_prefix("sha256:").filter(|oid| is_oid(oid)).map(str::to_owned)
                }
                Some(("size", value)) => size = value.parse().ok(),
                _ => return Err(format!("a line of its pointer is not known here: {line:?}")),
            }
        }
        match (oid, size) {
            (Some(oid), Some(size)) => Ok(Some(Self { oid, size })),
            _ => Err("its pointer has no oid of SHA-256, or no size".to_owned()),
        }
    }
}

fn is_oid(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_known_and_every_other_file_stands_for_itself() {
        let oid = "ab".repeat(32);
        let good = format!("{FIRST_LINE}\noid sha256:{oid}\nsize 12\n");
        assert_eq!(Object::read(good.as_bytes()), Ok(Some(Object { oid: oid.clone(), size: 12 })));
        for other in ["", "x", "version https://git-lfs.github.com/spec/v2\n"] {
            assert_eq!(Object::read(other.as_bytes()), Ok(None), "{other:?}");
        }
        for bad in [
            format!("oid sha256:{oid}\nsize -1\n"),
            format!("oid sha256:{oid}\n"),
            "oid sha256:../../x\nsize 1\n".to_owned(),
            format!("oid md5:{oid}\nsize 1\n"),
            format!("ext-0-x sha256:{oid}\noid sha256:{oid}\nsize 1\n"),
        ] {
            assert!(Object::read(format!("{FIRST_LINE}\n{bad}").as_bytes()).is_err(), "{bad:?}");
        }
    }
}
