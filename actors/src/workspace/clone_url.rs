//! Which URLs may be cloned, and how they are shown: a scheme allow-list, and never a credential in print.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

/// A URL that git may fetch from: `https`, `http`, `ssh` or `git`, with a host, and what it is fetched with. `Display` and
/// `Debug` leave out the credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct CloneUrl {
    /// Without a password.
    url: Url,
    credentials: Credentials,
}

/// What a repository is fetched with. Shown nowhere, so it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Nobody,
    /// User and password, over HTTP.
    Basic(String, String),
    /// A private key as `ssh-keygen` writes it, over SSH.
    Key(String),
}

impl Credentials {
    /// What a server said, without the password, should it have said back what it was sent: as it is, or in its header.
    pub(super) fn left_out_of(&self, words: &str) -> String {
        match self {
            Self::Basic(user, password) if !password.is_empty() => {
                let sent = STANDARD.encode(format!("{user}:{password}"));
                words.replace(&sent, "***").replace(password, "***")
            }
            Self::Basic(..) | Self::Nobody | Self::Key(_) => words.to_owned(),
        }
    }
}

/// The user where a token comes without one: what GitHub asks for; GitLab, Gitea and Forgejo take any.
const TOKEN_USER: &str = "x-access-token";
/// The same on Bitbucket.
const BITBUCKET_TOKEN_USER: &str = "x-token-auth";

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
        let credentials = basic_credentials(&url);
        let mut parsed = Self { url, credentials };
        parsed.url = Url::parse(&parsed.redacted())
            .map_err(|error| InvalidCloneUrl::NotAUrl { why: error.to_string() })?;
        Ok(parsed)
    }

    /// The same address, fetched with a token: alone, or as `USER:TOKEN` where the forge asks for a user of its own.
    ///
    /// # Errors
    /// The URL is not one of HTTP.
    pub fn with_token(self, token: &str) -> Result<Self, InvalidCloneUrl> {
        if !self.is_http() {
            let why = "is not http or https, by which alone a token is sent";
            return Err(InvalidCloneUrl::Part { part: "scheme", why });
        }
        let usual = match self.host() {
            "bitbucket.org" => BITBUCKET_TOKEN_USER,
            _ => TOKEN_USER,
        };
        let (user, token) = token.split_once(':').unwrap_or((usual, token));
        let credentials = Credentials::Basic(user.to_owned(), token.to_owned());
        Ok(Self { credentials, ..self })
    }

    /// The same address, fetched with a private key.
    ///
    /// # Errors
    /// The URL is not one of SSH.
    pub fn with_key(self, key: &str) -> Result<Self, InvalidCloneUrl> {
        if self.url.scheme() != "ssh" {
            let why = "is not ssh, for which alone a key is";
            return Err(InvalidCloneUrl::Part { part: "scheme", why });
        }
        // ssh refuses a file whose last line has no end.
        let credentials = Credentials::Key(format!("{}\n", key.trim().replace("\r\n", "\n")));
        Ok(Self { credentials, ..self })
    }

    /// The credentials that a person wrote into the URL, as [`CloneUrl::with_token`] takes them.
    #[must_use]
    pub fn written_token(&self) -> Option<String> {
        match &self.credentials {
            Credentials::Basic(user, password) => Some(format!("{user}:{password}")),
            Credentials::Nobody | Credentials::Key(_) => None,
        }
    }

    /// The URL without credentials: what git gets on its command line, and people on their screens.
    #[must_use]
    pub fn redacted(&self) -> String {
        let mut url = self.url.clone();
        // An ssh user is part of the address, not a secret.
        let keep_user = matches!(url.scheme(), "ssh" | "git");
        let _ = url.set_password(None);
        if !keep_user {
            let _ = url.set_username("");
        }
        url.into()
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// `https` or `http`.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self.url.scheme(), "https" | "http")
    }

    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// As written, or the scheme's.
    pub(super) fn port(&self) -> u16 {
        let usual = match self.url.scheme() {
            "https" => 443,
            "http" => 80,
            "ssh" => 22,
            _ => 9418,
        };
        self.url.port().unwrap_or(usual)
    }

    /// The address that `./` or `../` stands for beside this one, as git has it for submodules: `../` takes the last part of the path away.
    /// None when it climbs out of the server, or is no address.
    pub(super) fn relative(&self, text: &str) -> Option<Self> {
        let mut parts: Vec<&str> = self.url.path().split('/').filter(|part| !part.is_empty()).collect();
        let mut rest = text;
        loop {
            if let Some(behind) = rest.strip_prefix("../") {
                parts.pop()?;
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix("./") {
                rest = behind;
            } else {
                break;
            }
        }
        parts.push(rest);
        let server = &self.url[..url::Position::BeforePath];
        Self::parse(&format!("{server}/{}", parts.join("/"))).ok()
    }

    /// The same, over HTTP when it is an address of SSH and the other one of that server is of HTTP.
    pub(super) fn asked_as(self, other: &Self) -> Self {
        let same = self.url.scheme() == "ssh" && other.is_http() && self.host() == other.host();
        if !same || self.port() != 22 {
            return self;
        }
        let server = &other.url[..url::Position::BeforePath];
        Self::parse(&format!("{server}{}", self.url.path())).unwrap_or(self)
    }

    /// The same address, fetched with what the other one is fetched with.
    pub(super) fn with_credentials_of(self, other: &Self) -> Self {
        Self { credentials: other.credentials.clone(), ..self }
    }

    /// The same address, fetched as anybody.
    pub(super) fn with_nothing(self) -> Self {
        Self { credentials: Credentials::Nobody, ..self }
    }

    pub(super) fn has_password(&self) -> bool {
        matches!(&self.credentials, Credentials::Basic(_, password) if !password.is_empty())
    }

    /// Whether both are of one server, asked in one way.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.url.scheme() == other.url.scheme() && self.host() == other.host() && self.port() == other.port()
    }
}

