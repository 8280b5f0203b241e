//! The one encoding of everything that is stored or sent between nodes: bincode behind a version byte.
//!
//! The only module that names bincode: should it go, only this file changes. Decoding is limited in memory and must use
//! every byte; wire types are not recursive.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that this build writes, and the only one that it reads.
pub const VERSION: u8 = 1;
/// No encoded value is larger, in bytes: what is larger travels as a blob.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No byte at all.
    #[error("cannot decode {what}: it is empty")]
    Empty {
        /// The type.
        what: &'static str,
    },
    /// Written by another version.
    #[error("cannot decode {what}: it has version {found}, this build reads version {VERSION}")]
    Version {
        /// The type.
        what: &'static str,
        /// The version byte.
        found: u8,
    },
    /// Larger than is ever accepted.
    #[error("cannot decode {what}: {found} bytes, the limit is {limit}")]
    TooLarge {
        /// The type.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Bytes are left over.
    #[error("cannot decode {what}: {left} bytes are left over")]
    Trailing {
        /// The type.
        what: &'static str,
        /// How many.
        left: usize,
    },
    /// Not an encoding of this type.
    #[error("cannot decode {what}: {why}")]
    Malformed {
        /// The type.
        what: &'static str,
        /// The library's words.
        why: String,
    },
    /// The value cannot be encoded.
    #[error("cannot encode {what}: {why}")]
    Encode {
        /// The type.
        what: &'static str,
        /// The library's words.
        why: String,
    },
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_BYTES>()
}

/// Encodes a value behind the version byte.
///
/// # Errors
/// [`Error::Encode`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// The same, behind what is in `bytes` already.
///
/// # Errors
/// [`Error::Encode`]; a part of the value may be in `bytes` then.
pub fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.push(VERSION);
    bincode::serde::encode_into_std_write(value, bytes, config())
        .map_err(|e| Error::Encode { what: std::any::type_name::<T>(), why: e.to_string() })?;
    Ok(())
}

/// How many bytes [`encode`] makes of a value.
///
/// # Errors
/// [`Error::Encode`].
pub fn encoded_len<T: Serialize>(value: &T) -> Result<u64, Error> {
    let mut counter = Counter(1);
    bincode::serde::encode_into_std_write(value, &mut counter, config())
        .map_err(|e| Error::Encode { what: std::any::type_name::<T>(), why: e.to_string() })?;
    Ok(counter.0)
}

/// The same, for bounds: what cannot be encoded is beyond each.
pub(crate) fn size_of<T: Serialize>(value: &T) -> u64 {
    encoded_len(value).unwrap_or(u64::MAX)
}

/// Counts what is written into it.
struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Decodes a value of at most `limit` bytes ([`MAX_BYTES`] at the most).
///
/// # Errors
/// Every variant of [`Error`] but `Encode`; never panics, and takes no more memory than the limit allows.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, Error> {
    let what = std::any::type_name::<T>();
    let limit = limit.min(MAX_BYTES);
    if bytes.len() > limit {
        return Err(Error::TooLarge { what, found: bytes.len(), limit });
    }
    let (version, rest) = bytes.split_first().ok_or(Error::Empty { what })?;
    if *version != VERSION {
        return Err(Error::Version { what, found: *version });
    }
    let (value, used) = bincode::serde::decode_from_slice(rest, config())
        .map_err(|e| Error::Malformed { what, why: e.to_string() })?;
    match rest.len() - used {
        0 => Ok(value),
        left => Err(Error::Trailing { what, left }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bytes_give_errors() -> Result<(), Error> {
        let good = encode(&("text".to_owned(), 7_u64))?;
        type Pair = (String, u64);
        assert_eq!(decode::<Pair>(&good, 100)?, ("text".to_owned(), 7));
        assert_eq!(encoded_len(&("text".to_owned(), 7_u64))?, good.len() as u64);
        assert!(matches!(decode::<Pair>(&[], 100), Err(Error::Empty { .. })));
        assert!(matches!(decode::<Pair>(&good, 3), Err(Error::TooLarge { limit: 3, .. })));
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(decode::<Pair>(&longer, 100), Err(Error::Trailing { left: 1, .. })));
        let mut other = good.clone();
        other[0] = 2;
        assert!(matches!(decode::<Pair>(&other, 100), Err(Error::Version { found: 2, .. })));
        for cut in 1..good.len() {
            assert!(
                matches!(decode::<Pair>(&good[..cut], 100), Err(Error::Malformed { .. })),
                "cut at {cut}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        // Version, then a length of 2^63: an unlimited decoder would reserve it and abort.
        let mut bytes = vec![VERSION, 253];
        bytes.extend_from_slice(&(1_u64 << 63).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&bytes, 1000), Err(Error::Malformed { .. })));
        assert!(matches!(decode::<String>(&bytes, 1000), Err(Error::Malformed { .. })));
    }
}
