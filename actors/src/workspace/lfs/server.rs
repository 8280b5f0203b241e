//! Asks a server of large files for them: its batch API and basic transfers. Rules: git-lfs, "docs/api".
//!
//! git-lfs itself is not asked to: it follows redirects, and goes wherever a server sends it, by addresses that nobody has checked. Must not
//! know what the files are for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::pointer::Object;
use crate::addresses::{Trust, resolve};
use crate::workspace::CloneUrl;
use crate::workspace::clone_url::Credentials;

/// Objects that are asked for in one request.
pub(super) const BATCH: usize = 100;
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// Bytes of an answer that says where objects are.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Characters of a server's own words that are shown.
const SHOWN: usize = 200;
/// Redirects of one download.
const MAX_REDIRECTS: usize = 3;
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(120);

/// A server of large files.
pub(super) struct Server {
    /// The repository, and what it is fetched with.
    url: CloneUrl,
    endpoint: Url,
    /// By scheme, host and port: one for all that is asked there.
    clients: Mutex<HashMap<String, Client>>,
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Asked<'a> {
    operation: &'static str,
    transfers: [&'static str; 1],
    hash_algo: &'static str,
    objects: Vec<Wanted<'a>>,
}

#[derive(Serialize)]
struct Wanted<'a> {
    oid: &'a str,
    size: u64,
}

#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    download: Option<Link>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

impl Server {
    /// The one of a repository, at the address that is derived from the repository's own unless it is told another one of that server.
    ///
    /// # Errors
    /// In words.
    pub(super) fn of(url: &CloneUrl, told: Option<&str>) -> Result<Self, String> {
        if !url.is_http() {
            let why = "large files are had over http and https alone, and the repository is registered with";
            return Err(format!("{why} {}", url.redacted()));
        }
        let endpoint = match told {
            None => {
                let own = url.redacted();
                let own = own.trim_end_matches('/');
                let end = if own.ends_with(".git") { "/info/lfs" } else { ".git/info/lfs" };
                format!("{own}{end}")
            }
            Some(told) => {
                let parsed = CloneUrl::parse(told)
                    .map_err(|error| format!(".lfsconfig: its URL is not acceptable: {error}"))?;
                if parsed.has_password() || !parsed.is_beside(url) {
                    let why =
                        "is of another server than the repository, or has a password in it: neither is asked";
                    return Err(format!(".lfsconfig: {} {why}", parsed.redacted()));
                }
                parsed.redacted().trim_end_matches('/').to_owned()
            }
        };
        let endpoint = Url::parse(&endpoint).map_err(|error| format!("{endpoint}: {error}"))?;
        Ok(Self { url: url.clone(), endpoint, clients: Mutex::default() })
    }

    /// Where objects are, in the order of `objects`, which are at most [`BATCH`].
    ///
    /// # Errors
    /// In words, also when one of them is not there.
    pub(super) async fn find(&self, objects: &[Object]) -> Result<Vec<Link>, String> {
        self.ask(objects).await.map_err(|why| self.without_secret(&why))
    }

    async fn ask(&self, objects: &[Object]) -> Result<Vec<Link>, String> {
        let wanted = objects.iter().map(|object| Wanted { oid: &object.oid, size: object.size }).collect();
        let asked =
            Asked { operation: "download", transfers: ["basic"], hash_algo: "sha256", objects: wanted };
        let asked = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
        let url = format!("{}/objects/batch", self.endpoint);
        let url = Url::parse(&url).map_err(|error| format!("{url}: {error}"))?;
        let mut asking = self.client(&url).await?.post(url.clone()).body(asked);
        asking = asking.header("accept", MEDIA_TYPE).header("content-type", MEDIA_TYPE);
        if let Credentials::Basic(user, password) = self.url.credentials() {
            asking = asking.basic_auth(user, Some(password));
        }
        let answer = asking.send().await.map_err(|error| failed(&url, &error))?;
        if !answer.status().is_success() {
            return Err(format!("{} answered {}", shown(&url), answer.status()));
        }
        let answer = whole(answer).await.map_err(|why| format!("{}: {why}", shown(&url)))?;
        let answer: Answered = serde_json::from_slice(&answer)
            .map_err(|error| self.quoted(&error.to_string()))
            .map_err(|error| format!("what {} answered cannot be read: {error}", shown(&url)))?;
        if let Some(other) = answer.transfer.filter(|transfer| transfer != "basic") {
            let other = self.quoted(&other);
            return Err(format!("{} knows only transfers of the kind {other:?}", shown(&url)));
        }
        let found: BTreeMap<String, Found> =
            answer.objects.into_iter().map(|found| (found.oid.clone(), found)).collect();
        let link = |object: &Object| {
            let found = found.get(&object.oid);
            let why = found.and_then(|found| found.error.as_ref()).map(|error| error.message.clone());
            let link = found.and_then(|found| found.actions.as_ref()?.download.clone());
            link.filter(|_| why.is_none()).ok_or_else(|| {
                let why = self.quoted(&why.unwrap_or_default());
                format!("{} does not have object {}: {why:?}", shown(&url), object.oid)
            })
        };
        objects.iter().map(link).collect()
    }