/// User and password of an `http(s)` URL, percent-decoded.
fn basic_credentials(url: &Url) -> Credentials {
    let is_http = matches!(url.scheme(), "https" | "http");
    if !is_http || url.username().is_empty() && url.password().is_none() {
        return Credentials::Nobody;
    }
    Credentials::Basic(decoded(url.username()), decoded(url.password().unwrap_or_default()))
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
    fn what_a_server_was_sent_is_left_out_of_its_words_in_both_forms() {
        let basic = Credentials::Basic("ann".to_owned(), "s3cret".to_owned());
        let said = "no s3cret, nor Basic YW5uOnMzY3JldA==";
        assert_eq!(basic.left_out_of(said), "no ***, nor Basic ***");
        assert_eq!(Credentials::Basic("ann".to_owned(), String::new()).left_out_of(said), said);
        assert_eq!(Credentials::Nobody.left_out_of(said), said);
    }

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
            assert_eq!(CloneUrl::parse(good)?.redacted(), good);
        }
        assert_eq!(CloneUrl::parse("git@h:o/r.git")?.redacted(), "ssh://git@h/o/r.git");
        Ok(())
    }

    #[test]
    fn credentials_are_never_shown() -> Result<(), InvalidCloneUrl> {
        let url = CloneUrl::parse("https://us%40er:s3cret@h/o/r.git")?;
        assert_eq!(format!("{url} {url:?} {}", url.redacted()), "https://h/o/r.git ".repeat(3).trim_end());
        assert_eq!(url.written_token().as_deref(), Some("us@er:s3cret"));
        let error = CloneUrl::parse("https://u:s3cret@/x").map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        Ok(())
    }

    #[test]
    fn a_token_goes_over_http_and_a_key_over_ssh_alone() -> Result<(), InvalidCloneUrl> {
        let basic = |url: &str, token: &str| {
            CloneUrl::parse(url)?.with_token(token).map(|url| url.written_token().unwrap_or_default())
        };
        assert_eq!(basic("https://h/o/r.git", "t0k")?, "x-access-token:t0k");
        assert_eq!(basic("https://old:one@h/o/r.git", "t0k")?, "x-access-token:t0k");
        assert_eq!(basic("https://bitbucket.org/o/r.git", "t0k")?, "x-token-auth:t0k");
        assert_eq!(basic("https://h/o/r.git", "ann:t0k:en")?, "ann:t0k:en");
        for url in ["ssh://git@h/o/r", "git://h/o/r"] {
            let error = basic(url, "t0k").unwrap_err().to_string();
            assert!(error.contains("scheme") && !error.contains("t0k"), "{error}");
        }
        for url in ["https://h/o/r", "git://h/o/r"] {
            assert!(CloneUrl::parse(url)?.with_key("k").is_err(), "{url}");
        }
        let url = CloneUrl::parse("git@h:o/r.git")?.with_key("a\r\nb")?;
        assert!(matches!(url.credentials(), Credentials::Key(key) if key == "a\nb\n"));
        Ok(())
    }
}
