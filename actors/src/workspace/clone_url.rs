//! Which URLs may be cloned, and how they are shown: a scheme allow-list, and never a credential in print.

use std::fmt;

use url::Url;

/// A URL that git may fetch from: `https`, `http`, `ssh` or `git`, with a host. `Display` and `Debug` leave out the
/// credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct CloneUrl(Url);

/// A clone URL that is refused, and why. Never shows the URL's credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCloneUrl {
    /// Not a URL at all.
    #[error("not a URL: {why} (expected https://, http://, ssh:// or git://)")]
    NotAUrl {
        /// The parser's words.
        why: String,
    },
    /// A scheme that git could be tricked with, or that reads local files.
    #[error("the scheme {found:?} is not allowed; https, http, ssh and git are")]
    Scheme {
        /// As found.
        found: String,
    },
    /// No host, or a host or path that git could take for an option.
    #[error("its {part} {why}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl CloneUrl {
    /// Reads a URL as a person gave it. The short form `user@host:path` is taken as `ssh://user@host/path`.
    ///
    /// # Errors
    /// [`InvalidCloneUrl`] for every scheme but the four allowed, for `ext::` and other remote helpers, for a leading
    /// `-` anywhere git could see one, and for control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidCloneUrl> {
        if text.len() > 2048 {
            return Err(InvalidCloneUrl::Part { part: "length", why: "is over 2048 characters" });
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidCloneUrl::Part { part: "text", why: "contains spaces or control characters" });
        }
        if let Some((helper, _)) = text.split_once("::")
            && !helper.contains(['/', '['])
        {
            return Err(InvalidCloneUrl::Scheme { found: format!("{}::", shorten(helper)) });
        }
        if text.starts_with('-') {
            return Err(InvalidCloneUrl::Part { part: "text", why: "begins with -" });
        }
        let url = match short_ssh(text) {
            Some(long) => Url::parse(&long),
            None => Url::parse(text),
        }
        .map_err(|e| InvalidCloneUrl::NotAUrl { why: e.to_string() })?;
        if !matches!(url.scheme(), "https" | "http" | "ssh" | "git") {
            return Err(InvalidCloneUrl::Scheme { found: shorten(url.scheme()) });
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err(InvalidCloneUrl::Part { part: "host", why: "is missing" });
        }
        if host.starts_with('-') || url.username().starts_with('-') {
            return Err(InvalidCloneUrl::Part { part: "host or user", why: "begins with -" });
        }
        if url.path().trim_start_matches('/').starts_with('-') {
            return Err(InvalidCloneUrl::Part { part: "path", why: "begins with -" });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidCloneUrl::Part { part: "query", why: "is not allowed" });
        }
        Ok(Self(url))
    }

    /// The URL without credentials: what git gets on its command line, and people on their screens.
    #[must_use]
    pub fn redacted(&self) -> String {
        let mut url = self.0.clone();
        // An ssh user is part of the address, not a secret.
        let keep_user = matches!(url.scheme(), "ssh" | "git");
        let _ = url.set_password(None);
        if !keep_user {
            let _ = url.set_username("");
        }
        url.into()
    }

    /// The whole text, credentials included: only for storing it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// User and password of an `http(s)` URL, percent-decoded.
    pub(super) fn basic_credentials(&self) -> Option<(String, String)> {
        if !matches!(self.0.scheme(), "https" | "http")
            || self.0.username().is_empty() && self.0.password().is_none()
        {
            return None;
        }
        Some((decoded(self.0.username()), decoded(self.0.password().unwrap_or_default())))
    }
}

/// `user@host:path`, which git takes for ssh.
fn short_ssh(text: &str) -> Option<String> {
    if text.contains("://") {
        return None;
    }
    let (address, path) = text.split_once(':')?;
    (address.contains('@') && !address.contains('/')).then(|| format!("ssh://{address}/{path}"))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

impl fmt::Display for CloneUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for CloneUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_urls_are_refused() {
        for bad in [
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "file:///etc/passwd",
            "/srv/git/x",
            "-oProxyCommand=x",
            "--upload-pack=x",
            "ssh://-oProxyCommand=x/y",
            "ssh://-l@host/y",
            "https://host/-x",
            "ftp://host/x",
            "https://",
            "https://host/x\n",
            "fd::17",
            "https://host/x?y=1",
        ] {
            assert!(CloneUrl::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn usual_urls_are_accepted() -> Result<(), InvalidCloneUrl> {
        for good in ["https://h/o/r.git", "http://127.0.0.1:8080/r", "ssh://git@h/o/r", "git://h/r"] {
            assert_eq!(CloneUrl::parse(good)?.expose(), good);
        }
        assert_eq!(CloneUrl::parse("git@h:o/r.git")?.expose(), "ssh://git@h/o/r.git");
        Ok(())
    }

    #[test]
    fn credentials_are_never_shown() -> Result<(), InvalidCloneUrl> {
        let url = CloneUrl::parse("https://us%40er:s3cret@h/o/r.git")?;
        assert_eq!(format!("{url} {url:?} {}", url.redacted()), "https://h/o/r.git ".repeat(3).trim_end());
        assert_eq!(url.basic_credentials(), Some(("us@er".to_owned(), "s3cret".to_owned())));
        let error = CloneUrl::parse("https://u:s3cret@/x").map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        Ok(())
    }
}
