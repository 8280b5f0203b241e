//! A join token as people carry it: the secret, the CA to expect, and whom to ask.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// What a token begins with.
const PREFIX: &str = "troupe-join";
/// No token is longer, in bytes.
const MAX_BYTES: usize = 2048;
/// Members that a token names, at most.
pub(crate) const MAX_ADDRS: usize = 5;

/// A join token: `troupe-join.SECRET.FINGERPRINT.HOST:PORT,...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// 64 hexadecimal digits that only its holder knows.
    secret: String,
    /// SHA-256 of the CA's certificate.
    pub fingerprint: [u8; 32],
    /// Cluster ports of members, 1 to 5.
    pub addrs: Vec<String>,
}

/// Without the secret.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("addrs", &self.addrs).finish_non_exhaustive()
    }
}

/// Not a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no join token: {0}; `troupe token create NAME --right join` prints one, all of it is needed"
)]
pub struct NoTicket(&'static str);

impl Ticket {
    /// A token for a secret; of the addresses the first 5 count.
    #[must_use]
    pub fn new(secret: [u8; 32], fingerprint: [u8; 32], addrs: impl IntoIterator<Item = String>) -> Self {
        Self { secret: hex(&secret), fingerprint, addrs: addrs.into_iter().take(MAX_ADDRS).collect() }
    }

    /// SHA-256 of the secret: what the cluster knows of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.secret)
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

/// SHA-256 of a secret as it is carried.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
    {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}.{}", self.secret, hex(&self.fingerprint), self.addrs.join(","))
    }
}

impl FromStr for Ticket {
    type Err = NoTicket;
    fn from_str(text: &str) -> Result<Self, NoTicket> {
        if text.len() > MAX_BYTES {
            return Err(NoTicket("it is longer than any"));
        }
        let mut parts = text.trim().splitn(4, '.');
        if parts.next() != Some(PREFIX) {
            return Err(NoTicket("it does not begin with troupe-join"));
        }
        let secret = parts.next().filter(|part| unhex(part).is_some());
        let secret = secret.ok_or(NoTicket("its secret is not 64 hexadecimal digits"))?.to_owned();
        let fingerprint =
            parts.next().and_then(unhex).ok_or(NoTicket("its fingerprint is not 64 hexadecimal digits"))?;
        let addrs: Vec<String> = parts.next().unwrap_or_default().split(',').map(str::to_owned).collect();
        let is_addr = |addr: &String| {
            let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        if addrs.len() > MAX_ADDRS || !addrs.iter().all(is_addr) {
            return Err(NoTicket("it does not end with one to five addresses HOST:PORT"));
        }
        Ok(Self { secret, fingerprint, addrs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_garbage_is_not() {
        let ticket =
            Ticket::new([7; 32], [0xab; 32], ["127.0.0.1:7071".to_owned(), "n.example:1".to_owned()]);
        let text = ticket.to_string();
        assert_eq!(text.parse(), Ok(ticket.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(ticket.clone()));
        assert!(!format!("{ticket:?}").contains("0707"));
        let long = format!("{text},{}", "x".repeat(MAX_BYTES));
        let many = format!("{text},a:1,b:1,c:1,d:1");
        for bad in [
            "",
            "troupe_0123",
            "troupe-join",
            "troupe-join.07.ab.h:1",
            &text[..text.len() - 30],
            &text.replace("07", "zz"),
            &text.replace("abab", "ab"),
            &text.replace(":7071", ""),
            &text.replace(":7071", ":0"),
            &long,
            &many,
            "troupe-join.ü.ü.h:1",
        ] {
            assert!(bad.parse::<Ticket>().is_err(), "{bad}");
        }
    }
}
