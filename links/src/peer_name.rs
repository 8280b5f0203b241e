//! A node's name as its certificate carries it.

use std::fmt;
use std::str::FromStr;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The part of a node's DNS name behind its own: certificates carry `NAME.node.troupe`.
const SUFFIX: &str = ".node.troupe";

/// 1 to 63 characters of `[a-z0-9-]`, no `-` at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName(String);

/// A name that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node name {found:?} is not acceptable: 1 to 63 characters of a-z, 0-9 and -, no - at either end")]
pub struct InvalidPeerName {
    /// As found, cut to 80 characters.
    pub found: String,
}

impl PeerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The DNS name in the certificate.
    pub(crate) fn dns(&self) -> String {
        format!("{}{SUFFIX}", self.0)
    }

    /// The one node name in a certificate; none when there is no such name, or more than one.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let mut found = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(dns) => dns.strip_suffix(SUFFIX),
            _ => None,
        });
        let name = found.next()?.parse().ok()?;
        found.next().is_none().then_some(name)
    }
}

impl FromStr for PeerName {
    type Err = InvalidPeerName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ok = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPeerName { found: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for bad in ["", "-a", "a-", "A", "a.b", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<PeerName>().is_err(), "{bad:?}");
        }
        for good in ["a", "node-1", &"x".repeat(63)] {
            assert_eq!(good.parse::<PeerName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }
}