    /// Writes an object to a file that is there; what does not have its size and digest is refused.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn load(&self, link: &Link, object: &Object, to: &Path) -> Result<(), String> {
        self.write(link, object, to).await.map_err(|why| self.without_secret(&why))
    }

    async fn write(&self, link: &Link, object: &Object, to: &Path) -> Result<(), String> {
        let (mut answer, url) = self.follow(link).await?;
        let named = |why: String| format!("object {} of {}: {why}", object.oid, shown(&url));
        let mut file = tokio::fs::File::create(to).await.map_err(|error| named(error.to_string()))?;
        let (mut digest, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&url, &error))? {
            size += chunk.len() as u64;
            if size > object.size {
                break;
            }
            digest.update(&chunk);
            file.write_all(&chunk).await.map_err(|error| named(error.to_string()))?;
        }
        file.flush().await.map_err(|error| named(error.to_string()))?;
        if size != object.size || hex::encode(digest.finalize()) != object.oid {
            return Err(named(format!("it is not what its pointer says ({} bytes)", object.size)));
        }
        // Its name says what is in it: it is given to nothing that a loss of power could take away again.
        file.sync_all().await.map_err(|error| named(error.to_string()))
    }

    /// The answer of the server that has it: what a server is told for another one, that one is not.
    async fn follow(&self, link: &Link) -> Result<(Response, Url), String> {
        let parse = |text: &str| Url::parse(text).map_err(|error| format!("a link to an object: {error}"));
        let (mut url, mut headers) = (parse(&link.href)?, Some(&link.header));
        for _ in 0..=MAX_REDIRECTS {
            let mut asking = self.client(&url).await?.get(url.clone());
            for (name, value) in headers.into_iter().flatten() {
                asking = asking.header(name, value);
            }
            let says_who =
                headers.is_some_and(|all| all.keys().any(|n| n.eq_ignore_ascii_case("authorization")));
            if let Credentials::Basic(user, password) = self.url.credentials()
                && self.is_own(&url)
                && !says_who
            {
                asking = asking.basic_auth(user, Some(password));
            }
            let answer = asking.send().await.map_err(|error| failed(&url, &error))?;
            if answer.status().is_success() {
                return Ok((answer, url));
            }
            let next = answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection());
            let Some(next) = next.and_then(|next| next.to_str().ok()) else {
                return Err(format!("{} answered {}", shown(&url), answer.status()));
            };
            let next = url.join(next).map_err(|error| format!("{} redirects: {error}", shown(&url)))?;
            headers = headers.filter(|_| next.origin() == url.origin());
            url = next;
        }
        Err(format!("{} redirects more than {MAX_REDIRECTS} times", shown(&url)))
    }

    /// Some servers say back what they were sent.
    fn without_secret(&self, words: &str) -> String {
        self.url.credentials().left_out_of(words)
    }

    /// The beginning of a server's words: what is to be left out is so before they are cut.
    fn quoted(&self, words: &str) -> String {
        self.without_secret(words).chars().take(SHOWN).collect()
    }

    /// Whether it is of the repository's own server.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.url.url().origin()
    }

    /// One that calls the addresses of this server which were looked up and allowed, and no other.
    async fn client(&self, url: &Url) -> Result<Client, String> {
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "https" | "http") || host.is_empty() {
            return Err(format!("{} is no address of http or https", shown(url)));
        }
        let origin = url.origin().ascii_serialization();
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&origin) {
            return Ok(client.clone());
        }
        let trust = if self.is_own(url) { Trust::Registered } else { Trust::Others };
        let port = url.port_or_known_default().unwrap_or(443);
        let found =
            resolve(host, port, trust).await.map_err(|why| format!("its server is not asked: {why}"))?;
        // An error means that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .connect_timeout(CONNECTED_WITHIN)
            .read_timeout(SILENCE)
            .redirect(Policy::none())
            .no_proxy()
            .resolve_to_addrs(host, &found)
            .build()
            .map_err(|error| error.to_string())?;
        clients.insert(origin, client.clone());
        Ok(client)
    }
}

async fn whole(answer: Response) -> Result<Vec<u8>, String> {
    let (mut bytes, mut chunks) = (Vec::new(), answer.bytes_stream());
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| error.without_url().to_string())?);
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(format!("it answered more than {MAX_ANSWER_BYTES} bytes"));
        }
    }
    Ok(bytes)
}

/// Without what a link may hold that opens it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

fn failed(url: &Url, error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let timed_out = if error.is_timeout() { "it did not answer in time: " } else { "" };
    format!("{}: {timed_out}{cause}", shown(url))
}
