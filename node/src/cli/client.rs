//! The HTTP client of the CLI: one API, at any of several addresses.
//!
//! Must not know commands or how results are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Failure, table};
use crate::api::{Code, Problem};

/// Where a node is when nobody says otherwise.
const DEFAULT_ADDR: &str = "http://127.0.0.1:7070";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nothing may come. The server says something on a silent stream every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// A client of the API. Asks one address until that one cannot be reached, then the next.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    addrs: Arc<[String]>,
    /// Which address is asked.
    at: Arc<AtomicUsize>,
    token: Arc<str>,
}

impl Client {
    /// A client for addresses as in `http://127.0.0.1:7070` or `127.0.0.1:7070`; for the default one when there is none.
    ///
    /// # Errors
    /// [`Failure::Address`], [`Failure::TokenText`], or [`Failure::Http`] when the library does not start.
    pub fn new(addrs: &[String], token: &str) -> Result<Self, Failure> {
        let given = addrs.iter().map(|addr| addr.trim()).filter(|addr| !addr.is_empty());
        let mut addrs = given.map(base).collect::<Result<Vec<_>, _>>()?;
        if addrs.is_empty() {
            addrs.push(DEFAULT_ADDR.to_owned());
        }
        let token = token.trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::TokenText);
        }
        // An error means that a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build()?;
        Ok(Self { http, addrs: addrs.into(), at: Arc::default(), token: token.into() })
    }

    /// The same client for one of the addresses alone: the `index`th, counted round and round.
    #[must_use]
    pub fn only(&self, index: usize) -> Self {
        let addr = self.addrs[index % self.addrs.len()].clone();
        Self { addrs: Arc::new([addr]), at: Arc::default(), ..self.clone() }
    }

    /// The address that is asked next.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addrs[self.at.load(Ordering::Relaxed) % self.addrs.len()]
    }

    /// From now on, asks the address after this one.
    pub fn elsewhere(&self) {
        self.at.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a request, which `with` may add to; an error of the API becomes a [`Failure::Problem`]. What could not
    /// even be sent is sent to the next address, and so is a GET whose connection broke.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let again = method == Method::GET;
        self.accepted(self.ask(again, method, path, with).await?).await
    }

    /// As [`Client::send`], for a POST with a key: whoever gets it a second time does nothing a second time.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn post_once(
        &self,
        path: &str,
        key: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        self.accepted(self.try_once(path, key, with).await?).await
    }

    /// A POST with a JSON body and a fresh key, answered with JSON: sent again where it may not have come to its end.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call_once(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let key = format!("cli-{:032x}", rand::random::<u128>());
        self.read(self.post_once(path, &key, |request| request.json(body)).await?).await
    }

    /// As [`Client::post_once`], for whoever looks at status and headers: an error of the API is an answer like others.
    ///
    /// # Errors
    /// [`Failure::Unreachable`].
    pub async fn try_once(
        &self,
        path: &str,
        key: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        self.ask(true, Method::POST, path, |request| with(request).header("idempotency-key", key)).await
    }

    async fn ask(
        &self,
        again: bool,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        // A URL with these would be another's: `a/..` is `a`'s own folder.
        let names = path.split('?').next().unwrap_or_default().split('/');
        if let Some(dots) = names.into_iter().find(|name| matches!(*name, "." | "..")) {
            return Err(Failure::Name { found: dots.to_owned() });
        }
        let mut tried = Vec::new();
        loop {
            let addr = self.addr().to_owned();
            let mut request = self.http.request(method.clone(), format!("{addr}{path}"));
            if !self.token.is_empty() {
                request = request.bearer_auth(&self.token);
            }
            let error = match with(request).send().await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let why = innermost(&error);
            if !again && !error.is_connect() {
                return Err(Failure::Unanswered { addr, why });
            }
            tried.push(format!("{addr} ({why})"));
            if tried.len() == self.addrs.len() {
                return Err(Failure::Unreachable { tried: tried.join(", ") });
            }
            self.elsewhere();
        }
    }

    async fn accepted(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match response.json::<Problem>().await {
            Ok(problem) if problem.code == Code::Unauthorized && self.token.is_empty() => {
                Err(Failure::NoToken)
            }
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(self.bad(format!("status {status} without a problem"))),
        }
    }

    /// GET of JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.send(Method::GET, path, |request| request).await?).await
    }

    /// A request with a JSON body, answered with JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        self.read(self.send(method, path, |request| request.json(body)).await?).await
    }

    /// An answer's JSON.
    ///
    /// # Errors
    /// [`Failure::BadAnswer`], or [`Failure::Broken`] when it ends early.
    pub async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.bad(error.to_string()))
    }

    /// An answer's JSON as what it should be.
    ///
    /// # Errors
    /// [`Failure::BadAnswer`].
    pub fn take<T: DeserializeOwned>(&self, answer: Value) -> Result<T, Failure> {
        serde_json::from_value(answer).map_err(|error| self.bad(error.to_string()))
    }

    /// Shows that something was done: the answer as JSON, or a sentence.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn told(&self, answer: &Value, words: &str, json: bool) -> Result<(), Failure> {
        if json { table::pretty(answer) } else { table::print(words) }
    }

    /// An answer that makes no sense.
    #[must_use]
    pub fn bad(&self, why: String) -> Failure {
        Failure::BadAnswer { addr: self.addr().to_owned(), why }
    }

    /// An answer that broke off.
    #[must_use]
    pub fn broken(&self, error: &reqwest::Error) -> Failure {
        Failure::Broken { addr: self.addr().to_owned(), why: innermost(error) }
    }
}

/// What requests to an address begin with.
fn base(addr: &str) -> Result<String, Failure> {
    let whole = if addr.contains("://") { addr.to_owned() } else { format!("http://{addr}") };
    let bad = |why: String| Failure::Address { addr: addr.to_owned(), why };
    let url = url::Url::parse(&whole).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!("http or https is expected, not {}", url.scheme())));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("nothing may follow its path".to_owned()));
    }
    Ok(whole.trim_end_matches('/').to_owned())
}

/// The words of the error behind an error, which say most: the library's own do not tell "refused" from "timed out".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A path's part, with everything escaped that could end it or mean something else.
#[must_use]
pub fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme_and_is_checked_before_it_is_asked() {
        let client = |addrs: &[&str]| {
            let addrs: Vec<_> = addrs.iter().map(|addr| (*addr).to_owned()).collect();
            Client::new(&addrs, "token").map(|client| client.addrs.to_vec())
        };
        assert_eq!(client(&["a:7070", " https://b/x/ "]).unwrap(), ["http://a:7070", "https://b/x"]);
        assert_eq!(client(&[""]).unwrap(), [DEFAULT_ADDR]);
        for bad in ["ftp://a", "http://", "http://a:99999", "a b", "http://a/?x=1"] {
            assert!(matches!(client(&[bad]), Err(Failure::Address { .. })), "{bad}");
        }
        assert!(matches!(Client::new(&[], "two\nlines"), Err(Failure::TokenText)));
    }

    #[tokio::test]
    async fn no_name_leads_to_the_path_of_something_else() {
        let client = Client::new(&["127.0.0.1:9".to_owned()], "token").unwrap();
        for name in ["..", "."] {
            let path = format!("/v1/repos/app/variables/{}", escaped(name));
            let failure = client.call(Method::DELETE, &path, &serde_json::json!({})).await.unwrap_err();
            assert!(matches!(failure, Failure::Name { .. }), "{failure}");
        }
    }
}
