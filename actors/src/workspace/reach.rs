//! How git reaches one server: at the addresses that were looked up and allowed, with the repository's credentials, which no
//! command line, URL or file of the mirror holds, and which no other server is sent.
//!
//! Must not know what is fetched.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::clone_url::Credentials;
use super::{CloneUrl, Error, remove_old_files};
use crate::addresses::{Trust, resolve};

/// Directory of private keys that are in use, beside the mirrors.
const KEYS: &str = ".keys";
/// File of the keys by which servers of SSH are known: beside the mirrors those of registered repositories; of what somebody else named,
/// in its own mirror, so that nobody decides by which key another repository's server is known.
const KNOWN_HOSTS: &str = "known_hosts";
/// What git runs when a server asks who is there: user and password come from its environment.
const HELPER: &str = r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$TROUPE_GIT_USER" "$TROUPE_GIT_PASSWORD"; }; f"#;

/// A server that git may ask, for as long as this lives.
pub(super) struct Reach {
    /// What git is given as the URL.
    pub(super) url: String,
    /// Settings of git.
    pub(super) config: Vec<(String, String)>,
    /// Variables of git.
    pub(super) env: Vec<(String, String)>,
    /// What the server is sent.
    pub(super) credentials: Credentials,
    // The file of the key; it goes with this.
    _key: Option<NamedTempFile>,
}

impl Reach {
    /// Looks the server up and makes ready what git needs to ask it. `root` is the directory of the mirrors, `mirror` the one that is fetched.
    pub(super) async fn open(
        url: &CloneUrl,
        trust: Trust,
        (root, mirror): (&Path, &Path),
    ) -> Result<Self, Error> {
        let found =
            resolve(url.host(), url.port(), trust).await.map_err(|source| Error::Refused { source })?;
        let mut reach = Self {
            url: url.redacted(),
            config: Vec::new(),
            env: Vec::new(),
            credentials: url.credentials().clone(),
            _key: None,
        };
        match url.url().scheme() {
            "ssh" => {
                let known = match trust {
                    Trust::Registered => root.join(KNOWN_HOSTS),
                    Trust::Others => mirror.join(KNOWN_HOSTS),
                };
                reach.over_ssh(url, &found, (root, &known))?;
            }
            "git" => reach.url = at_address(url, &found),
            _ => reach.over_http(url, &found),
        }
        Ok(reach)
    }

    fn over_http(&mut self, url: &CloneUrl, found: &[SocketAddr]) {
        let addresses: Vec<String> = found.iter().map(|address| bracketed(*address)).collect();
        let host = url.host().trim_start_matches('[').trim_end_matches(']');
        if host.parse::<std::net::IpAddr>().is_err() {
            let pinned = format!("{host}:{}:{}", url.port(), addresses.join(","));
            self.config.push(("http.curloptResolve".to_owned(), pinned));
        }
        if let Credentials::Basic(user, password) = url.credentials() {
            // Of this server alone: git asks nobody for the password of another one.
            let server = format!("credential.{}.helper", url.url().origin().ascii_serialization());
            self.config.push((server, HELPER.to_owned()));
            self.env.push(("TROUPE_GIT_USER".to_owned(), user.clone()));
            self.env.push(("TROUPE_GIT_PASSWORD".to_owned(), password.clone()));
        }
    }

    fn over_ssh(
        &mut self,
        url: &CloneUrl,
        found: &[SocketAddr],
        (root, known): (&Path, &Path),
    ) -> Result<(), Error> {
        let io = |source| Error::Io { action: "make the file of the SSH key".to_owned(), source };
        let key = match url.credentials() {
            Credentials::Key(key) => Some(key_file(root, key).map_err(io)?),
            Credentials::Nobody | Credentials::Basic(..) => None,
        };
        let identity = key.as_ref().map_or_else(|| "none".to_owned(), |file| option_path(file.path()));
        let address = found.first().map(|address| address.ip().to_string()).unwrap_or_default();
        let options = [
            "BatchMode=yes".to_owned(),
            "ConnectTimeout=10".to_owned(),
            // By what it was looked up to, known by its name.
            format!("HostName={address}"),
            format!("HostKeyAlias={}", known_as(url)),
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("UserKnownHostsFile={}", option_path(known)),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            format!("IdentityFile={identity}"),
            "PreferredAuthentications=publickey".to_owned(),
            "ProxyCommand=none".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ];
        let options: Vec<String> = options.iter().map(|option| format!("-o{}", quoted(option))).collect();
        self.env.push(("GIT_SSH_COMMAND".to_owned(), format!("ssh -F /dev/null {}", options.join(" "))));
        self._key = key;
        Ok(())
    }
}

/// As ssh itself names servers: two ports of a machine may be two servers.
fn known_as(url: &CloneUrl) -> String {
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    match url.port() {
        22 => host.to_owned(),
        port => format!("[{host}]:{port}"),
    }
}

/// Removes files of keys that a process left behind when it was killed.
pub(super) fn forget_old_keys(root: &Path, older: Duration) -> io::Result<()> {
    remove_old_files(&root.join(KEYS), older)
}

/// A file that only this user may read, in a directory that only this user may enter.
fn key_file(root: &Path, key: &str) -> io::Result<NamedTempFile> {
    let directory: PathBuf = root.join(KEYS);
    std::fs::create_dir_all(&directory)?;
    std::fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
    let mut file = tempfile::Builder::new()
        .prefix("key-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(key.as_bytes())?;
    file.flush()?;
    Ok(file)
}

/// git:// has neither credentials nor a way to say at which address a name is: the address takes its place.
fn at_address(url: &CloneUrl, found: &[SocketAddr]) -> String {
    let mut there = url.url().clone();
    if let Some(address) = found.first()
        && let Err(error) = there.set_host(Some(&bracketed(*address)))
    {
        tracing::warn!(%error, "an address is no host of a URL; the server's name stays");
    }
    there.into()
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// A path as the value of an option of ssh, which knows `%` and words in quotes.
fn option_path(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// One word for the shell that git runs ssh with.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_is_known_by_its_port_and_to_those_who_named_it()
    -> Result<(), Box<dyn std::error::Error>> {
        for (url, trust, alias, file) in [
            ("ssh://git@127.0.0.1/x", Trust::Registered, "127.0.0.1", "/mirrors/known_hosts"),
            ("ssh://git@127.0.0.1:2222/x", Trust::Registered, "[127.0.0.1]:2222", "/mirrors/known_hosts"),
            ("ssh://git@[::1]:2222/x", Trust::Registered, "[::1]:2222", "/mirrors/known_hosts"),
            ("ssh://git@8.8.8.8/x", Trust::Others, "8.8.8.8", "/mirrors/1.submodules/a/known_hosts"),
        ] {
            let at = (Path::new("/mirrors"), Path::new("/mirrors/1.submodules/a"));
            let reach = Reach::open(&CloneUrl::parse(url)?, trust, at).await?;
            let command = reach.env.iter().find(|(name, _)| name == "GIT_SSH_COMMAND");
            let command = command.map(|(_, command)| command.as_str()).unwrap_or_default();
            assert!(command.contains(&format!("'HostKeyAlias={alias}'")), "{url}: {command}");
            assert!(command.contains(&format!("UserKnownHostsFile=\"{file}\"")), "{url}: {command}");
        }
        Ok(())
    }
}
